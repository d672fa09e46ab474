//! Detects the B-frames of a stream.

use bytes::Bytes;

use crate::b_frames::{BFrameVerdict, BFrames};
use crate::frame::VideoFrame;
use crate::h264::nal::{self, NalType};
use crate::h264::slice::{SliceHead, SliceType};
use crate::h264::sps::Sps;
use crate::h264::vui::BitstreamRestriction;
use crate::h265;
use crate::track::VideoCodec;

/// Baseline, which has no B slices (ITU-T H.264 section A.2.1).
const BASELINE: u8 = 66;

/// Default reorder depth of a stream that does not declare it: that of B-frames that reference each
/// other.
const DEFAULT_DEPTH: u8 = 2;

/// Maximum reorder depth that is accepted; encoders use one or two.
const MAX_DEPTH: u8 = 4;

/// Detects the B-frames of a stream.
///
/// The slices show them; before the first one arrives, the sequence parameter set and the distance
/// from decoding to presentation show whether they are to be expected.
#[derive(Clone, Debug, Default)]
pub(super) struct BFrameDetector {
    /// The current sequence parameter set.
    sps: Option<Bytes>,
    seen: BFrames,
    expected: BFrames,
    depth: u8,
    /// Keyframes of this sequence parameter set.
    keyframes: u64,
    is_ruled_out: bool,
}

impl BFrameDetector {
    /// Observes the next frame in decoding order.
    pub(super) fn observe(&mut self, frame: &VideoFrame) {
        match frame.codec {
            VideoCodec::H264 => {}
            VideoCodec::H265 => return self.observe_h265(frame),
            VideoCodec::Av1 | VideoCodec::Vp9 => return *self = Self::default(),
        }
        if frame.keyframe {
            self.begin_group(frame);
        }
        let slices = || {
            let units = frame.units.iter();
            units.filter(|unit| NalType::of(unit).has_slice_header())
        };
        let is_b = |unit: &Bytes| {
            SliceHead::parse(unit).is_some_and(|head| head.slice_type == SliceType::B)
        };
        if !self.is_ruled_out && slices().any(is_b) {
            let is_reference = slices().any(|unit| nal::is_reference(unit));
            self.seen = self.seen.max(if is_reference {
                BFrames::Reference
            } else {
                BFrames::NonReference
            });
        }
    }

    /// Observes a frame of H.265. There nearly all slices are B slices, even if frames are shown in
    /// decoding order. So reordering is detected by a parameter set that allows it and a
    /// presentation that is delayed for it. References to the reordered frames are not checked.
    fn observe_h265(&mut self, frame: &VideoFrame) {
        if !frame.keyframe {
            return;
        }
        let mut units = frame.units.iter();
        let sps = units.find(|unit| h265::NalType::of(unit) == h265::NalType::SPS);
        self.take_sps(sps);
        let sps = self
            .sps
            .as_deref()
            .and_then(|sps| h265::Sps::parse(sps).ok());
        let reorders = sps.and_then(|sps| sps.max_num_reorder_pics);
        self.is_ruled_out = reorders == Some(0);
        if !self.is_ruled_out && frame.pts > frame.dts {
            self.seen = BFrames::Reference;
        }
    }

    /// Returns the verdict on the frames so far.
    pub(super) fn verdict(&self) -> BFrameVerdict {
        let kind = self.seen.max(self.expected);
        BFrameVerdict {
            kind,
            depth: match kind {
                BFrames::None => 0,
                BFrames::NonReference | BFrames::Reference => self.depth,
            },
            is_certain: self.seen != BFrames::None || self.is_ruled_out || self.keyframes > 1,
        }
    }

    /// Restarts with a changed sequence parameter set, and counts the keyframe.
    fn take_sps(&mut self, sps: Option<&Bytes>) {
        if sps.is_some() && self.sps.as_ref() != sps {
            *self = Self::default();
            // A copy: a slice may keep the frame that it came with alive for as long as it is in
            // force.
            self.sps = sps.map(|sps| Bytes::copy_from_slice(sps));
        }
        self.keyframes = self.keyframes.saturating_add(1);
    }

    fn begin_group(&mut self, frame: &VideoFrame) {
        let mut units = frame.units.iter();
        self.take_sps(units.find(|unit| NalType::of(unit) == NalType::SPS));
        let Some(sps) = &self.sps else {
            return;
        };
        let declared = BitstreamRestriction::of_sps(sps)
            .map(|restriction| restriction.max_num_reorder_frames.min(MAX_DEPTH.into()) as u8);
        self.depth = declared.unwrap_or(DEFAULT_DEPTH).max(1);
        self.is_ruled_out =
            declared == Some(0) || Sps::parse(sps).is_ok_and(|sps| keeps_order(&sps));
        // The encoder allows reordering, and delays the presentation for it.
        if !self.is_ruled_out && frame.pts > frame.dts {
            self.expected = match declared {
                Some(2..) => BFrames::Reference,
                _ => BFrames::NonReference,
            };
        }
    }
}

/// Returns whether frames with this parameter set are always shown in decoding order.
fn keeps_order(sps: &Sps) -> bool {
    sps.profile_idc == BASELINE || sps.pic_order_cnt_type == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::{B, IDR, P, REFERENCE_B, h264_frame, hex};

    const HIGH_2: &str = "67640028acd940780227e5c044000003000400000300f03c60c658";
    const BASELINE_SPS: &str = "6742c01ed900a02ff970110000030001000003003c0f162e48";
    const HEVC_B_FRAMES: &str =
        "42010101600000030090000003000003003fa005020171f2e595992930bc05a02000000300200000030321";
    const HEVC_IN_ORDER: &str =
        "42010101600000030090000003000003003fa005020171f2e5ba4a4c2f016808000003000800000300c840";

    fn detector(sps: &[u8], offset: i64) -> BFrameDetector {
        let mut detector = BFrameDetector::default();
        detector.observe(&h264_frame(&[sps, IDR], offset));
        detector
    }

    fn sps_with(frames: u32) -> Vec<u8> {
        crate::h264::vui::with_reorder_frames(&hex(HIGH_2), frames).unwrap()
    }

    #[test]
    fn b_frames_are_detected_by_their_slices() {
        let mut detector = detector(&sps_with(1), 0);
        assert_eq!(detector.verdict().kind, BFrames::None);
        assert!(!detector.verdict().is_certain);
        detector.observe(&h264_frame(&[P], 0));
        detector.observe(&h264_frame(&[B, B], 0));
        assert_eq!(detector.verdict().kind, BFrames::NonReference);
        assert!(detector.verdict().is_certain);
        detector.observe(&h264_frame(&[&hex("06050180"), REFERENCE_B], 0));
        assert_eq!(detector.verdict().kind, BFrames::Reference);
        // The result stays in GOPs without any.
        detector.observe(&h264_frame(&[&sps_with(1), IDR], 0));
        assert_eq!(
            (detector.verdict().kind, detector.verdict().depth),
            (BFrames::Reference, 1)
        );
    }

    #[test]
    fn b_frames_are_expected_if_the_encoder_allows_reordering() {
        for (frames, offset, expected, depth) in [
            (0, 66, BFrames::None, 0),
            (1, 33, BFrames::NonReference, 1),
            (2, 66, BFrames::Reference, 2),
            (9, 66, BFrames::Reference, 4),
            (2, 0, BFrames::None, 0),
        ] {
            let detector = detector(&sps_with(frames), offset);
            let found = (detector.verdict().kind, detector.verdict().depth);
            assert_eq!(found, (expected, depth), "{frames} frames, {offset} ms");
            assert_eq!(detector.verdict().is_certain, frames == 0);
        }
        // Nothing is declared.
        let detector = detector(&hex("67640028acd940780227e4"), 66);
        assert_eq!(
            (detector.verdict().kind, detector.verdict().depth),
            (BFrames::NonReference, 2)
        );
    }

    #[test]
    fn stream_without_b_frames_is_certain_after_its_first_gop_or_by_its_profile() {
        let mut high = detector(&sps_with(2), 0);
        high.observe(&h264_frame(&[P], 0));
        assert!(!high.verdict().is_certain);
        high.observe(&h264_frame(&[&sps_with(2), IDR], 0));
        assert!(high.verdict().is_certain);
        assert_eq!(high.verdict().kind, BFrames::None);
        assert!(detector(&hex(BASELINE_SPS), 0).verdict().is_certain);
    }

    #[test]
    fn reordering_of_hevc_is_detected_by_its_declaration_and_delay() {
        // x265, 640x360: by default, with a reorder depth of two, and with -bf 0.
        for (sps, offset, expected, is_certain) in [
            (HEVC_B_FRAMES, 80, BFrames::Reference, true),
            (HEVC_B_FRAMES, 0, BFrames::None, false),
            (HEVC_IN_ORDER, 0, BFrames::None, true),
            (HEVC_IN_ORDER, 80, BFrames::None, true),
        ] {
            let mut detector = BFrameDetector::default();
            let frame = VideoFrame {
                codec: VideoCodec::H265,
                keyframe: true,
                ..h264_frame(&[&hex(sps), &[0x26, 1]], offset)
            };
            detector.observe(&frame);
            let found = (detector.verdict().kind, detector.verdict().is_certain);
            assert_eq!(found, (expected, is_certain), "{sps} {offset} ms");
        }
    }

    #[test]
    fn changed_parameter_sets_restart_the_detection() {
        let mut detector = detector(&sps_with(2), 66);
        detector.observe(&h264_frame(&[REFERENCE_B], 0));
        detector.observe(&h264_frame(&[&hex(BASELINE_SPS), IDR], 0));
        assert_eq!(
            (detector.verdict().kind, detector.verdict().depth),
            (BFrames::None, 0)
        );
        assert!(detector.verdict().is_certain);
    }
}
