//! The errors of a reader.

/// The error of a refused chunk. The peer is at fault, and the connection cannot continue: the
/// start of the next chunk is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A chunk depends on a header that never arrived.
    #[error("chunk stream {chunk_stream} begins with a header of type {header_type}")]
    NoPrecedingHeader {
        /// The chunk stream.
        chunk_stream: u32,
        /// The type of the header, 2 or 3.
        header_type: u8,
    },
    /// A new message starts on a chunk stream with an incomplete message.
    #[error("chunk stream {chunk_stream}: a new message starts after {received} of {length} bytes")]
    UnfinishedMessage {
        /// The chunk stream.
        chunk_stream: u32,
        /// Received bytes of the old message.
        received: usize,
        /// Its length.
        length: usize,
    },
    /// A message is longer than allowed.
    #[error("a message of {length} bytes; {limit} is the limit")]
    MessageTooLong {
        /// The declared length.
        length: usize,
        /// The current limit.
        limit: usize,
    },
    /// Incomplete messages exceed the limit.
    #[error("incomplete messages have {bytes} bytes; {limit} is the limit")]
    TooMuchUnderWay {
        /// The declared bytes of all of them.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More chunk streams than allowed.
    #[error("more than {limit} chunk streams")]
    TooManyChunkStreams {
        /// The limit.
        limit: usize,
    },
    /// Set Chunk Size with a value outside 1 to 0x7FFFFFFF.
    #[error("chunk size {0:#x} is outside 1 to 0x7fffffff")]
    BadChunkSize(u32),
}
