//! Recognizes media in the packets of a path.

/// Length of an IPv4 header without options (RFC 791 section 3.1).
const IPV4_HEADER: usize = 20;

/// Length of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;

/// Number of UDP in IPv4 (RFC 791 section 3.1).
const UDP: u8 = 17;

/// Returns whether an IPv4 packet carries RTP over UDP: first bytes by RFC 7983 section 7, RTCP
/// told apart by RFC 5761 section 4.
pub(crate) fn is_rtp(packet: &[u8]) -> bool {
    let udp = packet.first() == Some(&0x45) && packet.get(9) == Some(&UDP);
    match packet.get(IPV4_HEADER + UDP_HEADER..) {
        Some([first, second, ..]) if udp => {
            (128..192).contains(first) && !(64..96).contains(&(second & 0x7f))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; IPV4_HEADER + UDP_HEADER];
        packet[0] = 0x45;
        packet[9] = protocol;
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn media_is_told_apart_from_everything_else() {
        assert!(is_rtp(&packet(UDP, &[0x80, 96])));
        assert!(is_rtp(&packet(UDP, &[0x90, 0x80 | 111])));
        for (name, other) in [
            ("sender report", packet(UDP, &[0x80, 200])),
            ("STUN", packet(UDP, &[0, 1])),
            ("DTLS", packet(UDP, &[22, 254])),
            ("TCP", packet(6, &[0x80, 96])),
            ("nothing", packet(UDP, &[])),
            ("half a header", vec![0x45; 12]),
        ] {
            assert!(!is_rtp(&other), "{name}");
        }
    }
}
