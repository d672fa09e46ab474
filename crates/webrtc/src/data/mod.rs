//! The data channel: SCTP over DTLS (RFC 8831, RFC 8261), channels by DCEP (RFC 8832), and what is said
//! on them.
//!
//! A viewer that opens channels gets on each of them what the stream carries beside picture and sound,
//! as JSON text with the media time it belongs to, and an answer to each of its pings. A viewer whose
//! offer has no `m=application` section costs nothing here.
//!
//! * [`DataTransport`]: association and channels as a state machine, without a socket.
//! * [`Request`] and [`Notice`]: what a viewer may say, and what it is told.
//!
//! The limits of one viewer: [`MAX_CHANNELS`] channels, [`MAX_MESSAGE_SIZE`] bytes in a message from
//! it, and [`MAX_BUFFERED`] bytes on their way to it. A notice that does not fit any more is left out for
//! this viewer and counted; one that is told too much by its stream loses some of it, not its picture.

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
