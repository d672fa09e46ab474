//! The RTP payload format of AV1 (Alliance for Open Media, RTP Payload Format For AV1, version
//! 1.0).

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use distributary_media::av1::obu::leb128;
use distributary_media::av1::{Obu, Obus};

use super::payload::{Payload, equal_parts};

/// The bits of the aggregation header (section 4.4): the first element continues one of the packet
/// before, the last goes on in the next, how many elements there are, and whether a coded video
/// sequence begins.
const CONTINUES: u8 = 0x80;
const GOES_ON: u8 = 0x40;
const COUNT_SHIFT: u8 = 4;
const NEW_SEQUENCE: u8 = 0x08;

/// Maximum number of elements in a packet: the header can count them, so the last needs no length.
const MAX_COUNT: usize = 3;

/// Bytes of the aggregation header.
const HEADER_LEN: usize = 1;

/// An element is put in whole where this many bytes are left for the one behind it.
const LEAST_REST: usize = 8;

/// Cuts one temporal unit into payloads of at most `max_payload` bytes.
///
/// Sizes inside the OBUs are removed, since the packets tell them, and so are temporal delimiters
/// and padding (section 5). No packet but the last ends with the end of an OBU: Chromium takes that
/// for the end of a frame, although a temporal unit may have hidden frames before the shown one.
pub fn packetize(
    units: &[Bytes],
    keyframe: bool,
    max_payload: usize,
    mut emit: impl FnMut(Payload),
) {
    let units = units
        .iter()
        .flat_map(|unit| Obus::new(unit.clone()).map_while(Result::ok));
    let units: Vec<Obu> = units.filter(|unit| !unit.kind().is_framing()).collect();
    let new_sequence = if keyframe { NEW_SEQUENCE } else { 0 };
    match &units[..] {
        [] => {}
        [unit] => fragment(unit, new_sequence, max_payload, &mut emit),
        units => aggregate(units, new_sequence, max_payload, &mut emit),
    }
}

/// Several OBUs: each packet has as many bytes as it can.
///
/// ```text
/// +-+-+-+-+-+-+-+-+
/// |Z|Y| W |N|-|-|-|  length of element 1  |  element 1  |  ...  |  the last element, without length
/// +-+-+-+-+-+-+-+-+
/// ```
fn aggregate(
    units: &[Obu],
    mut new_sequence: u8,
    max_payload: usize,
    emit: &mut impl FnMut(Payload),
) {
    let (mut rest, mut offset) = (units, 0);
    let mut body = BytesMut::with_capacity(max_payload);
    while !rest.is_empty() {
        body.clear();
        let mut aggregation = new_sequence;
        if offset > 0 {
            aggregation |= CONTINUES;
        }
        new_sequence = 0;
        body.put_u8(aggregation);
        let mut count = 0;
        while let [unit, behind @ ..] = rest {
            count += 1;
            let left = unit.len() - offset;
            let room = max_payload.saturating_sub(body.len()).max(1);
            let length: usize = leb128(left).count() + left;
            if !behind.is_empty() && count < MAX_COUNT && length + LEAST_REST <= room {
                body.extend(leb128(left));
                put(&mut body, unit, offset..unit.len());
                (rest, offset) = (behind, 0);
                continue;
            }
            let mut taken = left.min(room);
            if taken == left && left > 1 && !behind.is_empty() {
                taken -= 1;
            }
            put(&mut body, unit, offset..offset + taken);
            offset += taken;
            if offset == unit.len() {
                (rest, offset) = (behind, 0);
            }
            break;
        }
        body[0] |= (count as u8) << COUNT_SHIFT;
        if offset > 0 {
            body[0] |= GOES_ON;
        }
        // A copy: the packets of a frame of a few bytes would keep a buffer of the largest size
        // each.
        emit(Payload::whole(Bytes::copy_from_slice(&body)));
    }
}

/// Adds a part of an OBU that starts with its header.
fn put(body: &mut BytesMut, unit: &Obu, part: Range<usize>) {
    let header = unit.header();
    let split = |at: usize| (at.min(header.len()), at.saturating_sub(header.len()));
    let ((header_from, from), (header_to, to)) = (split(part.start), split(part.end));
    body.put_slice(&header[header_from..header_to]);
    body.put_slice(&unit.payload[from..to]);
}

/// One OBU in one packet or more of equal size: its header in the first, and a part of it in each.
fn fragment(unit: &Obu, new_sequence: u8, max_payload: usize, emit: &mut impl FnMut(Payload)) {
    let header = unit.header();
    for part in equal_parts(unit.len(), max_payload.saturating_sub(HEADER_LEN)) {
        let mut aggregation = 1 << COUNT_SHIFT;
        if part.end < unit.len() {
            aggregation |= GOES_ON;
        }
        let from = part.start.saturating_sub(header.len());
        let to = part.end.saturating_sub(header.len());
        let body = unit.payload.slice(from..to);
        match (part.start, header) {
            (0, [first]) => {
                let prefix = [aggregation | new_sequence, *first];
                emit(Payload::prefixed(&prefix, body));
            }
            (0, [first, extension]) => {
                let prefix = [aggregation | new_sequence, *first, *extension];
                emit(Payload::prefixed(&prefix, body));
            }
            _ => emit(Payload::prefixed(&[aggregation | CONTINUES], body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payloads(data: &[u8], keyframe: bool, max: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let units = [Bytes::copy_from_slice(data)];
        packetize(&units, keyframe, max, |payload| out.push(payload.to_vec()));
        out
    }

    #[test]
    fn frame_that_fits_travels_alone_and_without_its_size() {
        // A temporal delimiter, a frame and padding.
        let data = [0x12, 0, 0x32, 3, 0x30, 1, 2, 0x7a, 1, 0];
        let sent = payloads(&data, false, 100);
        assert_eq!(sent, [vec![0x10, 0x30, 0x30, 1, 2]]);
    }

    #[test]
    fn sequence_header_travels_with_the_frame_behind_it() {
        let data = [0x0a, 2, 7, 8, 0x32, 2, 0x10, 9];
        let sent = payloads(&data, true, 100);
        assert_eq!(sent, [vec![0x28, 3, 0x08, 7, 8, 0x30, 0x10, 9]]);
        // Of four the third is the last that the header can count: it goes on in the next packet.
        let data = [0x0a, 1, 7, 0x2a, 1, 1, 0x2a, 1, 2, 0x32, 1, 0x10];
        let sent = payloads(&data, true, 100);
        let first = vec![0x78, 2, 0x08, 7, 2, 0x28, 1, 0x28];
        assert_eq!(sent, [first, vec![0xa0, 1, 2, 0x30, 0x10]]);
    }

    #[test]
    fn large_frame_is_cut_into_equal_fragments() {
        // With an extension: temporal id 1.
        let mut data = vec![0x36, 0x20, 0xfa, 0x01];
        data.extend(0..250);
        let sent = payloads(&data, true, 101);
        assert_eq!(sent[0][..4], [0x58, 0x34, 0x20, 0]);
        assert_eq!(sent[1][..2], [0xd0, 82]);
        assert_eq!(sent[2][..2], [0x90, 166]);
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [85, 85, 85]);
    }

    #[test]
    fn several_frames_of_a_temporal_unit_go_on_from_packet_to_packet() {
        let frame = |len: u8| [&[0x32, len][..], &vec![0x30; usize::from(len)]].concat();
        for len in 60..120 {
            let sent = payloads(&[frame(len), frame(90), frame(20)].concat(), false, 100);
            for pair in sent.windows(2) {
                assert_eq!((pair[0][0] & GOES_ON, pair[1][0] & CONTINUES), (0x40, 0x80));
            }
            assert_eq!(
                (sent[0][0] & CONTINUES, sent[sent.len() - 1][0] & GOES_ON),
                (0, 0)
            );
            let least = 100 - LEAST_REST - 1;
            assert!(
                sent.iter()
                    .rev()
                    .skip(1)
                    .all(|payload| payload.len() >= least)
            );
        }
    }

    #[test]
    fn nothing_is_sent_of_a_unit_without_frames() {
        assert!(payloads(&[0x12, 0], false, 100).is_empty());
    }

    /// Depacketizes payloads as a receiver does: OBUs without sizes (section 4.4).
    fn depacketize(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            let header = payload[0];
            let count = usize::from(header >> COUNT_SHIFT & 3);
            let mut rest = &payload[1..];
            let mut n = 0;
            while !rest.is_empty() {
                n += 1;
                let mut len = rest.len();
                if n != count {
                    len = usize::from(rest[0] & 0x7f);
                    if rest[0] & 0x80 != 0 {
                        len |= usize::from(rest[1]) << 7;
                        rest = &rest[1..];
                    }
                    rest = &rest[1..];
                }
                let (element, behind) = rest.split_at(len);
                if n == 1 && header & CONTINUES != 0 {
                    units.last_mut().unwrap().extend_from_slice(element);
                } else {
                    units.push(element.to_vec());
                }
                rest = behind;
            }
        }
        units
    }

    proptest! {
        #[test]
        fn receiver_restores_the_temporal_unit(
            units in prop::collection::vec(
                (prop::sample::select(vec![1u8, 3, 4, 5, 6, 7]), any::<Option<u8>>(),
                 prop::collection::vec(any::<u8>(), 0..3000)), 1..8),
            keyframe: bool,
            max in 64usize..1200,
        ) {
            let mut data = Vec::new();
            let mut expected = Vec::new();
            for (kind, extension, payload) in units {
                let header = kind << 3 | u8::from(extension.is_some()) << 2;
                data.push(header | 2);
                data.extend(extension);
                data.extend(leb128(payload.len()));
                data.extend(&payload);
                expected.push([&[header], extension.as_slice(), &payload].concat());
            }
            let sent = payloads(&data, keyframe, max);
            prop_assert!(sent.iter().all(|payload| payload.len() <= max));
            for (n, payload) in sent.iter().enumerate() {
                prop_assert_eq!(payload[0] & NEW_SEQUENCE != 0, keyframe && n == 0);
            }
            prop_assert_eq!(depacketize(&sent), expected);
        }
    }
}
