//! Recognizes UDP and media in the packets of a path.

/// Length of an IPv4 header without options (RFC 791 section 3.1).
const IPV4_HEADER: usize = 20;

/// Length of an IPv6 header without extensions (RFC 8200 section 3).
const IPV6_HEADER: usize = 40;

/// Length of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;

/// Number of UDP in the headers of IPv4 and IPv6.
const UDP: u8 = 17;

/// Returns whether an IP packet carries UDP.
pub(crate) fn is_udp(packet: &[u8]) -> bool {
    datagram(packet).is_some()
}

/// Returns whether an IP packet carries RTP over UDP: first bytes by RFC 7983 section 7, RTCP
/// told apart by RFC 5761 section 4.
pub(crate) fn is_rtp(packet: &[u8]) -> bool {
    let payload = datagram(packet).and_then(|datagram| datagram.get(UDP_HEADER..));
    match payload {
        Some([first, second, ..]) => {
            (128..192).contains(first) && !(64..96).contains(&(second & 0x7f))
        }
        _ => false,
    }
}

/// Returns the UDP datagram, with its header, that an IP packet carries without options or extensions.
fn datagram(packet: &[u8]) -> Option<&[u8]> {
    let (protocol, header) = match packet.first()? {
        0x45 => (packet.get(9)?, IPV4_HEADER),
        first if first >> 4 == 6 => (packet.get(6)?, IPV6_HEADER),
        _ => return None,
    };
    packet.get(header..).filter(|_| *protocol == UDP)
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

    fn packet_v6(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; IPV6_HEADER + UDP_HEADER];
        packet[0] = 0x60;
        packet[6] = protocol;
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn media_is_told_apart_from_everything_else() {
        assert!(is_rtp(&packet(UDP, &[0x80, 96])));
        assert!(is_rtp(&packet(UDP, &[0x90, 0x80 | 111])));
        assert!(is_rtp(&packet_v6(UDP, &[0x80, 96])));
        for (name, other) in [
            ("sender report", packet(UDP, &[0x80, 200])),
            ("STUN", packet(UDP, &[0, 1])),
            ("DTLS", packet(UDP, &[22, 254])),
            ("TCP", packet(6, &[0x80, 96])),
            ("TCP over IPv6", packet_v6(6, &[0x80, 96])),
            ("nothing", packet(UDP, &[])),
            ("half a header", vec![0x45; 12]),
        ] {
            assert!(!is_rtp(&other), "{name}");
        }
    }

    #[test]
    fn udp_is_told_apart_from_tcp() {
        assert!(is_udp(&packet(UDP, &[0, 1])) && is_udp(&packet_v6(UDP, &[])));
        assert!(!is_udp(&packet(6, &[0x80, 96])) && !is_udp(&packet_v6(6, &[0x80, 96])));
        assert!(!is_udp(&[]));
    }
}
