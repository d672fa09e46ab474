//! Video with B-frames, whose display order differs from its decoding order, for receivers that can
//! be made to reorder it.
//!
//! WebRTC receivers expect one frame out of the decoder for each that goes in. With B-frames a
//! decoder first has to hold back frames, which they take for an error; the video then freezes
//! until the next keyframe. Chromium's software decoder shows such a stream, whole and in order, if
//! three things come together:
//!
//! 1. *The decoder knows how many frames to hold back.* Chromium rewrites each sequence parameter
//!    set that it recognises, so that nothing is held back. So a second copy of the parameter sets,
//!    after the usual packet, travels inside an access unit delimiter, which Chromium passes to the
//!    decoder unchanged; the decoder takes the bytes after a start code as a unit of its own. The last
//!    copy counts.
//! 2. *The decoder is primed.* The slices of a viewer's first keyframe are repeated in the same
//!    access unit, once for each frame that is held back. From then on one frame comes out for each
//!    that goes in.
//! 3. *The timestamps are those of the frames that come out.* When a frame goes in, the decoder
//!    outputs the earliest that it has, so each frame is sent with the time of that one.
//!
//! No specification says any of this, so it is only done for viewers that are known to support it.
//! Others are sent the keyframes, which any decoder shows at once.

use bytes::Bytes;
use distributary_media::h264::{NalType, vui};

/// An access unit delimiter that allows any kind of slice (ITU-T H.264 section 7.3.2.4): type 9,
/// `primary_pic_type` 7.
const DELIMITER: [u8; 2] = [0x09, 0xF0];

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The parts of an IDR picture, in the order in which they are sent.
pub(crate) struct Keyframe {
    /// The parameter sets as receivers expect them.
    pub(crate) parameter_sets: Vec<Bytes>,
    /// The parameter sets as the decoder needs them, in one NAL unit.
    pub(crate) carrier: Bytes,
    /// The slices, for priming.
    pub(crate) slices: Vec<Bytes>,
    /// The slices with the units that belong to them.
    pub(crate) frame: Vec<Bytes>,
}

impl Keyframe {
    /// Splits an IDR picture with its parameter sets for a decoder that is to hold back `depth`
    /// frames.
    pub(crate) fn new(units: &[Bytes], depth: u8) -> Self {
        let is_set = |unit: &&Bytes| matches!(NalType::of(unit), NalType::SPS | NalType::PPS);
        let (parameter_sets, frame): (Vec<_>, Vec<_>) = units.iter().partition(is_set);
        let slices = frame.iter().copied();
        Self {
            carrier: carrier(&parameter_sets, depth),
            slices: slices
                .filter(|unit| NalType::of(unit).is_slice())
                .cloned()
                .collect(),
            parameter_sets: parameter_sets.into_iter().cloned().collect(),
            frame: frame.into_iter().cloned().collect(),
        }
    }
}

/// Returns parameter sets inside a delimiter, behind start codes (ITU-T H.264 annex B).
fn carrier(parameter_sets: &[&Bytes], depth: u8) -> Bytes {
    let mut carrier = DELIMITER.to_vec();
    for set in parameter_sets {
        carrier.extend(START_CODE);
        let rewritten = (NalType::of(set) == NalType::SPS)
            .then(|| vui::with_reorder_frames(set, depth.into()))
            .flatten();
        match rewritten {
            Some(rewritten) => carrier.extend(rewritten),
            None => carrier.extend(&set[..]),
        }
    }
    carrier.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: [u8; 10] = [0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x00];

    #[test]
    fn keyframe_is_split_into_parameter_sets_carrier_and_slices() {
        let units: Vec<Bytes> = [&SPS[..], &[0x68, 1], &[0x06, 2], &[0x65, 3], &[0x65, 4]]
            .map(Bytes::copy_from_slice)
            .to_vec();
        let parts = Keyframe::new(&units, 2);
        assert_eq!(parts.parameter_sets, units[..2]);
        assert_eq!(parts.frame, units[2..]);
        assert_eq!(parts.slices, units[3..]);
        let rewritten = vui::with_reorder_frames(&SPS, 2).unwrap();
        assert_ne!(rewritten, SPS);
        let expected = [
            &DELIMITER[..],
            &START_CODE,
            &rewritten,
            &START_CODE,
            &[0x68, 1],
        ];
        assert_eq!(parts.carrier, expected.concat());
    }
}
