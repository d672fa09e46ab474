//! Small changes to video frames that help the viewers' decoders.

use bytes::Bytes;
use distributary_media::VideoFrame;
use distributary_media::h264::{NalType, sei, vui};

use crate::policy::{SeiPolicy, VuiPolicy};

/// Changes the video frames of a stream as its settings say.
#[derive(Debug, Default)]
pub(crate) struct Adapter {
    sei: SeiPolicy,
    vui: VuiPolicy,
    /// The last sequence parameter set, and its rewritten form.
    rewritten: Option<(Bytes, Bytes)>,
}

impl Adapter {
    pub(crate) fn new(sei: SeiPolicy, vui: VuiPolicy) -> Self {
        Self {
            sei,
            vui,
            rewritten: None,
        }
    }

    /// Changes a frame.
    pub(crate) fn adapt(&mut self, frame: &mut VideoFrame) {
        if frame.codec != distributary_media::VideoCodec::H264 {
            return;
        }
        if self.sei == SeiPolicy::Drop {
            // The inspector's verdict is about the whole frame, and not about keyframes. Only where
            // there can be a recovery point, its unit is looked for.
            let may_have = frame.keyframe || frame.info.recovery_point;
            let is_kept = |unit: &Bytes| {
                NalType::of(unit) != NalType::SEI || may_have && sei::has_recovery_point(unit)
            };
            let held = frame.payload_len();
            frame.units.retain(is_kept);
            frame.compact(held);
        }
        if self.vui == VuiPolicy::NoReorder && frame.keyframe && frame.info.b_frames.depth == 0 {
            let units = frame.units.iter_mut();
            for unit in units.filter(|unit| NalType::of(unit) == NalType::SPS) {
                self.rewrite(unit);
            }
        }
    }

    fn rewrite(&mut self, unit: &mut Bytes) {
        if self.rewritten.as_ref().is_none_or(|(from, _)| from != unit) {
            let rewritten = vui::with_reorder_frames(unit, 0);
            // A copy: a slice may keep the frame that it came with alive for as long as it is in
            // force.
            self.rewritten = rewritten.map(|to| (Bytes::copy_from_slice(unit), to.into()));
        }
        if let Some((_, to)) = &self.rewritten {
            *unit = to.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::FrameInspector;
    use distributary_media::test_util::{IDR, SPS, h264_frame};

    const RECOVERY_POINT: &[u8] = &[0x06, 6, 1, 0x84, 0x80];
    const CAPTION: &[u8] = &[0x06, 4, 3, 0xb5, 0, 0x31, 0x80];

    fn adapted(sei: SeiPolicy, vui: VuiPolicy, mut frame: VideoFrame) -> Vec<Bytes> {
        FrameInspector::default().inspect(&mut frame);
        Adapter::new(sei, vui).adapt(&mut frame);
        frame.units
    }

    #[test]
    fn sei_is_dropped_except_recovery_points() {
        let units = [SPS, CAPTION, RECOVERY_POINT, IDR];
        let of = |sei| adapted(sei, VuiPolicy::Keep, h264_frame(&units, 0));
        assert_eq!(of(SeiPolicy::Keep), units);
        assert_eq!(of(SeiPolicy::Drop), [SPS, RECOVERY_POINT, IDR]);
    }

    #[test]
    fn dropped_sei_does_not_stay_in_memory() {
        let message = Bytes::from([&[0x06][..], &[4; 1 << 20], IDR].concat());
        let mut frame = h264_frame(&[SPS], 0);
        frame.keyframe = true;
        let split = message.len() - IDR.len();
        frame
            .units
            .extend([message.slice(..split), message.slice(split..)]);
        Adapter::new(SeiPolicy::Drop, VuiPolicy::Keep).adapt(&mut frame);
        assert_eq!(frame.units, [SPS, IDR]);
        assert!(message.is_unique());
    }

    #[test]
    fn stream_without_b_frames_is_marked_as_in_order() {
        let of = |vui, offset| adapted(SeiPolicy::Keep, vui, h264_frame(&[SPS, IDR], offset));
        let rewritten = vui::with_reorder_frames(SPS, 0).unwrap();
        assert_eq!(of(VuiPolicy::NoReorder, 0), [&rewritten[..], IDR]);
        assert_eq!(
            of(VuiPolicy::NoReorder, 80),
            [SPS, IDR],
            "B-frames are expected"
        );
        assert_eq!(of(VuiPolicy::Keep, 0), [SPS, IDR]);
    }
}
