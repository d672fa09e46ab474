//! The B-frames of a stream.
//!
//! A frame that is shown before others that are decoded earlier makes a decoder delay frames, which
//! decoders of WebRTC receivers do not do.

use std::fmt;

/// The kind of B-frames in a stream, in the order of their effect on a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BFrames {
    /// There are none.
    #[default]
    None,
    /// No frame references them, so they can be dropped.
    NonReference,
    /// Frames reference them ("pyramid"): without them the remaining frames are wrong.
    Reference,
}

impl BFrames {
    /// Returns one word for it, as in APIs and metrics.
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

/// The verdict on the B-frames of a stream, up to one of its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BFrameVerdict {
    /// Those that were seen or are expected.
    pub kind: BFrames,
    /// The reorder depth: the number of frames that a decoder delays, 0 to 4.
    pub depth: u8,
    /// True if `kind` is certain: B-frames were seen, are impossible, or a whole GOP had none.
    pub is_certain: bool,
}
