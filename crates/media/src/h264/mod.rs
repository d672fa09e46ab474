//! H.264 syntax, as far as a gateway that never decodes a picture needs it (ITU-T H.264).
//!
//! * [`nal`]: NAL unit types, length-prefixed framing, emulation prevention.
//! * [`sps`], [`pps`]: parameter sets; [`parameter_sets`]: those in force; [`vui`]: how many pictures
//!   are put into another order.
//! * [`limitation`]: what keeps some viewers from showing a stream.
//! * [`mod@slice`]: how a picture is predicted; [`b_frames`]: whether a stream has B-frames.
//! * [`sei`]: supplemental enhancement information.
//! * [`avcc`]: `AVCDecoderConfigurationRecord`, the sequence header of FLV and MP4.
//! * [`access_unit`]: [`AccessUnitFilter`], what WebRTC receivers need of each access unit.

pub mod access_unit;
pub mod avcc;
pub mod b_frames;
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
pub use b_frames::{BFrameDetector, BFrames};
pub use limitation::Limitation;
pub use nal::NalType;
pub use sps::Sps;

/// Why H.264 syntax could not be read. The publisher is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum H264Error {
    /// The data ended inside a syntax element.
    #[error("{structure} ends after {len} bytes, in the middle of a field")]
    Truncated {
        /// What was being read.
        structure: &'static str,
        /// Its length.
        len: usize,
    },
    /// A field has a value that the specification does not allow, or that no real stream has.
    #[error("{structure}: {field} is {value}")]
    OutOfRange {
        /// What was being read.
        structure: &'static str,
        /// The field, named as in the specification.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A NAL unit's length points past the end of its access unit.
    #[error("a NAL unit of {needed} bytes is announced where {left} are left")]
    NalUnitTooLong {
        /// The length that was announced.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// An access unit has more NAL units than are accepted.
    #[error("an access unit has more than {limit} NAL units")]
    TooManyNalUnits {
        /// Most NAL units in an access unit.
        limit: usize,
    },
    /// A parameter set or a configuration record is larger than is accepted.
    #[error("{structure} has {len} bytes, more than {limit}")]
    TooLarge {
        /// What was too large.
        structure: &'static str,
        /// Its length.
        len: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// An IDR picture came and no sequence or picture parameter set before it.
    #[error("an IDR picture came without any {missing}")]
    NoParameterSet {
        /// Which kind is missing.
        missing: &'static str,
    },
}
