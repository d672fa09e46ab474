//! The RTP payload format of H.264, packetization mode 1 (RFC 6184).

use bytes::{BufMut, Bytes, BytesMut};

use super::payload::{Payload, equal_parts};

/// NAL unit type of a single-time aggregation packet (RFC 6184 section 5.7.1).
const STAP_A: u8 = 24;
/// NAL unit type of a fragmentation unit (RFC 6184 section 5.8).
const FU_A: u8 = 28;

/// First fragment of a NAL unit, in the FU header.
const FU_START: u8 = 0x80;
/// Last fragment of a NAL unit, in the FU header.
const FU_END: u8 = 0x40;

const F_BIT: u8 = 0x80;
const NRI_MASK: u8 = 0x60;
const TYPE_MASK: u8 = 0x1f;

/// Cuts one access unit into payloads of at most `max_payload` bytes.
///
/// NAL units that fit together travel together (STAP-A), as parameter sets in front of a keyframe
/// do; one that fits alone travels as it is; a larger one is cut into fragments (FU-A) of equal
/// size, the last one perhaps shorter: the form that segmentation offload sends with one call.
/// The order is kept. NAL units that are empty or of a type that RTP has for itself are left out.
pub fn packetise(units: &[Bytes], max_payload: usize, mut emit: impl FnMut(Payload)) {
    let mut rest = units;
    while let Some(unit) = rest.first() {
        let together = aggregated(rest, max_payload);
        match together {
            _ if !is_sendable(unit) => {}
            0 | 1 if unit.len() <= max_payload => emit(Payload::whole(unit.clone())),
            0 | 1 => fragment(unit, max_payload, &mut emit),
            _ => emit(aggregate(&rest[..together])),
        }
        rest = &rest[together.max(1)..];
    }
}

/// Whether it is a NAL unit of H.264: the types 24 to 31 mean packets here (RFC 6184 section 5.2).
fn is_sendable(unit: &Bytes) -> bool {
    unit.first()
        .is_some_and(|header| header & TYPE_MASK < STAP_A)
}

/// How many of the first NAL units fit into one STAP-A.
fn aggregated(units: &[Bytes], max_payload: usize) -> usize {
    let mut len = 1;
    units
        .iter()
        .take_while(|unit| {
            len += 2 + unit.len();
            is_sendable(unit) && len <= max_payload
        })
        .count()
}

/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |F|NRI|  24     |  size of unit 1   |  unit 1   |  size of unit 2 ...
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
fn aggregate(units: &[Bytes]) -> Payload {
    let headers = units.iter().filter_map(|unit| unit.first());
    // F is set if it is set in any unit, NRI is the highest of all (RFC 6184 section 5.7).
    let (f, nri) = headers.fold((0, 0), |(f, nri), header| {
        (f | header & F_BIT, nri.max(header & NRI_MASK))
    });
    let len = units.iter().map(|unit| 2 + unit.len()).sum::<usize>();
    let mut body = BytesMut::with_capacity(1 + len);
    body.put_u8(f | nri | STAP_A);
    for unit in units {
        // A unit in an aggregate is shorter than a datagram.
        body.put_u16(unit.len() as u16);
        body.put_slice(unit);
    }
    Payload::whole(body.freeze())
}

/// ```text
/// +---------------+---------------+
/// |F|NRI|  28     |S|E|R|  Type   |   a part of the NAL unit behind its header byte
/// +---------------+---------------+
/// ```
fn fragment(unit: &Bytes, max_payload: usize, emit: &mut impl FnMut(Payload)) {
    let header = unit[0];
    let body = unit.slice(1..);
    for part in equal_parts(body.len(), max_payload.saturating_sub(2)) {
        let mut fu_header = header & TYPE_MASK;
        if part.start == 0 {
            fu_header |= FU_START;
        }
        if part.end == body.len() {
            fu_header |= FU_END;
        }
        let indicator = header & (F_BIT | NRI_MASK) | FU_A;
        emit(Payload::prefixed(&[indicator, fu_header], body.slice(part)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payloads(units: &[&[u8]], max: usize) -> Vec<Vec<u8>> {
        let units: Vec<Bytes> = units
            .iter()
            .map(|unit| Bytes::copy_from_slice(unit))
            .collect();
        let mut out = Vec::new();
        packetise(&units, max, |payload| out.push(payload.to_vec()));
        out
    }

    #[test]
    fn a_unit_that_fits_travels_as_it_is() {
        assert_eq!(payloads(&[&[0x41, 1, 2, 3]], 100), [vec![0x41, 1, 2, 3]]);
    }

    #[test]
    fn a_unit_that_would_be_taken_for_a_packet_is_left_out() {
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
    fn a_large_unit_is_cut_into_equal_fragments() {
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
    fn parameter_sets_stay_in_front_of_their_picture() {
        let idr = [0x65; 300];
        let sent = payloads(&[&[0x67, 1], &[0x68, 2], &idr], 200);
        assert_eq!(sent[0], [0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]);
        assert_eq!(sent[1][1], 0x80 | 5);
        assert_eq!(sent.len(), 3);
    }

    /// What a receiver makes of the payloads (RFC 6184 section 5.6 to 5.8).
    fn depacketise(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
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
        fn a_receiver_gets_back_what_was_sent(
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
            prop_assert_eq!(depacketise(&sent), units);
        }
    }
}
