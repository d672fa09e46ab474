//! The chunk stream: messages are split into chunks so that several can share one connection
//! (RTMP 1.0 section 5.3).
//!
//! ```text
//! +--------------+----------------+--------------------+------------+
//! | basic header | message header | extended timestamp | chunk data |
//! | 1 to 3 bytes | 11, 7, 3 or 0  | 4, if needed       |            |
//! +--------------+----------------+--------------------+------------+
//! ```

mod output;
mod reader;
mod writer;

use bytes::Bytes;

pub use output::Output;
pub use reader::{ChunkError, ChunkLimits, ChunkReader};
pub use writer::{ChunkWriter, MessageHead};

/// The initial chunk size of both sides (RTMP 1.0 section 5.4.1).
pub const DEFAULT_CHUNK_SIZE: u32 = 128;

/// Maximum useful chunk size: no message is longer (RTMP 1.0 section 5.4.1).
pub const MAX_CHUNK_SIZE: u32 = 0xFF_FFFF;

/// A timestamp field with this value says that the extended timestamp follows
/// (RTMP 1.0 section 5.3.1.3).
const EXTENDED_TIMESTAMP: u32 = 0xFF_FFFF;

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
