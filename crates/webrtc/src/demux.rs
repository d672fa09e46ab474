//! Demultiplexes the protocols on the media port (RFC 7983 section 7, RFC 5761).

/// Protocol of a datagram: the first byte determines it, and the second separates RTCP from RTP.
///
/// ```text
///              +----------------+
///              |        [0..=3] -+--> STUN
///              |      [16..=19] -+--> ZRTP           (not supported)
///              |      [20..=63] -+--> DTLS
///              |      [64..=79] -+--> TURN channel   (not supported)
///              |    [128..=191] -+--> RTP / RTCP
///              +----------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramKind {
    /// STUN message (RFC 8489).
    Stun,
    /// DTLS record (RFC 6347, RFC 9147).
    Dtls,
    /// RTP packet (RFC 3550), as SRTP.
    Rtp,
    /// RTCP packet (RFC 3550), as SRTCP.
    Rtcp,
    /// Not supported: to be dropped.
    Unknown,
}

impl DatagramKind {
    /// Classifies a datagram. Only the first two bytes are looked at: the rest is the parser's.
    #[must_use]
    pub fn of(datagram: &[u8]) -> Self {
        match datagram {
            [0..=3, ..] => Self::Stun,
            [20..=63, ..] => Self::Dtls,
            // RFC 5761 section 4: RTP payload types 64 to 95 are left unused, so that with the
            // marker bit they are the RTCP packet types.
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, _, ..] => Self::Rtp,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_first_bytes(range: std::ops::RangeInclusive<u8>, expected: DatagramKind) {
        for first in range {
            assert_eq!(DatagramKind::of(&[first, 96]), expected, "byte {first}");
        }
    }

    #[test]
    fn stun_begins_with_two_zero_bits_and_a_class() {
        assert_first_bytes(0..=3, DatagramKind::Stun);
    }

    #[test]
    fn dtls_begins_with_a_content_type() {
        assert_first_bytes(20..=63, DatagramKind::Dtls);
    }

    #[test]
    fn rtp_begins_with_version_two() {
        assert_first_bytes(128..=191, DatagramKind::Rtp);
    }

    #[test]
    fn packet_type_separates_rtcp_from_rtp() {
        for second in 0..=255 {
            let expected = match second {
                192..=223 => DatagramKind::Rtcp,
                _ => DatagramKind::Rtp,
            };
            assert_eq!(DatagramKind::of(&[0x80, second]), expected, "{second}");
        }
    }

    #[test]
    fn everything_between_the_ranges_is_unknown() {
        assert_first_bytes(4..=19, DatagramKind::Unknown);
        assert_first_bytes(64..=127, DatagramKind::Unknown);
        assert_first_bytes(192..=255, DatagramKind::Unknown);
    }

    #[test]
    fn datagrams_too_short_to_tell_are_unknown() {
        assert_eq!(DatagramKind::of(&[]), DatagramKind::Unknown);
        assert_eq!(DatagramKind::of(&[0x80]), DatagramKind::Unknown);
    }
}
