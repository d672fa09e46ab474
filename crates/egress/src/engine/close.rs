//! Ends sessions on request.

use std::time::Instant;

use tokio::sync::mpsc::error::TrySendError;

use crate::command::Command;
use crate::session::{Closing, SessionId, ShortId};
use crate::state::{EngineState, JoinFailure, UNREACHED};

/// The reason why a session is not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// There is no such session.
    #[error("there is no such session")]
    UnknownSession,
    /// The inbox of the session's shard is full.
    #[error("the gateway is too busy to end the session")]
    Busy,
}

/// Ends a session or a counter-offer.
pub(crate) fn close(shared: &EngineState, id: &SessionId, now: Instant) -> Result<(), CloseError> {
    let shard = match shared.registry.close(id, now) {
        Some(Closing::Done(given_up)) => {
            if let Some(session) = given_up {
                shared.note_failed(session, JoinFailure::Unreachable, &UNREACHED, now);
            }
            return Ok(());
        }
        None if shared.counter_offers.remove(id) => return Ok(()),
        None => return Err(CloseError::UnknownSession),
        Some(Closing::AtShard(shard)) => shard,
    };
    let inbox = shared
        .inboxes
        .get(shard)
        .ok_or(CloseError::UnknownSession)?;
    inbox
        .try_send(Command::Close(*id))
        .map_err(|error| match error {
            TrySendError::Full(_) => CloseError::Busy,
            // The shard has ended with its sessions.
            TrySendError::Closed(_) => CloseError::UnknownSession,
        })
}

/// Ends the sessions whose ids begin with `id`: one, except for a rare coincidence.
pub(super) fn kick(shared: &EngineState, id: ShortId, now: Instant) -> Result<(), CloseError> {
    let named = shared.stats.named(id);
    let results: Vec<_> = named.iter().map(|id| close(shared, id, now)).collect();
    if results.contains(&Err(CloseError::Busy)) {
        Err(CloseError::Busy)
    } else if results.contains(&Ok(())) {
        Ok(())
    } else {
        Err(CloseError::UnknownSession)
    }
}
