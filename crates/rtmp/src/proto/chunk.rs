//! The chunk stream: messages are split into chunks so that several can share one connection
//! (RTMP 1.0 section 5.3).
//!
//! ```text
//! +--------------+----------------+--------------------+------------+
//! | basic header | message header | extended timestamp | chunk data |
//! | 1 to 3 bytes | 11, 7, 3 or 0  | 4, if needed       |            |
//! +--------------+----------------+--------------------+------------+
//! ```

mod error;
mod format;
mod limits;
mod output;
mod reader;
mod writer;

pub use error::ChunkError;
pub use format::{DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MessageHead, RawMessage};
pub use limits::ChunkLimits;
pub use output::Output;
pub use reader::ChunkReader;
pub use writer::ChunkWriter;
