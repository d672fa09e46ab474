//! The inbox of a shard, through which others send it commands.

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::command::Command;

/// The sending side of a shard's inbox. A clone sends to the same inbox.
#[derive(Clone)]
pub(crate) struct Inbox(Sender<Command>);

/// The reason why a command is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InboxError {
    /// The inbox is full.
    Full,
    /// The shard has ended, with its sessions.
    Ended,
}

impl Inbox {
    /// Returns an inbox for this many commands, and the side of its shard.
    pub(crate) fn with_capacity(commands: usize) -> (Self, Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(commands);
        (Self(sender), receiver)
    }

    /// Sends a command, if there is room.
    pub(crate) fn try_send(&self, command: Command) -> Result<(), InboxError> {
        self.0.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => InboxError::Full,
            TrySendError::Closed(_) => InboxError::Ended,
        })
    }

    /// Reserves the room for one command, and returns the function that sends it.
    pub(crate) fn reserve(&self) -> Option<impl FnOnce(Command)> {
        let permit = self.0.try_reserve().ok()?;
        Some(|command| permit.send(command))
    }

    /// Sends a command as soon as there is room.
    pub(crate) async fn send(&self, command: Command) -> Result<(), InboxError> {
        let sent = self.0.send(command).await;
        sent.map_err(|_| InboxError::Ended)
    }

    /// Sends a command, and blocks the thread until there is room. The command to a shard that has
    /// ended is lost.
    pub(crate) fn blocking_send(&self, command: Command) {
        let _ = self.0.blocking_send(command);
    }
}
