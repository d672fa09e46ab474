//! Constants of the chunk stream, and its messages.

use bytes::Bytes;

/// The initial chunk size of both sides (RTMP 1.0 section 5.4.1).
pub const DEFAULT_CHUNK_SIZE: u32 = 128;

/// Maximum useful chunk size: no message is longer (RTMP 1.0 section 5.4.1).
pub const MAX_CHUNK_SIZE: u32 = 0xFF_FFFF;

/// Value of a timestamp field that is followed by the extended timestamp (RTMP 1.0 section
/// 5.3.1.3).
pub(super) const EXTENDED_TIMESTAMP: u32 = 0xFF_FFFF;

/// One complete message, with an uninterpreted payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// The time of the message in milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// The message type (RTMP 1.0 sections 5.4 and 7.1).
    pub type_id: u8,
    /// The message stream it belongs to; 0 is the connection itself.
    pub stream_id: u32,
    /// The payload.
    pub payload: Bytes,
}

/// The header fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// Its time in milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// Its message type.
    pub type_id: u8,
    /// The message stream it belongs to.
    pub stream_id: u32,
}

impl RawMessage {
    /// Returns its header fields.
    pub(super) fn head(&self) -> MessageHead {
        MessageHead {
            timestamp: self.timestamp,
            type_id: self.type_id,
            stream_id: self.stream_id,
        }
    }
}
