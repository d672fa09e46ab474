//! Policies for streams that not every viewer can decode as they are.

use std::fmt;

use distributary_media::BFrames;
use serde::{Deserialize, Serialize};

use crate::encoder::Encoder;

/// The policy for a stream with B-frames, which decoders of WebRTC receivers treat as errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BFramePolicy {
    /// Drops B-frames that no frame references. If frames reference them, the stream is transcoded
    /// for its viewers; without a transcoder, the policy is [`Self::Reorder`].
    #[default]
    Auto,
    /// As `Auto`, but without transcoding.
    Drop,
    /// Transcodes the stream to one without B-frames while somebody watches.
    Transcode,
    /// Sends all frames to viewers with a decoder that can reorder them; others get the
    /// keyframes.
    Reorder,
    /// Refuses the publisher.
    Refuse,
}

/// Writes the value of the configuration.
impl fmt::Display for BFramePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Drop => "drop",
            Self::Transcode => "transcode",
            Self::Reorder => "reorder",
            Self::Refuse => "refuse",
        })
    }
}

impl BFramePolicy {
    /// Returns whether a stream with these B-frames is transcoded for its viewers.
    pub fn transcodes(self, b_frames: BFrames) -> bool {
        match self {
            Self::Auto => b_frames == BFrames::Reference,
            Self::Transcode => b_frames != BFrames::None,
            Self::Drop | Self::Reorder | Self::Refuse => false,
        }
    }
}

/// The policy for supplemental enhancement information (SEI): captions, the encoder's name and the
/// like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeiPolicy {
    /// Passes it on, except messages that only describe buffering and picture timing.
    #[default]
    Keep,
    /// Drops it, except recovery points.
    Drop,
}

/// The policy for the frame reordering that a stream declares (VUI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VuiPolicy {
    /// Passes it on.
    #[default]
    Keep,
    /// Declares that a stream without B-frames has no reordering, so that no decoder delays frames.
    NoReorder,
}

/// The reason why a publisher is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The stream has B-frames, which its policy refuses.
    #[error(
        "the stream has B-frames, which browsers cannot show: {}",
        BFrameAdvice
    )]
    BFrames,
}

/// Displays how to configure an encoder without B-frames.
#[derive(Clone, Copy, Debug)]
pub struct BFrameAdvice;

impl fmt::Display for BFrameAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Encoder::Other.without_b_frames())
    }
}
