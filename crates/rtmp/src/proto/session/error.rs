//! The error that ends a session.

use std::time::Duration;

use crate::proto::link::LinkError;
use crate::proto::message::MessageError;

/// The error that ends a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The handshake failed, or the chunk stream is broken.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// An invalid message after which the connection cannot continue, or too many commands.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A command that needs `connect` before it.
    #[error("{command} before connect")]
    NotConnected {
        /// The command.
        command: String,
    },
    /// The handshake took too long.
    #[error("no complete handshake within {0:?}")]
    HandshakeTimeout(Duration),
    /// The client neither published nor played.
    #[error("nothing published or played within {0:?}")]
    IdleTimeout(Duration),
    /// Nothing arrived from the client.
    #[error("nothing received for {0:?}")]
    ReadTimeout(Duration),
}
