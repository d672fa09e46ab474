//! The limits and announced values of a session.

use std::time::Duration;

use crate::proto::amf::AmfLimits;
use crate::proto::chunk::ChunkLimits;
use crate::proto::swf::Swf;

/// The limits and announced values of a session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Limits of the chunk stream.
    pub chunks: ChunkLimits,
    /// Limits of the values in commands and metadata.
    pub amf: AmfLimits,
    /// Timeout of the handshake.
    pub handshake_timeout: Duration,
    /// Time that a client may stay without publishing or playing.
    pub idle_timeout: Duration,
    /// Maximum time without data from a client, to detect one that is gone without closing. A
    /// publisher is pinged after half of it, a player after all of it; a player then has as long
    /// again to answer.
    pub read_timeout: Duration,
    /// Size of sent chunks, in bytes. ffmpeg uses it for its own chunks as well.
    pub chunk_size: u32,
    /// Number of bytes after which each side sends an acknowledgement.
    pub window_ack_size: u32,
    /// The Flash program that clients have to prove they play; `None` for none.
    pub swf: Option<Swf>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            chunks: ChunkLimits::default(),
            amf: AmfLimits::default(),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(10),
            chunk_size: 65_536,
            window_ack_size: 2_500_000,
            swf: None,
        }
    }
}
