//! Encodes Opus (RFC 6716) by libopus, which is built from the source in this crate.
//!
//! * [`Encoder`]: 48 kHz stereo in, packets out.
//! * [`version`]: the version of libopus.
//! * `sys`: the functions of libopus.

mod encoder;
mod sys;
mod version;

pub use encoder::{Application, Encoder, OpusError};
pub use version::version;
