//! Errors of H.264 syntax.

/// The error of invalid H.264 syntax. The publisher is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum H264Error {
    /// The data ended inside a syntax element.
    #[error("{structure} ends after {len} bytes, in the middle of a field")]
    Truncated {
        /// The structure being parsed.
        structure: &'static str,
        /// Its length.
        len: usize,
    },
    /// A field has a value that the specification does not allow, or that no real stream has.
    #[error("{structure}: {field} is {value}")]
    OutOfRange {
        /// The structure being parsed.
        structure: &'static str,
        /// The field, named as in the specification.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A NAL unit's length points past the end of its access unit.
    #[error("a NAL unit declares {needed} bytes, but {left} are left")]
    NalUnitTooLong {
        /// The declared length.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// An access unit has more NAL units than are accepted.
    #[error("an access unit has more than {limit} NAL units")]
    TooManyNalUnits {
        /// The maximum.
        limit: usize,
    },
    /// A parameter set or a configuration record is larger than is accepted.
    #[error("{structure} has {len} bytes, more than {limit}")]
    TooLarge {
        /// The structure that is too large.
        structure: &'static str,
        /// Its length.
        len: usize,
        /// The maximum.
        limit: usize,
    },
    /// An IDR picture arrived without a sequence or picture parameter set before it.
    #[error("an IDR picture arrived without any {missing}")]
    NoParameterSet {
        /// The kind of the missing set.
        missing: &'static str,
    },
}
