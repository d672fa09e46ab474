//! Names of codecs in the `codecs` parameter of media types (RFC 6381), as browsers configure a
//! decoder with.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::{VideoCodec, VideoTrack};

/// Returns the name of a track's codec, profile and level, such as `avc1.42c01f`; `None` if the
/// sequence header does not contain them.
pub fn codec_string(track: &VideoTrack) -> Option<String> {
    let [profile, second, third] = track.profile_level_id;
    match track.codec {
        VideoCodec::H264 => Some(format!("avc1.{profile:02x}{second:02x}{third:02x}")),
        VideoCodec::H265 => of_h265(&track.config),
        VideoCodec::Av1 => {
            let tier = if second == 0 { 'M' } else { 'H' };
            Some(format!(
                "av01.{profile}.{third:02}{tier}.{:02}",
                av1_bit_depth(&track.config)
            ))
        }
        // The sequence header has no level. 5.1 is enough for 4K at 60 frames per second.
        VideoCodec::Vp9 => Some(format!(
            "vp09.{profile:02}.51.{}",
            if profile < 2 { "08" } else { "10" }
        )),
    }
}

/// Returns the name from an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 section E.3), whose
/// parameter sets may be in the stream.
fn of_h265(config: &Bytes) -> Option<String> {
    let head = config.get(1..13)?;
    let space = ["", "A", "B", "C"][usize::from(head[0] >> 6)];
    let tier = if head[0] & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).reverse_bits();
    let mut name = format!(
        "hev1.{space}{}.{compatibility:X}.{tier}{}",
        head[0] & 0x1f,
        head[11]
    );
    let constraints = &head[5..11];
    let used = constraints.iter().rposition(|byte| *byte != 0);
    for byte in &constraints[..used.map_or(0, |last| last + 1)] {
        // Writing to a String does not fail.
        let _ = write!(name, ".{byte:X}");
    }
    Some(name)
}

/// Returns the bits per sample in an `AV1CodecConfigurationRecord`.
fn av1_bit_depth(config: &Bytes) -> u8 {
    let flags = config.get(2).copied().unwrap_or_default();
    match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(codec: VideoCodec, profile_level_id: [u8; 3], config: &'static [u8]) -> Option<String> {
        codec_string(&VideoTrack {
            codec,
            width: 1280,
            height: 720,
            profile_level_id,
            config: Bytes::from_static(config),
        })
    }

    #[test]
    fn codecs_are_named_with_profile_and_level() {
        const H265: [u8; 13] = [1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 0x5d];
        for (codec, profile, config, name) in [
            (VideoCodec::H264, [0x64, 0, 0x28], &[][..], "avc1.640028"),
            (VideoCodec::H265, [1, 0, 93], &H265, "hev1.1.6.L93.B0"),
            (
                VideoCodec::Av1,
                [0, 0, 4],
                &[0x81, 4, 0x0c, 0],
                "av01.0.04M.08",
            ),
            (
                VideoCodec::Av1,
                [0, 1, 13],
                &[0x81, 13, 0xcc, 0],
                "av01.0.13H.10",
            ),
            (VideoCodec::Vp9, [0, 0, 0], &[], "vp09.00.51.08"),
        ] {
            assert_eq!(of(codec, profile, config).as_deref(), Some(name));
        }
        assert_eq!(of(VideoCodec::H265, [1, 0, 93], &[1, 1]), None);
    }
}
