//! What is done with streams that not every viewer can show as they are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is done with a stream that has B-frames, which the decoders of WebRTC receivers take for
/// errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BFramePolicy {
    /// Those that no picture refers to are left out. Where pictures refer to them, the stream is encoded
    /// anew for its viewers, or where that cannot be, as with [`Self::Reorder`].
    #[default]
    Auto,
    /// As with `Auto`, but nothing is encoded anew.
    Drop,
    /// The stream is encoded anew without B-frames while somebody watches.
    Transcode,
    /// All pictures are sent, to viewers whose decoder can be made to put them in order; others see the
    /// keyframes.
    Reorder,
    /// The publisher is turned away.
    Refuse,
}

/// What is done with the supplemental enhancement information of pictures: captions, the name of the
/// encoder, and whatever else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeiPolicy {
    /// It is passed on, but for what only describes how a constant bitrate is kept.
    #[default]
    Keep,
    /// It is left out, but for points of recovery.
    Drop,
}

/// What is done with what a stream says of the order of its pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VuiPolicy {
    /// It is passed on.
    #[default]
    Keep,
    /// A stream without B-frames is made to say that it has none, so that no decoder holds pictures back
    /// to wait for some.
    NoReorder,
}

/// Why what a publisher sends is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The stream has B-frames and must not.
    #[error(
        "the stream has B-frames, which browsers cannot show: {}",
        BFrameAdvice
    )]
    BFrames,
}

/// How an encoder is made to send no B-frames.
#[derive(Clone, Copy, Debug)]
pub struct BFrameAdvice;

impl fmt::Display for BFrameAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "set the encoder to none (OBS: tune \"zerolatency\", or x264 option \"bframes=0\"; \
             ffmpeg: -bf 0)",
        )
    }
}
