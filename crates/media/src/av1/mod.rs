//! AV1 syntax, as far as a gateway that never decodes video needs it (AV1 Bitstream & Decoding
//! Process Specification, version 1.0.0 with errata 1).
//!
//! * [`obu`]: open bitstream units.
//! * [`sequence_header`]: the decoder configuration before the first frame.
//! * [`av1c`]: `AV1CodecConfigurationRecord`, the sequence header of FLV and MP4.
//! * [`temporal_unit`]: [`TemporalUnitFilter`], which prepares temporal units for WebRTC receivers.

pub mod av1c;
mod error;
pub mod obu;
pub mod sequence_header;
pub mod temporal_unit;

pub use av1c::Av1CodecConfigurationRecord;
pub use error::Av1Error;
pub use obu::{Obu, ObuType, Obus};
pub use sequence_header::SequenceHeader;
pub use temporal_unit::TemporalUnitFilter;
