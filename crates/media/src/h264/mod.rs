//! H.264 syntax, as far as a gateway that never decodes video needs it (ITU-T H.264).
//!
//! * [`nal`]: NAL unit types, length-prefixed framing, emulation prevention.
//! * [`sps`], [`pps`]: parameter sets; [`parameter_sets`]: the active ones; [`vui`]: the declared
//!   reorder depth.
//! * [`limitation`]: properties of a stream that some viewers do not support.
//! * [`mod@slice`]: the start of slice headers.
//! * [`sei`]: supplemental enhancement information.
//! * [`avcc`]: `AVCDecoderConfigurationRecord`, the sequence header of FLV and MP4.
//! * [`access_unit`]: [`AccessUnitFilter`], which prepares access units for WebRTC receivers.

pub mod access_unit;
pub mod avcc;
mod error;
pub mod limitation;
pub mod nal;
pub mod parameter_sets;
pub mod pps;
pub mod sei;
pub mod slice;
pub mod sps;
pub mod vui;

pub use access_unit::AccessUnitFilter;
pub use avcc::AvcDecoderConfigurationRecord;
pub use error::H264Error;
pub use limitation::Limitation;
pub use nal::NalType;
pub use sps::Sps;
