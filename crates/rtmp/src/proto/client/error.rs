//! The error that ends a client's session.

use crate::proto::link::LinkError;
use crate::proto::message::MessageError;

/// The error that ends a client's session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientSessionError {
    /// The handshake failed, or the chunk stream is broken.
    #[error("the RTMP server breaks the protocol: {0}")]
    Link(#[from] LinkError),
    /// A message cannot be understood, and nothing after it.
    #[error("the RTMP server breaks the protocol: {0}")]
    Message(#[from] MessageError),
    /// The server refuses.
    #[error("the RTMP server refuses: {code}: {description}")]
    Refused {
        /// Its code, `NetStream.Publish.BadName` for a name in use.
        code: String,
        /// Its description.
        description: String,
    },
    /// The server closed the connection.
    #[error("the RTMP server closed the connection")]
    Closed,
    /// The stream that was played has ended.
    #[error("the stream has ended at the RTMP server")]
    Ended,
}
