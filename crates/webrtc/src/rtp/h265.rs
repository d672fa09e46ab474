//! The RTP payload format of H.265 (RFC 7798), in one stream and decoding order (SRST, without
//! DONL).

use bytes::Bytes;
use distributary_media::h265::NalType;

use super::nal::{self, NalFormat};
use super::payload::Payload;

/// NAL unit type of an aggregation packet (RFC 7798 section 4.4.2).
const AP: u8 = 48;
/// NAL unit type of a fragmentation unit (RFC 7798 section 4.4.3).
const FU: u8 = 49;

/// Bytes of a NAL unit's header.
const HEADER_LEN: usize = 2;

/// The bits of the header beside the type: F in the first byte, `nuh_layer_id` across both, and
/// `nuh_temporal_id_plus1` in the second.
const F_BIT: u8 = 0x80;
const TYPE_MASK: u8 = 0x7e;
const TID_MASK: u8 = 0x07;

/// Cuts one access unit into payloads of at most `max_payload` bytes: NAL units as they are,
/// several of them in one packet (AP), and fragments of equal size (FU). NAL units that are shorter
/// than their header or of a type that RTP reserves are skipped.
pub fn packetize(units: &[Bytes], max_payload: usize, emit: impl FnMut(Payload)) {
    nal::packetize::<H265, HEADER_LEN>(units, max_payload, emit);
}

/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |F|   Type    |  LayerId  | TID |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
struct H265;

impl NalFormat<HEADER_LEN> for H265 {
    /// Returns the types 48 to 63 mean packets here (RFC 7798 section 4.4).
    fn is_sendable(unit: &[u8]) -> bool {
        unit.len() > HEADER_LEN && NalType::of(unit).number() < AP
    }

    fn aggregation_header(units: &[Bytes]) -> [u8; HEADER_LEN] {
        // F is set if it is set in any unit, layer and TID are the lowest of all (section 4.4.2).
        let fields = units.iter().map(|unit| {
            let [first, second] = [unit[0], unit[1]];
            let layer = (first & 1) << 5 | second >> 3;
            (first & F_BIT, layer, second & TID_MASK)
        });
        let (f, layer, tid) = fields.fold((0, u8::MAX, u8::MAX), |(f, layer, tid), unit| {
            (f | unit.0, layer.min(unit.1), tid.min(unit.2))
        });
        [f | AP << 1 | layer >> 5, layer << 3 | tid]
    }

    fn fragment_header(unit: &[u8]) -> ([u8; HEADER_LEN], u8) {
        let header = [unit[0] & !TYPE_MASK | FU << 1, unit[1]];
        (header, NalType::of(unit).number())
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
        let slice = [0x02, 0x01, 0xd0, 9];
        assert_eq!(payloads(&[&slice], 100), [slice.to_vec()]);
    }

    #[test]
    fn units_of_reserved_types_are_skipped() {
        // Types 48 and 50, a unit that is a header alone, and an empty one.
        let units: [&[u8]; 5] = [
            &[0x60, 1, 0, 1],
            &[0x64, 1, 0],
            &[0x40, 1],
            &[],
            &[0x02, 1, 5],
        ];
        assert_eq!(payloads(&units, 100), [vec![0x02, 1, 5]]);
    }

    #[test]
    fn parameter_sets_travel_together_with_the_lowest_layer() {
        // VPS, SPS and PPS; the PPS is of TID 2.
        let sent = payloads(&[&[0x40, 1, 7], &[0x42, 1, 8, 9], &[0x44, 3, 6]], 100);
        let together = [
            0x60, 1, 0, 3, 0x40, 1, 7, 0, 4, 0x42, 1, 8, 9, 0, 3, 0x44, 3, 6,
        ];
        assert_eq!(sent, [together.to_vec()]);
    }

    #[test]
    fn large_unit_is_cut_into_equal_fragments() {
        // IDR_W_RADL, type 19, in layer 0 with TID 1.
        let unit: Vec<u8> = [0x26, 0x01].into_iter().chain(0..250).collect();
        let sent = payloads(&[&unit], 103);
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [87, 87, 85]);
        assert_eq!(sent[0][..4], [0x62, 0x01, 0x80 | 19, 0]);
        assert_eq!(sent[1][..4], [0x62, 0x01, 19, 84]);
        assert_eq!(sent[2][..4], [0x62, 0x01, 0x40 | 19, 168]);
    }

    /// Depacketizes payloads as a receiver does (RFC 7798 sections 4.4.1 to 4.4.3).
    fn depacketize(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload[0] >> 1 & 0x3f {
                AP => {
                    let mut rest = &payload[2..];
                    while !rest.is_empty() {
                        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                        units.push(rest[2..2 + len].to_vec());
                        rest = &rest[2 + len..];
                    }
                }
                FU => {
                    if payload[2] & FU_START != 0 {
                        let first = payload[0] & !TYPE_MASK | (payload[2] & 0x3f) << 1;
                        units.push(vec![first, payload[1]]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&payload[3..]);
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
                (0u8..48, 0u8..64, 1u8..8, prop::collection::vec(any::<u8>(), 1..4000)), 0..12),
            max in 64usize..1200,
        ) {
            let units: Vec<Vec<u8>> = units
                .into_iter()
                .map(|(kind, layer, tid, body)| {
                    let header = [kind << 1 | layer >> 5, layer << 3 | tid];
                    header.into_iter().chain(body).collect()
                })
                .collect();
            let slices: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            let sent = payloads(&slices, max);
            prop_assert!(sent.iter().all(|payload| payload.len() <= max));
            prop_assert_eq!(depacketize(&sent), units);
        }
    }
}
