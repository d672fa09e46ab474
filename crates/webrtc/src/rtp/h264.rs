//! The RTP payload format of H.264, packetization mode 1 (RFC 6184).

use bytes::Bytes;

use super::nal::{self, NalFormat};
use super::payload::Payload;

/// NAL unit type of a single-time aggregation packet (RFC 6184 section 5.7.1).
const STAP_A: u8 = 24;
/// NAL unit type of a fragmentation unit (RFC 6184 section 5.8).
const FU_A: u8 = 28;

const F_BIT: u8 = 0x80;
const NRI_MASK: u8 = 0x60;
const TYPE_MASK: u8 = 0x1f;

/// Cuts one access unit into payloads of at most `max_payload` bytes: NAL units as they are,
/// several of them in one packet (STAP-A), and fragments of equal size (FU-A). NAL units that are
/// empty or of a type that RTP reserves are skipped.
pub fn packetize(units: &[Bytes], max_payload: usize, emit: impl FnMut(Payload)) {
    nal::packetize::<H264, 1>(units, max_payload, emit);
}

/// ```text
/// +-+-+-+-+-+-+-+-+
/// |F|NRI|  Type   |
/// +-+-+-+-+-+-+-+-+
/// ```
struct H264;

impl NalFormat<1> for H264 {
    /// Types 24 to 31 mean packets here (RFC 6184 section 5.2).
    fn is_sendable(unit: &[u8]) -> bool {
        unit.first()
            .is_some_and(|header| header & TYPE_MASK < STAP_A)
    }

    fn aggregation_header(units: &[Bytes]) -> [u8; 1] {
        let headers = units.iter().filter_map(|unit| unit.first());
        // F is set if it is set in any unit, NRI is the highest of all (RFC 6184 section 5.7).
        let (f, nri) = headers.fold((0, 0), |(f, nri), header| {
            (f | header & F_BIT, nri.max(header & NRI_MASK))
        });
        [f | nri | STAP_A]
    }

    fn fragment_header(unit: &[u8]) -> ([u8; 1], u8) {
        let header = unit[0];
        ([header & (F_BIT | NRI_MASK) | FU_A], header & TYPE_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::super::nal::FU_START;
    use super::*;
    use proptest::prelude::*;

    fn payloads(units: &[&[u8]], max: usize) -> Vec<Vec<u8>> {
        let units: Vec<Bytes> = units
            .iter()
            .map(|unit| Bytes::copy_from_slice(unit))
            .collect();
        let mut out = Vec::new();
        packetize(&units, max, |payload| out.push(payload.to_vec()));
        out
    }

    #[test]
    fn unit_that_fits_travels_as_it_is() {
        assert_eq!(payloads(&[&[0x41, 1, 2, 3]], 100), [vec![0x41, 1, 2, 3]]);
    }

    #[test]
    fn units_of_reserved_types_are_skipped() {
        assert_eq!(
            payloads(&[&[0x78, 0, 1, 0x41], &[0x41, 1], &[]], 100),
            [vec![0x41, 1]]
        );
    }

    #[test]
    fn small_units_travel_together_with_the_highest_importance() {
        let sent = payloads(&[&[0x27, 1, 2], &[0x68, 3], &[0x06, 4]], 100);
        let together = vec![0x60 | 24, 0, 3, 0x27, 1, 2, 0, 2, 0x68, 3, 0, 2, 0x06, 4];
        assert_eq!(sent, [together]);
    }

    #[test]
    fn large_unit_is_cut_into_equal_fragments() {
        let unit: Vec<u8> = std::iter::once(0x65)
            .chain((0..250).map(|n| n as u8))
            .collect();
        let sent = payloads(&[&unit], 102);
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [86, 86, 84]);
        assert_eq!(sent[0][..3], [0x60 | 28, 0x80 | 5, 0]);
        assert_eq!(sent[1][..3], [0x60 | 28, 5, 84]);
        assert_eq!(sent[2][..3], [0x60 | 28, 0x40 | 5, 168]);
    }

    #[test]
    fn parameter_sets_stay_in_front_of_their_frame() {
        let idr = [0x65; 300];
        let sent = payloads(&[&[0x67, 1], &[0x68, 2], &idr], 200);
        assert_eq!(sent[0], [0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]);
        assert_eq!(sent[1][1], 0x80 | 5);
        assert_eq!(sent.len(), 3);
    }

    /// Depacketizes payloads as a receiver does (RFC 6184 section 5.6 to 5.8).
    fn depacketize(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload[0] & TYPE_MASK {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while !rest.is_empty() {
                        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                        units.push(rest[2..2 + len].to_vec());
                        rest = &rest[2 + len..];
                    }
                }
                FU_A => {
                    if payload[1] & FU_START != 0 {
                        let header = payload[0] & !TYPE_MASK | payload[1] & TYPE_MASK;
                        units.push(vec![header]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&payload[2..]);
                }
                _ => units.push(payload.clone()),
            }
        }
        units
    }

    proptest! {
        #[test]
        fn receiver_restores_the_access_unit(
            units in prop::collection::vec(
                (1u8..24, prop::collection::vec(any::<u8>(), 0..4000)), 0..12),
            max in 64usize..1200,
        ) {
            let units: Vec<Vec<u8>> = units
                .into_iter()
                .map(|(kind, body)| std::iter::once(0x40 | kind).chain(body).collect())
                .collect();
            let slices: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            let sent = payloads(&slices, max);
            prop_assert!(sent.iter().all(|payload| payload.len() <= max));
            prop_assert_eq!(depacketize(&sent), units);
        }
    }
}
