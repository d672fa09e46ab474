//! Finds out what a video frame is, once, at ingest.

mod b_frames;

use crate::frame::{FrameInfo, VideoFrame};
use crate::h264::nal::{self, NalType};
use crate::h264::sei;
use crate::track::VideoCodec;
use b_frames::BFrameDetector;

/// Finds out what the video frames of one publisher are.
///
/// ```
/// use bytes::Bytes;
/// use distributary_media::{FrameInfo, FrameInspector, MediaTime, VideoCodec, VideoFrame};
///
/// let mut frame = VideoFrame {
///     codec: VideoCodec::H264,
///     pts: MediaTime::ZERO,
///     dts: MediaTime::ZERO,
///     keyframe: false,
///     info: FrameInfo::default(),
///     units: vec![Bytes::from_static(&[0x01, 0x9e, 0x80])],
/// };
/// FrameInspector::default().inspect(&mut frame);
/// assert!(frame.info.disposable);
/// ```
#[derive(Clone, Debug, Default)]
pub struct FrameInspector {
    b_frames: BFrameDetector,
}

impl FrameInspector {
    /// Sets the [`info`](VideoFrame::info) of the next frame in decoding order.
    pub fn inspect(&mut self, frame: &mut VideoFrame) {
        self.b_frames.observe(frame);
        frame.info = FrameInfo {
            disposable: is_disposable(frame),
            recovery_point: is_recovery_point(frame),
            b_frames: self.b_frames.verdict(),
        };
    }
}

/// Returns whether all slices say that no other frame references them (ITU-T H.264 section 7.4.1).
fn is_disposable(frame: &VideoFrame) -> bool {
    let units = frame.units.iter();
    let mut slices = units
        .filter(|unit| frame.codec == VideoCodec::H264 && NalType::of(unit).is_slice())
        .peekable();
    slices.peek().is_some() && !slices.any(|unit| nal::is_reference(unit))
}

/// Returns whether a frame other than a keyframe has a recovery point (ITU-T H.264 section D.2.8).
fn is_recovery_point(frame: &VideoFrame) -> bool {
    let mut units = frame.units.iter();
    frame.codec == VideoCodec::H264
        && !frame.keyframe
        && units.any(|unit| NalType::of(unit) == NalType::SEI && sei::has_recovery_point(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MediaTime;
    use bytes::Bytes;

    const RECOVERY_POINT: &[u8] = &[0x06, 6, 1, 0x84, 0x80];

    fn info(codec: VideoCodec, keyframe: bool, units: &[&[u8]]) -> FrameInfo {
        let mut frame = VideoFrame {
            codec,
            pts: MediaTime::ZERO,
            dts: MediaTime::ZERO,
            keyframe,
            info: FrameInfo::default(),
            units: units
                .iter()
                .map(|unit| Bytes::copy_from_slice(unit))
                .collect(),
        };
        FrameInspector::default().inspect(&mut frame);
        frame.info
    }

    #[test]
    fn frame_is_disposable_when_all_its_slices_are_non_reference() {
        let slice = |header: u8| [header, 1, 2];
        for (headers, disposable) in [
            (&[0x01][..], true),
            (&[0x06, 0x01, 0x01], true),
            (&[0x01, 0x21], false),
            (&[0x41], false),
            (&[0x06], false),
        ] {
            let units: Vec<_> = headers.iter().map(|header| slice(*header)).collect();
            let units: Vec<_> = units.iter().map(|unit| &unit[..]).collect();
            let info = info(VideoCodec::H264, false, &units);
            assert_eq!(info.disposable, disposable, "{headers:?}");
        }
    }

    #[test]
    fn frames_of_other_codecs_are_never_disposable() {
        for (codec, unit) in [
            // A sub-layer non-reference picture, a frame of AV1, and one of VP9 that updates
            // nothing.
            (VideoCodec::H265, &[0x00, 0x01, 0xd0][..]),
            (VideoCodec::Av1, &[0x32, 2, 0x30, 0]),
            (VideoCodec::Vp9, &[0x86, 0, 0, 0]),
        ] {
            assert!(!info(codec, false, &[unit]).disposable, "{codec}");
        }
    }

    #[test]
    fn recovery_point_is_found_in_frames_other_than_keyframes_of_h264() {
        let units: &[&[u8]] = &[RECOVERY_POINT, &[0x41, 0x9a, 0x80]];
        assert!(info(VideoCodec::H264, false, units).recovery_point);
        assert!(!info(VideoCodec::H264, false, &units[1..]).recovery_point);
        assert!(!info(VideoCodec::H264, true, units).recovery_point);
        assert!(!info(VideoCodec::H265, false, units).recovery_point);
    }
}
