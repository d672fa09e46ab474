//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).

use super::word::word;

/// Maximum number of packets that one feedback may cover: seconds of the fastest stream.
const MAX_PACKETS: u16 = 8192;

/// Ticks of arrival times per second: they count 250 us.
pub const TICKS_PER_SECOND: i64 = 4000;

/// Ticks in a step of the reference time, which counts 64 ms.
const REFERENCE_TICKS: i64 = 256;

/// The arrival times of a range of packets.
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |      base sequence number     |      packet status count      |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |                 reference time                | fb pkt. count |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |          packet chunk         |  ... packet chunks
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |  recv delta   |  ... 1 or 2 bytes for each packet that arrived
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    /// Sequence number of the first packet.
    pub base_sequence: u16,
    /// Number of packets it covers.
    pub count: u16,
    /// Counts the feedback packets of the receiver, modulo 256.
    pub feedback_count: u8,
    /// The receiver's clock at the beginning in ticks, modulo 2^32.
    reference: i64,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// One packet of a [`TransportFeedback`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketStatus {
    /// Its sequence number of the transport.
    pub sequence: u16,
    /// When it arrived, in ticks of the receiver's clock, modulo 2^32; `None` when it did not.
    pub arrival: Option<u32>,
}

impl<'a> TransportFeedback<'a> {
    /// Parses feedback, after the SSRC of the media source.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (range, time) = (word(bytes, 0)?, word(bytes, 4)?);
        let (base_sequence, count) = ((range >> 16) as u16, range as u16);
        if count > MAX_PACKETS {
            return None;
        }
        let rest = bytes.get(8..)?;
        let mut described = 0;
        let mut end = 0;
        while described < count {
            let chunk = chunk_at(rest, end)?;
            described = described.saturating_add(statuses(chunk).1);
            end += 2;
        }
        let (chunks, deltas) = rest.split_at_checked(end)?;
        // 24 bits, signed.
        let reference = i64::from(time.cast_signed() >> 8) * REFERENCE_TICKS;
        Some(Self {
            base_sequence,
            count,
            feedback_count: time as u8,
            reference,
            chunks,
            deltas,
        })
    }

    /// Returns the packets in order. It ends early where arrival times are missing.
    pub fn packets(&self) -> impl Iterator<Item = PacketStatus> + use<'a> {
        let mut deltas = self.deltas;
        let mut time = self.reference;
        let base = self.base_sequence;
        let symbols = self.chunks.chunks_exact(2).flat_map(|chunk| {
            let chunk = u16::from_be_bytes([chunk[0], chunk[1]]);
            let (kind, count) = statuses(chunk);
            (0..count).map(move |n| kind.symbol(chunk, n))
        });
        let numbered = symbols.take(usize::from(self.count)).enumerate();
        numbered.map_while(move |(n, symbol)| {
            let (delta, rest) = match symbol {
                Symbol::NotReceived => (None, deltas),
                Symbol::SmallDelta => {
                    let (delta, rest) = deltas.split_first()?;
                    (Some(i64::from(*delta)), rest)
                }
                Symbol::LargeDelta => {
                    let (delta, rest) = deltas.split_first_chunk()?;
                    (Some(i64::from(i16::from_be_bytes(*delta))), rest)
                }
            };
            deltas = rest;
            Some(PacketStatus {
                sequence: base.wrapping_add(n as u16),
                arrival: delta.map(|delta| {
                    time += delta;
                    time as u32
                }),
            })
        })
    }
}

/// The status of a packet in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    NotReceived,
    /// One byte of arrival time.
    SmallDelta,
    /// Two bytes, signed. The reserved symbol is read so as well: it has no other meaning.
    LargeDelta,
}

/// The forms of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// `0 | S (2) | run length (13)`
    RunLength,
    /// `1 0 | 14 symbols of one bit`
    OneBit,
    /// `1 1 | 7 symbols of two bits`
    TwoBit,
}

impl Chunk {
    /// Returns the symbol of packet `n` of the chunk, from 0.
    fn symbol(self, chunk: u16, n: u16) -> Symbol {
        match self {
            Self::RunLength => Symbol::of(chunk >> 13 & 3),
            Self::OneBit => Symbol::of(chunk >> 13_u16.saturating_sub(n) & 1),
            Self::TwoBit => Symbol::of(chunk >> 12_u16.saturating_sub(2 * n) & 3),
        }
    }
}

impl Symbol {
    fn of(bits: u16) -> Self {
        match bits {
            0 => Self::NotReceived,
            1 => Self::SmallDelta,
            _ => Self::LargeDelta,
        }
    }
}

/// Returns the form of a chunk, and of how many packets it speaks.
fn statuses(chunk: u16) -> (Chunk, u16) {
    match chunk >> 14 {
        0 | 1 => (Chunk::RunLength, chunk & 0x1fff),
        2 => (Chunk::OneBit, 14),
        _ => (Chunk::TwoBit, 7),
    }
}

fn chunk_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets(bytes: &[u8]) -> Vec<(u16, Option<u32>)> {
        let feedback = TransportFeedback::parse(bytes).unwrap();
        let packets = feedback.packets();
        packets
            .map(|packet| (packet.sequence, packet.arrival))
            .collect()
    }

    #[test]
    fn run_of_packets_that_arrived_is_read_with_its_times() {
        // Base 0xfffe, 3 packets, reference time 4 (256 ms), feedback 9, run of 3 with small
        // deltas.
        let bytes = [0xff, 0xfe, 0, 3, 0, 0, 4, 9, 0x20, 3, 0, 40, 4];
        assert_eq!(
            packets(&bytes),
            [(0xfffe, Some(1024)), (0xffff, Some(1064)), (0, Some(1068))]
        );
    }

    #[test]
    fn vectors_of_one_and_of_two_bits_are_parsed() {
        // One bit: 1 0 1 and 11 more that are not counted.
        let bytes = [0, 10, 0, 3, 0, 0, 0, 0, 0b1010_1000, 0, 1, 2];
        assert_eq!(packets(&bytes), [(10, Some(1)), (11, None), (12, Some(3))]);
        // Two bits: small, missing, large (-2), and four more.
        let bytes = [0, 10, 0, 3, 0, 0, 0, 0, 0b1101_0010, 0, 5, 0xff, 0xfe, 0];
        assert_eq!(packets(&bytes), [(10, Some(5)), (11, None), (12, Some(3))]);
    }

    #[test]
    fn run_of_lost_packets_needs_no_times_and_the_reference_may_be_negative() {
        let bytes = [0, 0, 0, 5, 0xff, 0xff, 0xff, 0, 0, 4, 0x20, 1, 1, 0];
        let mut expected: Vec<_> = (0..4).map(|n| (n, None)).collect();
        expected.push((4, Some((-255_i32).cast_unsigned())));
        assert_eq!(packets(&bytes), expected);
    }

    #[test]
    fn truncated_or_oversized_feedback_is_refused_and_missing_times_end_it() {
        let whole = [0, 1, 0, 2, 0, 0, 4, 9, 0x20, 2, 7, 8];
        for len in 0..10 {
            assert_eq!(TransportFeedback::parse(&whole[..len]), None, "{len}");
        }
        assert_eq!(packets(&whole[..11]), [(1, Some(1031))]);
        let long = [0, 1, 0xff, 0xff, 0, 0, 4, 9, 0x3f, 0xff];
        assert_eq!(TransportFeedback::parse(&long), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(feedback) = TransportFeedback::parse(&bytes) {
                let received = feedback.packets().filter(|packet| packet.arrival.is_some());
                prop_assert!(received.count() <= bytes.len());
                prop_assert!(feedback.packets().count() <= usize::from(feedback.count));
            }
        }
    }
}
