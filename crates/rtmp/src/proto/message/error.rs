//! The error of an invalid message.

use super::type_id;
use crate::proto::amf::AmfError;

/// The error of an invalid message. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload is shorter than its type needs.
    #[error("a message of type {type_id} is truncated")]
    Truncated {
        /// The type.
        type_id: u8,
    },
    /// The connection has exceeded its budget for commands.
    #[error("commands: {0}")]
    TooManyCommands(#[source] AmfError),
    /// A data message is not valid AMF, or exceeds a limit.
    #[error("a data message: {0}")]
    BadData(#[source] AmfError),
    /// A command does not begin with its name.
    #[error("a command without name")]
    NamelessCommand,
}

impl MessageError {
    /// Returns whether the connection cannot continue: without the chunk size the start of the next
    /// chunk is unknown, and too many commands are a flood. Other invalid messages are ignored.
    pub(crate) fn is_fatal(&self) -> bool {
        let type_id = type_id::SET_CHUNK_SIZE;
        matches!(self, Self::TooManyCommands(_)) || *self == Self::Truncated { type_id }
    }
}
