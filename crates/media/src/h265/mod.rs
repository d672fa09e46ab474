//! H.265 syntax, as far as a gateway that never decodes video needs it (ITU-T H.265).
//!
//! * [`nal`]: NAL unit types.
//! * [`sps`]: sequence parameter sets.
//! * [`hvcc`]: `HEVCDecoderConfigurationRecord`, the sequence header of FLV and MP4.
//! * [`access_unit`]: [`AccessUnitFilter`], which prepares access units for WebRTC receivers.

pub mod access_unit;
mod error;
pub mod hvcc;
pub mod nal;
pub mod sps;

pub use access_unit::AccessUnitFilter;
pub use error::H265Error;
pub use hvcc::HevcDecoderConfigurationRecord;
pub use nal::NalType;
pub use sps::Sps;
