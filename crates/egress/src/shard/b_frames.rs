//! Handling of B-frames, which most WebRTC receivers do not support.

use distributary_hub::BFramePolicy;
use distributary_media::{BFrameVerdict, BFrames, VideoCodec, VideoFrame};

/// Decides for each frame of a stream how it is sent, so that receivers can show the result.
#[derive(Debug)]
pub(super) struct BFrameFilter {
    policy: BFramePolicy,
    form: Form,
    /// The form has to change and cannot in the middle of a GOP: frames are dropped up to the next
    /// keyframe.
    is_held: bool,
}

/// The form in which a stream is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// Every frame, unchanged.
    #[default]
    Whole,
    /// Without the frames that no other frame refers to.
    WithoutDisposable,
    /// In decoding order, for decoders that hold back this many frames.
    Reordered(u8),
}

/// The treatment of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Send it unchanged.
    Send,
    /// Send it in decoding order, for decoders that hold back this many frames.
    Reorder(u8),
    /// Do not send it.
    Drop,
}

impl BFrameFilter {
    pub(super) fn new(policy: BFramePolicy) -> Self {
        Self {
            policy,
            form: Form::default(),
            is_held: false,
        }
    }

    /// Returns the treatment of the next frame in decoding order.
    pub(super) fn treat(&mut self, frame: &VideoFrame) -> Treatment {
        let form = match frame.codec {
            VideoCodec::H264 => self.suitable_form(frame.info.b_frames),
            // Other codecs have no B-frames that receivers could not show.
            _ => Form::Whole,
        };
        if frame.keyframe {
            self.is_held = false;
            self.form = form;
        } else if (self.form, form) == (Form::Whole, Form::WithoutDisposable) {
            // The GOP so far has no disposable frame, so dropping can start in its middle.
            self.form = form;
        } else if self.form != form {
            self.is_held = true;
        }
        match self.form {
            _ if self.is_held => Treatment::Drop,
            Form::WithoutDisposable if frame.info.disposable => Treatment::Drop,
            Form::Whole | Form::WithoutDisposable => Treatment::Send,
            Form::Reordered(depth) => Treatment::Reorder(depth),
        }
    }

    fn suitable_form(&self, b_frames: BFrameVerdict) -> Form {
        match (b_frames.kind, self.policy) {
            (BFrames::None, _) => Form::Whole,
            (BFrames::Reference, _) | (_, BFramePolicy::Reorder) => Form::Reordered(b_frames.depth),
            (BFrames::NonReference, _) => Form::WithoutDisposable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::FrameInspector;
    use distributary_media::h264::vui;
    use distributary_media::test_util::{B, IDR, P, REFERENCE_B, SPS, h264_frame};

    /// Returns the treatments of a stream's frames. The first is a keyframe that is shown `offset`
    /// ms after it is decoded.
    fn treated(policy: BFramePolicy, reorders: u32, offset: i64, rest: &[&[u8]]) -> Vec<Treatment> {
        let mut filter = BFrameFilter::new(policy);
        let mut inspector = FrameInspector::default();
        let sps = vui::with_reorder_frames(SPS, reorders).unwrap();
        let mut treat = |unit: &[u8]| {
            let mut frame = if unit == IDR {
                h264_frame(&[&sps, IDR], offset)
            } else {
                h264_frame(&[unit], 0)
            };
            inspector.inspect(&mut frame);
            filter.treat(&frame)
        };
        std::iter::once(treat(IDR))
            .chain(rest.iter().map(|unit| treat(unit)).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn stream_without_b_frames_is_sent_unchanged() {
        let all = treated(BFramePolicy::Auto, 2, 0, &[P, P, IDR, P]);
        assert_eq!(all, [Treatment::Send; 5]);
    }

    #[test]
    fn non_reference_b_frames_are_dropped() {
        use Treatment::{Drop, Reorder, Send};
        for offset in [0, 33] {
            let all = treated(BFramePolicy::Auto, 1, offset, &[P, B, P, B, IDR]);
            assert_eq!(all, [Send, Send, Drop, Send, Drop, Send]);
        }
        let all = treated(BFramePolicy::Reorder, 1, 33, &[P, B]);
        assert_eq!(all, [Reorder(1); 3]);
    }

    #[test]
    fn stream_with_reference_b_frames_is_sent_in_decoding_order() {
        for policy in [BFramePolicy::Auto, BFramePolicy::Drop] {
            let all = treated(policy, 2, 66, &[P, REFERENCE_B, B, B, IDR]);
            assert_eq!(all, [Treatment::Reorder(2); 6]);
        }
    }

    #[test]
    fn change_of_form_drops_frames_up_to_the_next_keyframe() {
        use Treatment::{Drop, Reorder, Send};
        let all = treated(BFramePolicy::Auto, 2, 0, &[P, REFERENCE_B, P, IDR, P]);
        assert_eq!(all, [Send, Send, Drop, Drop, Reorder(2), Reorder(2)]);
        // Dropping the first B-frame seemed enough; the next is a reference frame.
        let all = treated(BFramePolicy::Auto, 1, 33, &[P, B, REFERENCE_B, P, IDR, P]);
        let reordered = Reorder(1);
        assert_eq!(all, [Send, Send, Drop, Drop, Drop, reordered, reordered]);
    }
}
