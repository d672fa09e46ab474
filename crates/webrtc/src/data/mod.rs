//! The data channel: SCTP over DTLS (RFC 8831, RFC 8261), channels by DCEP (RFC 8832), and
//! messages.
//!
//! A viewer that opens channels gets on each of them the stream's data besides audio and video, as
//! JSON text with its media time, and an answer to each of its pings. A viewer without an
//! `m=application` section costs nothing here.
//!
//! * [`DataTransport`]: association and channels as a state machine, without a socket.
//! * [`Request`] and [`Notice`]: messages of viewers, and messages to them.
//!
//! The limits of one viewer: [`MAX_CHANNELS`] channels, [`MAX_MESSAGE_SIZE`] bytes in a message
//! from it, and [`MAX_BUFFERED`] bytes in flight to it. A notice over the limit is dropped for this
//! viewer and counted: a stream with too much data loses some of it, not its video.

mod dcep;
mod guard;
mod message;
#[cfg(test)]
mod tests;
mod transport;

pub use message::{Notice, Request};
pub use transport::{
    DataConfig, DataEvent, DataTransport, MAX_BUFFERED, MAX_CHANNELS, MAX_MESSAGE_SIZE, SCTP_PORT,
};
