//! AV1 syntax, as far as a gateway that never decodes a picture needs it (AV1 Bitstream & Decoding
//! Process Specification, version 1.0.0 with errata 1).
//!
//! * [`obu`]: open bitstream units, of which everything consists.
//! * [`sequence_header`]: what a decoder must know before the first frame.
//! * [`av1c`]: `AV1CodecConfigurationRecord`, the sequence header of FLV and MP4.
//! * [`temporal_unit`]: [`TemporalUnitFilter`], what WebRTC receivers need of each temporal unit.

pub mod av1c;
pub mod obu;
pub mod sequence_header;
pub mod temporal_unit;

pub use av1c::Av1CodecConfigurationRecord;
pub use obu::{Obu, ObuType, Obus};
pub use sequence_header::SequenceHeader;
pub use temporal_unit::TemporalUnitFilter;

/// Why AV1 syntax could not be read. The publisher is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Av1Error {
    /// The data ended inside a structure.
    #[error("{structure} ends after {len} bytes, in the middle of a field")]
    Truncated {
        /// What was being read.
        structure: &'static str,
        /// Its length.
        len: usize,
    },
    /// An OBU announces more bytes than there are.
    #[error("an OBU of {needed} bytes is announced where {left} are left")]
    ObuTooLong {
        /// The length that was announced.
        needed: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A temporal unit has more OBUs than are accepted.
    #[error("a temporal unit has more than {limit} OBUs")]
    TooManyObus {
        /// Most OBUs in a temporal unit.
        limit: usize,
    },
    /// A keyframe came and no sequence header before it.
    #[error("a keyframe came without any sequence header")]
    NoSequenceHeader,
}
