//! The parts of a compound RTCP packet.

use super::feedback::{FirRequests, NackPairs, Remb};
use super::report::ReportBlocks;
use super::transport_cc::TransportFeedback;
use super::word::word;
use super::xr::{self, ReferenceTime};

/// A packet of a compound packet that matters to a sender of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// Report blocks of a receiver report or of a sender report (RFC 3550 section 6.4).
    Report(ReportBlocks<'a>),
    /// Packets that are missing (RFC 4585 section 6.2.1).
    Nack {
        /// The source whose packets are missing.
        media_ssrc: u32,
        /// The packet identifiers and bit masks.
        pairs: NackPairs<'a>,
    },
    /// Picture Loss Indication (RFC 4585 section 6.3.1).
    PictureLossIndication {
        /// The source of the video.
        media_ssrc: u32,
    },
    /// The decoder wants a decoder refresh point (RFC 5104 section 4.3.1).
    FullIntraRequest(FirRequests<'a>),
    /// The receiver's own estimate of the bandwidth (draft-alvestrand-rmcat-remb-03).
    Remb(Remb),
    /// When packets arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportFeedback(TransportFeedback<'a>),
    /// The receiver's clock, to be sent back to it (RFC 3611 section 4.4).
    ReceiverReferenceTime(ReferenceTime),
}

/// Set when the packet ends with padding.
const PADDING: u8 = 0x20;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const EXTENDED_REPORT: u8 = 207;

/// Returns the packets of a compound or reduced-size (RFC 5506) packet, without those of other
/// types. It ends at the first malformed one.
pub fn packets(compound: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let (first, second, length) = match rest {
            [first, second, high, low, ..] => (*first, *second, u16::from_be_bytes([*high, *low])),
            _ => return None,
        };
        let len = 4 * (usize::from(length) + 1);
        if first >> 6 != 2 || len > rest.len() {
            return None;
        }
        let (packet, tail) = rest.split_at(len);
        rest = tail;
        Some(unpadded(first, &packet[4..]).and_then(|body| parse(first & 0x1f, second, body)))
    })
    .flatten()
}

/// Returns the body without its padding, whose length is its last byte (RFC 3550 section 6.4.1).
fn unpadded(first: u8, body: &[u8]) -> Option<&[u8]> {
    if first & PADDING == 0 {
        return Some(body);
    }
    body.get(..body.len().checked_sub(usize::from(*body.last()?))?)
}

/// Parses a packet's body, after the common header; `count` is its 5-bit field.
fn parse(count: u8, packet_type: u8, body: &[u8]) -> Option<Packet<'_>> {
    match (packet_type, count) {
        (SENDER_REPORT, _) => Some(Packet::Report(ReportBlocks::new(count, body.get(24..)?))),
        (RECEIVER_REPORT, _) => Some(Packet::Report(ReportBlocks::new(count, body.get(4..)?))),
        (TRANSPORT_FEEDBACK, 1) => {
            let (media_ssrc, pairs) = (word(body, 4)?, NackPairs::new(body.get(8..)?));
            Some(Packet::Nack { media_ssrc, pairs })
        }
        (TRANSPORT_FEEDBACK, 15) => {
            TransportFeedback::parse(body.get(8..)?).map(Packet::TransportFeedback)
        }
        (PAYLOAD_FEEDBACK, 1) => Some(Packet::PictureLossIndication {
            media_ssrc: word(body, 4)?,
        }),
        (PAYLOAD_FEEDBACK, 4) => Some(Packet::FullIntraRequest(FirRequests::new(body.get(8..)?))),
        (PAYLOAD_FEEDBACK, 15) => Remb::parse(body.get(8..)?).map(Packet::Remb),
        (EXTENDED_REPORT, _) => xr::reference_time(body).map(Packet::ReceiverReferenceTime),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::ReportBlock;
    use proptest::prelude::*;

    #[test]
    fn receiver_report_with_one_block_is_read() {
        let bytes = [
            0x81, 201, 0, 7, 0, 0, 0, 9, 0, 0, 0, 5, 0x40, 0xff, 0xff, 0xfe, 0, 1, 0, 2, 0, 0, 0,
            33, 0x11, 0x22, 0x33, 0x44, 0, 1, 0, 0,
        ];
        let block = ReportBlock {
            ssrc: 5,
            fraction_lost: 64,
            cumulative_lost: -2,
            highest_sequence: 0x1_0002,
            jitter: 33,
            last_sender_report: 0x1122_3344,
            delay: 65536,
        };
        let Some(Packet::Report(blocks)) = packets(&bytes).next() else {
            panic!("no report in {bytes:?}")
        };
        assert_eq!(blocks.iter().collect::<Vec<_>>(), [block]);
    }

    #[test]
    fn feedback_of_a_compound_packet_is_found_behind_its_report() {
        let mut bytes = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
        bytes.extend([
            0x81, 205, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0xff, 0xfe, 0x00, 0x05,
        ]);
        bytes.extend([0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 5]);
        bytes.extend([
            0x84, 206, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0,
        ]);
        bytes.extend([0x8f, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0]);
        // With padding: four bytes; the last one holds their number.
        bytes.extend([
            0xa1, 205, 0, 4, 0, 0, 0, 9, 0, 0, 0, 5, 0, 7, 0, 0, 0, 0, 0, 4,
        ]);
        let parsed: Vec<Packet<'_>> = packets(&bytes).collect();
        assert_eq!(parsed.len(), 5, "a packet of an unknown type is skipped");
        let Packet::Nack {
            media_ssrc: 5,
            pairs,
        } = &parsed[1]
        else {
            panic!("{parsed:?}")
        };
        assert_eq!(pairs.sequences().collect::<Vec<_>>(), [0xfffe, 0xffff, 1]);
        assert_eq!(parsed[2], Packet::PictureLossIndication { media_ssrc: 5 });
        let Packet::FullIntraRequest(requests) = &parsed[3] else {
            panic!("{parsed:?}")
        };
        assert_eq!(requests.iter().collect::<Vec<_>>(), [(5, 1)]);
        let Packet::Nack { pairs, .. } = &parsed[4] else {
            panic!("{parsed:?}")
        };
        assert_eq!(pairs.sequences().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn length_past_the_end_ends_the_compound() {
        assert_eq!(packets(&[0x81, 206, 0, 9, 0, 0, 0, 9]).count(), 0);
        assert_eq!(
            packets(&[0x80, 201, 0, 1, 0, 0, 0, 9, 0x81, 203]).count(),
            1
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for packet in packets(&bytes) {
                match packet {
                    Packet::Nack { pairs, .. } => {
                        prop_assert!(pairs.sequences().count() <= 17 * bytes.len() / 4);
                    }
                    Packet::Report(blocks) => {
                        prop_assert!(24 * blocks.iter().count() <= bytes.len());
                    }
                    Packet::FullIntraRequest(requests) => {
                        prop_assert!(8 * requests.iter().count() <= bytes.len());
                    }
                    _ => {}
                }
            }
        }
    }
}
