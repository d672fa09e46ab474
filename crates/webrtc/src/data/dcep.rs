//! Messages of the data channel establishment protocol (RFC 8832 section 5).

use sctp_proto::ReliabilityType;

/// `DATA_CHANNEL_ACK` (RFC 8832 section 5.2): the channel is open.
pub(super) const ACK: &[u8] = &[0x02];

/// Message type of `DATA_CHANNEL_OPEN`.
const OPEN: u8 = 0x03;

/// Bit of the channel type that stands for delivery in any order.
const UNORDERED: u8 = 0x80;

/// Longest label that is kept; it is for logs.
const MAX_LABEL_CHARS: usize = 64;

/// `DATA_CHANNEL_OPEN`.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  Message Type |  Channel Type |            Priority           |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                    Reliability Parameter                      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |         Label Length          |       Protocol Length         |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                     Label, then Protocol                      ..
/// ```
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Open {
    pub(super) unordered: bool,
    pub(super) reliability: ReliabilityType,
    /// Retransmissions or milliseconds, by `reliability`.
    pub(super) parameter: u32,
    /// The peer's label of the channel, shortened.
    pub(super) label: String,
}

impl Open {
    /// Reads a message; `None` when it is another one, cut off, or of a channel type that RFC 8832
    /// section 8.2.2 does not list.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let (head, rest) = message.split_first_chunk::<12>()?;
        let &[
            OPEN,
            channel_type,
            _,
            _,
            p0,
            p1,
            p2,
            p3,
            label_hi,
            label_lo,
            protocol_hi,
            protocol_lo,
        ] = head
        else {
            return None;
        };
        let reliability = match channel_type & !UNORDERED {
            0x00 => ReliabilityType::Reliable,
            0x01 => ReliabilityType::Rexmit,
            0x02 => ReliabilityType::Timed,
            _ => return None,
        };
        let label_len = usize::from(u16::from_be_bytes([label_hi, label_lo]));
        let protocol_len = usize::from(u16::from_be_bytes([protocol_hi, protocol_lo]));
        let (label, protocol) = rest.split_at_checked(label_len)?;
        if protocol.len() != protocol_len {
            return None;
        }
        let label = str::from_utf8(label).ok()?;
        Some(Self {
            unordered: channel_type & UNORDERED != 0,
            reliability,
            parameter: u32::from_be_bytes([p0, p1, p2, p3]),
            label: label.chars().take(MAX_LABEL_CHARS).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(channel_type: u8, label: &[u8], protocol: &[u8]) -> Vec<u8> {
        let mut message = vec![OPEN, channel_type, 0, 0, 0, 0, 0, 9];
        message.extend_from_slice(&(label.len() as u16).to_be_bytes());
        message.extend_from_slice(&(protocol.len() as u16).to_be_bytes());
        message.extend_from_slice(label);
        message.extend_from_slice(protocol);
        message
    }

    #[test]
    fn every_channel_type_is_read() {
        for (channel_type, unordered, reliability) in [
            (0x00, false, ReliabilityType::Reliable),
            (0x80, true, ReliabilityType::Reliable),
            (0x01, false, ReliabilityType::Rexmit),
            (0x81, true, ReliabilityType::Rexmit),
            (0x02, false, ReliabilityType::Timed),
            (0x82, true, ReliabilityType::Timed),
        ] {
            let expected = Open {
                unordered,
                reliability,
                parameter: 9,
                label: "events".to_owned(),
            };
            let message = open(channel_type, b"events", b"json");
            assert_eq!(Open::parse(&message), Some(expected));
        }
    }

    #[test]
    fn malformed_open_messages_are_refused() {
        let whole = open(0, b"events", b"json");
        for length in 0..whole.len() {
            assert_eq!(Open::parse(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(Open::parse(&[&whole[..], b"x"].concat()), None);
        assert_eq!(Open::parse(ACK), None);
        assert_eq!(Open::parse(&open(3, b"", b"")), None);
        assert_eq!(Open::parse(&open(0, &[0xff], b"")), None);
    }

    #[test]
    fn long_label_is_truncated() {
        let label = "\u{e4}".repeat(1000);
        let read = Open::parse(&open(0, label.as_bytes(), b"")).unwrap();
        assert_eq!(read.label.chars().count(), MAX_LABEL_CHARS);
    }
}
