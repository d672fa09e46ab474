//! Fixtures for tests.

use bytes::Bytes;

use crate::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind};
use crate::{
    AudioCodec, AudioFrame, AudioTrack, Frame, FrameInfo, MediaTime, VideoCodec, VideoFrame,
    VideoTrack,
};

/// A sequence parameter set of H264 Main with `pic_order_cnt_type` 0 and without VUI.
pub const SPS: &[u8] = &[0x67, 0x4d, 0, 0x1f, 0xf2, 0x81, 0x40, 0x5f, 0x20];

/// A slice of an IDR picture of H264.
pub const IDR: &[u8] = &[0x65, 0b1000_1000, 0x80];

/// A P slice that is a reference.
pub const P: &[u8] = &[0x41, 0b1001_1010, 0x80];

/// A B slice that is no reference.
pub const B: &[u8] = &[0x01, 0b1001_1110, 0x80];

/// A B slice that is a reference.
pub const REFERENCE_B: &[u8] = &[0x21, 0b1001_1110, 0x80];

/// Returns a frame of H264 with these NAL units, decoded at zero and shown `offset` ms later. It is
/// a keyframe if it has [`IDR`].
pub fn h264_frame(units: &[&[u8]], offset: i64) -> VideoFrame {
    VideoFrame {
        codec: VideoCodec::H264,
        pts: MediaTime::from_millis(offset),
        dts: MediaTime::ZERO,
        keyframe: units.contains(&IDR),
        info: FrameInfo::default(),
        units: units
            .iter()
            .map(|unit| Bytes::copy_from_slice(unit))
            .collect(),
    }
}

/// Returns a frame of H264 at `millis` that has one slice of `len` bytes.
pub fn video_frame(millis: i64, keyframe: bool, len: usize) -> VideoFrame {
    let mut unit = vec![0; len];
    unit[0] = if keyframe { 0x65 } else { 0x41 };
    let time = MediaTime::from_millis(millis);
    VideoFrame {
        codec: VideoCodec::H264,
        pts: time,
        dts: time,
        keyframe,
        info: FrameInfo::default(),
        units: vec![unit.into()],
    }
}

/// Returns a packet of Opus at `millis`.
pub fn opus_frame(millis: i64, data: &'static [u8]) -> AudioFrame {
    AudioFrame {
        codec: AudioCodec::Opus,
        pts: MediaTime::from_millis(millis),
        data: Bytes::from_static(data),
    }
}

/// Returns the audio track and the audio frames of an FLV file, whose timestamps are those of the
/// encoder, rounded to milliseconds.
pub fn flv_audio(file: &'static [u8]) -> (AudioTrack, Vec<AudioFrame>) {
    let mut demuxer = FlvDemuxer::new();
    let (mut track, mut frames) = (None, Vec::new());
    for tag in FlvReader::new(Bytes::from_static(file)).expect("an FLV file") {
        let tag = tag.expect("a whole tag");
        if tag.kind != TagKind::Audio {
            continue;
        }
        let time = MediaTime::from_millis(i64::from(tag.timestamp_millis));
        for event in demuxer.handle_audio(time, tag.body).expect("valid audio") {
            match event {
                FlvEvent::AudioTrack(new) => track = Some(new),
                FlvEvent::Frame(Frame::Audio(frame)) => frames.push(frame),
                other => panic!("not expected in an audio tag: {other:?}"),
            }
        }
    }
    (track.expect("a sequence header"), frames)
}

/// Parses hexadecimal digits to bytes; white space is skipped.
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).expect("a hexadecimal digit"))
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte at the end");
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

/// Returns a track of H264 Constrained Baseline, 1280x720, without parameter sets.
pub fn h264_track() -> VideoTrack {
    VideoTrack {
        codec: VideoCodec::H264,
        width: 1280,
        height: 720,
        profile_level_id: [0x42, 0xc0, 0x1f],
        config: Bytes::new(),
    }
}
