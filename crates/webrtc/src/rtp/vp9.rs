//! The RTP payload format of VP9 (RFC 9628), for one spatial and one temporal layer.

use bytes::Bytes;
use distributary_media::vp9::FrameHeader;

use super::payload::{Payload, equal_parts};

/// The bits of the payload descriptor's first byte (RFC 9628 section 4.2). Without a picture id (I)
/// receivers order frames by sequence numbers alone, which have no gap for any
/// viewer, whatever was dropped for it.
const INTER_PICTURE_PREDICTED: u8 = 0x40;
const START_OF_FRAME: u8 = 0x08;
const END_OF_FRAME: u8 = 0x04;
const SCALABILITY_STRUCTURE: u8 = 0x02;

/// The scalability structure's first byte: one spatial layer (N_S is 0), whose size follows (Y).
const ONE_LAYER_WITH_SIZE: u8 = 0x10;

/// Bytes of the descriptor, and of the structure behind it in a keyframe's first packet.
const DESCRIPTOR_LEN: usize = 1;
const STRUCTURE_LEN: usize = 5;

/// Cuts one frame into payloads of at most `max_payload` bytes, all of equal size but the last.
///
/// ```text
/// +-+-+-+-+-+-+-+-+  +-----+-+-+-----+----------------+----------------+
/// |I|P|L|F|B|E|V|Z|  | N_S |Y|G|  -  | width, 16 bits | height, 16 bits |  a part of the frame
/// +-+-+-+-+-+-+-+-+  +-----+-+-+-----+----------------+----------------+
///                     in the first packet of a keyframe only
/// ```
pub fn packetize(
    units: &[Bytes],
    keyframe: bool,
    max_payload: usize,
    mut emit: impl FnMut(Payload),
) {
    let [frame] = units else { return };
    let structure = keyframe.then(|| structure(frame)).flatten();
    let extra = structure.map_or(0, |_| STRUCTURE_LEN);
    let total = extra + frame.len();
    for part in equal_parts(total, max_payload.saturating_sub(DESCRIPTOR_LEN)) {
        let mut descriptor = if keyframe { 0 } else { INTER_PICTURE_PREDICTED };
        let body = frame.slice(part.start.saturating_sub(extra)..part.end.saturating_sub(extra));
        if part.end == total {
            descriptor |= END_OF_FRAME;
        }
        if part.start > 0 {
            emit(Payload::prefixed(&[descriptor], body));
            continue;
        }
        descriptor |= START_OF_FRAME;
        match structure {
            None => emit(Payload::prefixed(&[descriptor], body)),
            Some([a, b, c, d, e]) => {
                let prefix = [descriptor | SCALABILITY_STRUCTURE, a, b, c, d, e];
                emit(Payload::prefixed(&prefix, body));
            }
        }
    }
}

/// Returns the descriptor's scalability structure with the frame size, so that a receiver can
/// choose its decoder before it has decoded.
fn structure(frame: &Bytes) -> Option<[u8; STRUCTURE_LEN]> {
    let size = FrameHeader::parse(frame)?.keyframe?;
    let [width, height] = [size.width, size.height].map(|size| u16::try_from(size).ok());
    let ([a, b], [c, d]) = (width?.to_be_bytes(), height?.to_be_bytes());
    Some([ONE_LAYER_WITH_SIZE, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A keyframe of profile 0 and 320x240 pixels, up to its size.
    const KEYFRAME: [u8; 9] = [0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0e, 0xf0];

    fn payloads(frame: &[u8], keyframe: bool, max: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let units = [Bytes::copy_from_slice(frame)];
        packetize(&units, keyframe, max, |payload| out.push(payload.to_vec()));
        out
    }

    #[test]
    fn frame_that_fits_begins_and_ends_in_its_packet() {
        assert_eq!(payloads(&[0x86, 1], false, 100), [vec![0x4c, 0x86, 1]]);
    }

    #[test]
    fn keyframe_tells_its_size_in_its_first_packet() {
        let mut frame = KEYFRAME.to_vec();
        frame.resize(250, 7);
        let sent = payloads(&frame, true, 101);
        assert_eq!(sent[0][..6], [0x0a, 0x10, 1, 64, 0, 240]);
        assert_eq!((sent[1][0], sent[2][0]), (0x00, 0x04));
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [86, 86, 86]);
        assert_eq!(
            [&sent[0][6..], &sent[1][1..], &sent[2][1..]].concat(),
            frame
        );
    }

    #[test]
    fn frame_without_a_known_size_is_sent_all_the_same() {
        assert_eq!(payloads(&[1, 2, 3], true, 100), [vec![0x0c, 1, 2, 3]]);
    }

    proptest! {
        #[test]
        fn receiver_restores_the_frame(
            rest in prop::collection::vec(any::<u8>(), 0..5000),
            keyframe: bool,
            max in 64usize..1200,
        ) {
            let frame = [&KEYFRAME[..], &rest].concat();
            let sent = payloads(&frame, keyframe, max);
            let last = sent.len() - 1;
            let mut received = Vec::new();
            for (n, payload) in sent.iter().enumerate() {
                let descriptor = payload[0];
                prop_assert!(payload.len() <= max);
                prop_assert_eq!(descriptor & START_OF_FRAME != 0, n == 0);
                prop_assert_eq!(descriptor & END_OF_FRAME != 0, n == last);
                prop_assert_eq!(descriptor & INTER_PICTURE_PREDICTED == 0, keyframe);
                let has_structure = descriptor & SCALABILITY_STRUCTURE != 0;
                prop_assert_eq!(has_structure, keyframe && n == 0);
                received.extend_from_slice(&payload[if has_structure { 6 } else { 1 }..]);
            }
            prop_assert_eq!(received, frame);
        }
    }
}
