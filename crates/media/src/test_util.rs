//! Fixtures for tests.

use bytes::Bytes;

use crate::{VideoCodec, VideoTrack};

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
