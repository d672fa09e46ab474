//! The parts of a keyframe, for decoders that are made to reorder frames and for others.

use std::iter::once;
use std::slice;

use bytes::Bytes;
use distributary_media::h264::{NalType, vui};

use super::decoder::Decoders;

/// An access unit delimiter that allows any kind of slice (ITU-T H.264 section 7.3.2.4): type 9,
/// `primary_pic_type` 7.
const DELIMITER: [u8; 2] = [0x09, 0xF0];

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// An IDR picture in parts.
pub(crate) struct Keyframe {
    /// The parameter sets as receivers expect them.
    parameter_sets: Vec<Bytes>,
    /// The parameter sets as the decoder needs them, in one NAL unit.
    carrier: Bytes,
    /// The slices, for priming.
    slices: Vec<Bytes>,
    /// The slices with the units that belong to them.
    frame: Vec<Bytes>,
    depth: u8,
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
            depth,
        }
    }

    /// Returns the NAL units of the parts in the order in which they are sent, and the decoders
    /// that are sent them; `None` for those of all viewers.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&[Bytes], Option<Decoders>)> {
        let carrier = slice::from_ref(&self.carrier);
        let priming = |held| (&self.slices[..], Some(Decoders::Priming(held)));
        once((&self.parameter_sets[..], None))
            .chain(once((carrier, Some(Decoders::All))))
            .chain((1..=self.depth).map(priming))
            .chain(once((&self.frame[..], None)))
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
        let keyframe = Keyframe::new(&units, 2);
        let parts: Vec<_> = keyframe.parts().collect();
        let [sets, carrier, first, second, frame] = parts[..] else {
            panic!("{} parts", parts.len())
        };
        assert_eq!(sets, (&units[..2], None));
        assert_eq!(carrier.1, Some(Decoders::All));
        assert_eq!(first, (&units[3..], Some(Decoders::Priming(1))));
        assert_eq!(second, (&units[3..], Some(Decoders::Priming(2))));
        assert_eq!(frame, (&units[2..], None));
        let rewritten = vui::with_reorder_frames(&SPS, 2).unwrap();
        assert_ne!(rewritten, SPS);
        let expected = [
            &DELIMITER[..],
            &START_CODE,
            &rewritten,
            &START_CODE,
            &[0x68, 1],
        ];
        assert_eq!(carrier.0, [expected.concat()]);
    }
}
