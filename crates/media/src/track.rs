//! Tracks: the decoder configuration before the first frame.

use std::fmt;

use bytes::Bytes;

/// A video codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// ITU-T H.264 (AVC), which nearly all publishers send and all browsers support.
    #[default]
    H264,
    /// ITU-T H.265 (HEVC).
    H265,
    /// AOMedia AV1.
    Av1,
    /// VP9.
    Vp9,
}

/// An audio codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodec {
    /// MPEG-4 AAC, raw access units without ADTS header.
    Aac,
    /// Opus (RFC 6716), one packet per frame.
    Opus,
    /// MPEG audio layer III, one frame with its header.
    Mp3,
    /// G.711 with A-law, 8 kHz, any number of samples per frame.
    G711ALaw,
    /// G.711 with mu-law, 8 kHz, any number of samples per frame.
    G711MuLaw,
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
        })
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::Mp3 => "MP3",
            Self::G711ALaw => "G.711 A-law",
            Self::G711MuLaw => "G.711 mu-law",
        })
    }
}

/// A video track as its sequence header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// The codec.
    pub codec: VideoCodec,
    /// Width of the frame after cropping, in pixels; 0 if the header does not contain it.
    pub width: u32,
    /// Height of the frame after cropping, in pixels; 0 if the header does not contain it.
    pub height: u32,
    /// H264: `profile_idc`, the constraint flags and `level_idc`, as in `profile-level-id` (RFC
    /// 6184 section 8.1). H265: `general_profile_idc`, `general_tier_flag` and `general_level_idc`
    /// (RFC 7798 section 7.1). AV1: `seq_profile`, `seq_tier` and `seq_level_idx` of the first
    /// operating point. VP9: the profile and zeros.
    pub profile_level_id: [u8; 3],
    /// The decoder configuration as received: for H264 an `AVCDecoderConfigurationRecord`, for H265
    /// an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1), for AV1
    /// an `AV1CodecConfigurationRecord`.
    pub config: Bytes,
}

/// Part of a frame's aspect by which two tracks of the same content may differ, as a divisor: sizes
/// are rounded to whole macroblocks.
const ASPECT_TOLERANCE: u64 = 40;

impl VideoTrack {
    /// Returns whether it can show the same content as another track, by its aspect ratio. A track
    /// of unknown size can.
    pub fn has_aspect_of(&self, other: &Self) -> bool {
        let across = u64::from(self.width) * u64::from(other.height);
        let down = u64::from(other.width) * u64::from(self.height);
        across == 0 || down == 0 || across.abs_diff(down) * ASPECT_TOLERANCE <= across.max(down)
    }
}

/// An audio track as its sequence header describes it, or its first frame if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// The codec.
    pub codec: AudioCodec,
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u8,
    /// The decoder configuration as received: for AAC an `AudioSpecificConfig`
    /// (ISO/IEC 14496-3 section 1.6.2.1), for Opus the identification header (RFC 7845 section 5.1)
    /// or nothing. Frames of other codecs need none.
    pub config: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_of_the_same_content_have_one_aspect() {
        let track = |width, height| VideoTrack {
            codec: VideoCodec::H264,
            width,
            height,
            profile_level_id: [0; 3],
            config: Bytes::new(),
        };
        let main = track(1920, 1080);
        for (width, height) in [(1280, 720), (854, 480), (852, 480), (640, 368), (0, 0)] {
            assert!(
                track(width, height).has_aspect_of(&main),
                "{width}x{height}"
            );
        }
        for (width, height) in [(1080, 1920), (640, 480), (1920, 800)] {
            assert!(
                !track(width, height).has_aspect_of(&main),
                "{width}x{height}"
            );
        }
    }
}
