//! Errors of AV1 syntax.

/// The error of invalid AV1 syntax. The publisher is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Av1Error {
    /// The data ended inside a structure.
    #[error("{structure} ends after {len} bytes, in the middle of a field")]
    Truncated {
        /// The structure being parsed.
        structure: &'static str,
        /// Its length.
        len: usize,
    },
    /// An OBU announces more bytes than there are.
    #[error("an OBU declares {needed} bytes, but {left} are left")]
    ObuTooLong {
        /// The declared length.
        needed: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A temporal unit has more OBUs than are accepted.
    #[error("a temporal unit has more than {limit} OBUs")]
    TooManyObus {
        /// The maximum.
        limit: usize,
    },
    /// A keyframe arrived without a sequence header before it.
    #[error("a keyframe arrived without any sequence header")]
    NoSequenceHeader,
}
