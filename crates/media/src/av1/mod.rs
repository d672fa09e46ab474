//! AV1 syntax, as far as a gateway that never decodes video needs it (AV1 Bitstream & Decoding
//! Process Specification, version 1.0.0 with errata 1).
//!
//! * [`obu`]: open bitstream units.
//! * [`sequence_header`]: the decoder configuration before the first frame.
//! * [`av1c`]: `AV1CodecConfigurationRecord`, the sequence header of FLV and MP4.
//! * [`temporal_unit`]: [`TemporalUnitFilter`], which prepares temporal units for WebRTC receivers.

pub mod av1c;
pub mod obu;
pub mod sequence_header;
pub mod temporal_unit;

pub use av1c::Av1CodecConfigurationRecord;
pub use obu::{Obu, ObuType, Obus};
pub use sequence_header::SequenceHeader;
pub use temporal_unit::TemporalUnitFilter;

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
