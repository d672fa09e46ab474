//! What a receiver must know about a track before it can decode the first frame.

use std::fmt;

use bytes::Bytes;

/// How a video track is coded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// ITU-T H.264 (AVC): what nearly all publishers send and all browsers show.
    #[default]
    H264,
    /// ITU-T H.265 (HEVC).
    H265,
    /// AOMedia AV1.
    Av1,
    /// VP9.
    Vp9,
}

/// How an audio track is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodec {
    /// MPEG-4 AAC, raw access units without ADTS header.
    Aac,
    /// Opus (RFC 6716), one packet per frame.
    Opus,
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
        })
    }
}

/// A video track as its sequence header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// The coding.
    pub codec: VideoCodec,
    /// Width of the picture after cropping, in pixels; 0 when the header does not say.
    pub width: u32,
    /// Height of the picture after cropping, in pixels; 0 when the header does not say.
    pub height: u32,
    /// H264: `profile_idc`, the constraint flags and `level_idc`, as `profile-level-id` has them
    /// (RFC 6184 section 8.1). H265: `general_profile_idc`, `general_tier_flag` and `general_level_idc`
    /// (RFC 7798 section 7.1). AV1: `seq_profile`, `seq_tier` and `seq_level_idx` of the first operating
    /// point. VP9: the profile and zeros.
    pub profile_level_id: [u8; 3],
    /// The decoder configuration as it came: for H264 an `AVCDecoderConfigurationRecord`, for H265 an
    /// `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1), for AV1 an
    /// `AV1CodecConfigurationRecord`.
    pub config: Bytes,
}

/// An audio track as its sequence header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// The coding.
    pub codec: AudioCodec,
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Number of channels.
    pub channels: u8,
    /// The decoder configuration as it came: for AAC an `AudioSpecificConfig`
    /// (ISO/IEC 14496-3 section 1.6.2.1), for Opus the identification header (RFC 7845 section 5.1)
    /// or nothing.
    pub config: Bytes,
}
