//! The codecs of video in JSON.

use distributary_media::VideoCodec;
use serde::{Deserialize, Serialize};

/// The codec of video in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VideoKind {
    H264,
    H265,
    Av1,
    Vp9,
}

impl VideoKind {
    /// Returns that of a codec; `None` if nodes do not know it.
    pub(crate) fn of(codec: VideoCodec) -> Option<Self> {
        Some(match codec {
            VideoCodec::H264 => Self::H264,
            VideoCodec::H265 => Self::H265,
            VideoCodec::Av1 => Self::Av1,
            VideoCodec::Vp9 => Self::Vp9,
            _ => return None,
        })
    }
}

impl From<VideoKind> for VideoCodec {
    fn from(kind: VideoKind) -> Self {
        match kind {
            VideoKind::H264 => Self::H264,
            VideoKind::H265 => Self::H265,
            VideoKind::Av1 => Self::Av1,
            VideoKind::Vp9 => Self::Vp9,
        }
    }
}
