//! What becomes of each picture of a stream on its way into the log.

use distributary_hub::BFramePolicy;
use distributary_media::h264::{BFrameDetector, BFrames};
use distributary_media::{VideoCodec, VideoFrame};

/// Decides for each picture of a stream how it is sent, so that receivers can show what is sent.
#[derive(Debug)]
pub(super) struct Pictures {
    policy: BFramePolicy,
    detector: BFrameDetector,
    form: Form,
    /// Set when the form cannot be changed in the middle of a group of pictures, up to its end.
    is_held: bool,
}

/// In what form a stream is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// As it is.
    #[default]
    Whole,
    /// Without the pictures that no other refers to.
    WithoutDisposable,
    /// In the order of decoding, for decoders that hold this many pictures back.
    Reordered(u8),
}

/// How a picture is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// As it is.
    Send,
    /// In the order of decoding, for decoders that hold this many pictures back.
    Reorder(u8),
    /// Not at all.
    LeaveOut,
}

impl Pictures {
    pub(super) fn new(policy: BFramePolicy) -> Self {
        Self {
            policy,
            detector: BFrameDetector::default(),
            form: Form::default(),
            is_held: false,
        }
    }

    /// What becomes of the next picture in decoding order.
    pub(super) fn treat(&mut self, frame: &VideoFrame) -> Treatment {
        self.detector.observe(frame);
        let form = match frame.codec {
            VideoCodec::H264 => self.suitable_form(),
            // Receivers of other codings are sent what there is.
            _ => Form::Whole,
        };
        if frame.keyframe {
            self.is_held = false;
            self.form = form;
        } else if (self.form, form) == (Form::Whole, Form::WithoutDisposable) {
            // So far there was nothing to leave out.
            self.form = form;
        } else if self.form != form {
            self.is_held = true;
        }
        match self.form {
            _ if self.is_held => Treatment::LeaveOut,
            Form::WithoutDisposable if frame.is_disposable() => Treatment::LeaveOut,
            Form::Whole | Form::WithoutDisposable => Treatment::Send,
            Form::Reordered(depth) => Treatment::Reorder(depth),
        }
    }

    fn suitable_form(&self) -> Form {
        match (self.detector.b_frames(), self.policy) {
            (BFrames::None, _) => Form::Whole,
            (BFrames::Reference, _) | (_, BFramePolicy::Reorder) => {
                Form::Reordered(self.detector.depth())
            }
            (BFrames::NonReference, _) => Form::WithoutDisposable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use distributary_media::MediaTime;
    use distributary_media::h264::vui;

    const IDR: &[u8] = &[0x65, 0b1000_1000, 0x80];
    const P: &[u8] = &[0x41, 0b1001_1010, 0x80];
    const B: &[u8] = &[0x01, 0b1001_1110, 0x80];
    const REFERENCE_B: &[u8] = &[0x21, 0b1001_1110, 0x80];

    /// Main profile with `pic_order_cnt_type` 0.
    const SPS: [u8; 9] = [0x67, 0x4d, 0, 0x1f, 0xf2, 0x81, 0x40, 0x5f, 0x20];

    fn frame(units: &[&[u8]], offset: i64) -> VideoFrame {
        VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(offset),
            dts: MediaTime::ZERO,
            keyframe: units.contains(&IDR),
            units: units
                .iter()
                .map(|unit| Bytes::copy_from_slice(unit))
                .collect(),
        }
    }

    /// What becomes of a stream's pictures, the first of them a keyframe that is shown `offset` ms after
    /// it is decoded.
    fn treated(policy: BFramePolicy, reorders: u32, offset: i64, rest: &[&[u8]]) -> Vec<Treatment> {
        let mut pictures = Pictures::new(policy);
        let sps = vui::with_reorder_frames(&SPS, reorders).unwrap();
        let mut treat = |unit: &[u8]| match unit == IDR {
            true => pictures.treat(&frame(&[&sps, IDR], offset)),
            false => pictures.treat(&frame(&[unit], 0)),
        };
        std::iter::once(treat(IDR))
            .chain(rest.iter().map(|unit| treat(unit)).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn a_stream_in_order_goes_as_it_is() {
        let all = treated(BFramePolicy::Auto, 2, 0, &[P, P, IDR, P]);
        assert_eq!(all, [Treatment::Send; 5]);
    }

    #[test]
    fn b_frames_that_nothing_refers_to_are_left_out() {
        use Treatment::{LeaveOut, Reorder, Send};
        for offset in [0, 33] {
            let all = treated(BFramePolicy::Auto, 1, offset, &[P, B, P, B, IDR]);
            assert_eq!(all, [Send, Send, LeaveOut, Send, LeaveOut, Send]);
        }
        let all = treated(BFramePolicy::Reorder, 1, 33, &[P, B]);
        assert_eq!(all, [Reorder(1); 3]);
    }

    #[test]
    fn with_b_frames_that_others_refer_to_all_pictures_go_in_the_order_of_decoding() {
        for policy in [BFramePolicy::Auto, BFramePolicy::Drop] {
            let all = treated(policy, 2, 66, &[P, REFERENCE_B, B, B, IDR]);
            assert_eq!(all, [Treatment::Reorder(2); 6]);
        }
    }

    #[test]
    fn what_was_not_expected_ends_the_group_of_pictures() {
        use Treatment::{LeaveOut, Reorder, Send};
        let all = treated(BFramePolicy::Auto, 2, 0, &[P, REFERENCE_B, P, IDR, P]);
        assert_eq!(
            all,
            [Send, Send, LeaveOut, LeaveOut, Reorder(2), Reorder(2)]
        );
        // At first it seemed enough to leave some out.
        let all = treated(BFramePolicy::Auto, 1, 33, &[P, B, REFERENCE_B, P, IDR, P]);
        let reordered = Reorder(1);
        assert_eq!(
            all,
            [
                Send, Send, LeaveOut, LeaveOut, LeaveOut, reordered, reordered
            ]
        );
    }
}
