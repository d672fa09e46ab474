//! The RTMP protocol as state machines: bytes and the time in, bytes and events out.
//!
//! Nothing here has a socket, a task or a clock.

pub(crate) mod aggregate;
pub mod amf;
pub mod chunk;
pub(crate) mod client;
pub mod handshake;
pub(crate) mod link;
pub(crate) mod media;
pub mod message;
pub mod metadata;
pub mod name;
pub mod session;
pub mod swf;
pub mod timestamp;
pub(crate) mod url;
