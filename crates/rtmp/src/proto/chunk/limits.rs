//! The limits of a reader.

/// Limits of the memory that a peer can make the reader hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Maximum chunk streams of one connection. Real publishers use at most six.
    pub max_chunk_streams: usize,
    /// Maximum length of a message, in bytes.
    pub max_message_size: usize,
    /// Maximum bytes of incomplete messages on all chunk streams together, counted by the length
    /// that their headers declare.
    pub max_reassembly: usize,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            max_chunk_streams: 64,
            max_message_size: 16 << 20,
            max_reassembly: 24 << 20,
        }
    }
}
