//! RTP (RFC 3550) and the payload formats that are sent.
//!
//! * [`header`]: the fixed header.
//! * [`extension`]: header extensions (RFC 8285), and the header as a template.
//! * [`payload`]: what follows it, as slices of the frame it came from.
//! * [`h264`]: the payload format of H.264 (RFC 6184).
//! * [`red`]: packets of sound that carry the one before them as well (RFC 2198).

pub mod extension;
pub mod h264;
pub mod header;
pub mod payload;
pub mod red;

pub use extension::{HeaderTemplate, StreamExtensions};
pub use header::RtpHeader;
pub use payload::Payload;
