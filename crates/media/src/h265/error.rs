//! Errors of H.265 syntax.

use crate::h264::H264Error;

/// The error of invalid H.265 syntax. The publisher is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum H265Error {
    /// The length prefixes of the NAL units, which are those of H.264, are broken.
    #[error(transparent)]
    Framing(#[from] H264Error),
    /// A parameter set or a configuration record ends early, or has values that the specification
    /// does not allow.
    #[error("{structure} of {len} bytes cannot be read")]
    Unreadable {
        /// The structure being parsed.
        structure: &'static str,
        /// Its length.
        len: usize,
    },
    /// A parameter set is larger than is accepted.
    #[error("{structure} has {len} bytes, more than {limit}")]
    TooLarge {
        /// The structure that is too large.
        structure: &'static str,
        /// Its length.
        len: usize,
        /// The maximum.
        limit: usize,
    },
    /// An access unit has more NAL units than are accepted.
    #[error("an access unit has more than {limit} NAL units")]
    TooManyNalUnits {
        /// The maximum.
        limit: usize,
    },
    /// A frame at which decoding could start arrived without a parameter set of this kind before
    /// it.
    #[error("a keyframe arrived without any {missing}")]
    NoParameterSet {
        /// The kind of the missing set.
        missing: &'static str,
    },
}
