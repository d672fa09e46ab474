//! Whether a stream has B-frames, and which.
//!
//! A picture that is shown earlier than it is decoded makes a decoder hold pictures back, and the
//! decoders of WebRTC receivers do not.

use std::fmt;

use bytes::Bytes;

use super::nal::{self, NalType};
use super::slice::{SliceHead, SliceType};
use super::sps::Sps;
use super::vui::BitstreamRestriction;
use crate::frame::VideoFrame;
use crate::h265;
use crate::track::VideoCodec;

/// Baseline, which has no B slices (ITU-T H.264 section A.2.1).
const BASELINE: u8 = 66;

/// What is taken for the number of pictures that are held back where a stream does not say it: that of
/// B-frames that refer to each other.
const DEFAULT_DEPTH: u8 = 2;

/// Most pictures held back that are believed; encoders use one or two.
const MAX_DEPTH: u8 = 4;

/// The B-frames of a stream, in the order of what they mean for a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BFrames {
    /// There are none.
    #[default]
    None,
    /// No picture refers to them, so they can be left out.
    NonReference,
    /// Pictures refer to them ("pyramid"): without them those that remain are wrong.
    Reference,
}

impl BFrames {
    /// One word for it, as in APIs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NonReference => "non-reference",
            Self::Reference => "reference",
        }
    }
}

impl fmt::Display for BFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Watches the pictures of a stream for B-frames.
///
/// The slices show them; before the first has come, the sequence parameter set and the distance from
/// decoding to presentation tell whether any are to be expected.
#[derive(Clone, Debug, Default)]
pub struct BFrameDetector {
    /// The sequence parameter set of the pictures so far.
    sps: Option<Bytes>,
    seen: BFrames,
    expected: BFrames,
    depth: u8,
    /// Keyframes of this sequence parameter set.
    keyframes: u64,
    is_ruled_out: bool,
}

impl BFrameDetector {
    /// Takes the next picture in decoding order.
    pub fn observe(&mut self, frame: &VideoFrame) {
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
            self.seen = self.seen.max(match is_reference {
                true => BFrames::Reference,
                false => BFrames::NonReference,
            });
        }
    }

    /// In H.265 nearly all slices are B slices, also where every picture is shown in the order of decoding.
    /// What tells is that the parameter set makes room for another order, and presentation is delayed
    /// for it. Whether other pictures refer to those that are shown earlier is not looked into.
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

    /// The B-frames that were seen, or are to be expected.
    pub fn b_frames(&self) -> BFrames {
        self.seen.max(self.expected)
    }

    /// Whether it is certain: B-frames were seen, or cannot be, or a whole group of pictures had none.
    pub fn is_certain(&self) -> bool {
        self.seen != BFrames::None || self.is_ruled_out || self.keyframes > 1
    }

    /// How many pictures a decoder holds back to put them in order, 0 to 4.
    pub fn depth(&self) -> u8 {
        match self.b_frames() {
            BFrames::None => 0,
            BFrames::NonReference | BFrames::Reference => self.depth,
        }
    }

    /// Begins anew with another sequence parameter set, and counts the keyframe.
    fn take_sps(&mut self, sps: Option<&Bytes>) {
        if sps.is_some() && self.sps.as_ref() != sps {
            *self = Self::default();
            // A copy: a slice may keep the frame that it came with alive for as long as it is in force.
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
        // The encoder has room for pictures to overtake each other, and delays the presentation for it.
        if !self.is_ruled_out && frame.pts > frame.dts {
            self.expected = match declared {
                Some(2..) => BFrames::Reference,
                _ => BFrames::NonReference,
            };
        }
    }
}

/// Whether pictures of this parameter set cannot be shown in another order than they are decoded in.
fn keeps_order(sps: &Sps) -> bool {
    sps.profile_idc == BASELINE || sps.pic_order_cnt_type == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;
    use crate::time::MediaTime;

    const HIGH_2: &str = "67640028acd940780227e5c044000003000400000300f03c60c658";
    const BASELINE_SPS: &str = "6742c01ed900a02ff970110000030001000003003c0f162e48";
    const HEVC_B_FRAMES: &str =
        "42010101600000030090000003000003003fa005020171f2e595992930bc05a02000000300200000030321";
    const HEVC_IN_ORDER: &str =
        "42010101600000030090000003000003003fa005020171f2e5ba4a4c2f016808000003000800000300c840";
    const IDR: &[u8] = &[0x65, 0b1000_1000, 0x80];
    const P: &[u8] = &[0x41, 0b1001_1010, 0x80];
    const B: &[u8] = &[0x01, 0b1001_1110, 0x80];
    const REFERENCE_B: &[u8] = &[0x21, 0b1001_1110, 0x80];

    fn frame(units: &[&[u8]], offset: i64) -> VideoFrame {
        VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(1000 + offset),
            dts: MediaTime::from_millis(1000),
            keyframe: units.contains(&IDR),
            units: units
                .iter()
                .map(|unit| Bytes::copy_from_slice(unit))
                .collect(),
        }
    }

    fn detector(sps: &[u8], offset: i64) -> BFrameDetector {
        let mut detector = BFrameDetector::default();
        detector.observe(&frame(&[sps, IDR], offset));
        detector
    }

    fn sps_with(frames: u32) -> Vec<u8> {
        super::super::vui::with_reorder_frames(&hex(HIGH_2), frames).unwrap()
    }

    #[test]
    fn b_frames_are_told_by_their_slices() {
        let mut detector = detector(&sps_with(1), 0);
        assert_eq!(detector.b_frames(), BFrames::None);
        assert!(!detector.is_certain());
        detector.observe(&frame(&[P], 0));
        detector.observe(&frame(&[B, B], 0));
        assert_eq!(detector.b_frames(), BFrames::NonReference);
        assert!(detector.is_certain());
        detector.observe(&frame(&[&hex("06050180"), REFERENCE_B], 0));
        assert_eq!(detector.b_frames(), BFrames::Reference);
        // They stay what they were in groups without any.
        detector.observe(&frame(&[&sps_with(1), IDR], 0));
        assert_eq!(
            (detector.b_frames(), detector.depth()),
            (BFrames::Reference, 1)
        );
    }

    #[test]
    fn they_are_expected_where_the_encoder_makes_room_for_them() {
        for (frames, offset, expected, depth) in [
            (0, 66, BFrames::None, 0),
            (1, 33, BFrames::NonReference, 1),
            (2, 66, BFrames::Reference, 2),
            (9, 66, BFrames::Reference, 4),
            (2, 0, BFrames::None, 0),
        ] {
            let detector = detector(&sps_with(frames), offset);
            let found = (detector.b_frames(), detector.depth());
            assert_eq!(found, (expected, depth), "{frames} pictures, {offset} ms");
            assert_eq!(detector.is_certain(), frames == 0);
        }
        // Nothing is said.
        let detector = detector(&hex("67640028acd940780227e4"), 66);
        assert_eq!(
            (detector.b_frames(), detector.depth()),
            (BFrames::NonReference, 2)
        );
    }

    #[test]
    fn a_stream_without_any_is_known_after_its_first_group_or_by_its_profile() {
        let mut high = detector(&sps_with(2), 0);
        high.observe(&frame(&[P], 0));
        assert!(!high.is_certain());
        high.observe(&frame(&[&sps_with(2), IDR], 0));
        assert!(high.is_certain());
        assert_eq!(high.b_frames(), BFrames::None);
        assert!(detector(&hex(BASELINE_SPS), 0).is_certain());
    }

    #[test]
    fn of_hevc_the_room_for_another_order_and_its_delay_tell() {
        // x265, 640x360: as it is by itself, with two pictures held back, and with -bf 0.
        for (sps, offset, expected, is_certain) in [
            (HEVC_B_FRAMES, 80, BFrames::Reference, true),
            (HEVC_B_FRAMES, 0, BFrames::None, false),
            (HEVC_IN_ORDER, 0, BFrames::None, true),
            (HEVC_IN_ORDER, 80, BFrames::None, true),
        ] {
            let mut detector = BFrameDetector::default();
            let picture = VideoFrame {
                codec: VideoCodec::H265,
                keyframe: true,
                ..frame(&[&hex(sps), &[0x26, 1]], offset)
            };
            detector.observe(&picture);
            let found = (detector.b_frames(), detector.is_certain());
            assert_eq!(found, (expected, is_certain), "{sps} {offset} ms");
        }
    }

    #[test]
    fn other_parameter_sets_begin_anew() {
        let mut detector = detector(&sps_with(2), 66);
        detector.observe(&frame(&[REFERENCE_B], 0));
        detector.observe(&frame(&[&hex(BASELINE_SPS), IDR], 0));
        assert_eq!((detector.b_frames(), detector.depth()), (BFrames::None, 0));
        assert!(detector.is_certain());
    }
}
