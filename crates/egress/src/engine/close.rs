//! Ends sessions on request.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Instant;

use crate::command::Command;
use crate::inbox::InboxError;
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

impl From<InboxError> for CloseError {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::Full => Self::Busy,
            InboxError::Ended => Self::UnknownSession,
        }
    }
}

/// Ends a session or a counter-offer.
pub(crate) fn close(shared: &EngineState, id: &SessionId, now: Instant) -> Result<(), CloseError> {
    // An offer that is answered becomes a session: it is found as one of them.
    if shared.counter_offers.remove(id) {
        return Ok(());
    }
    let shard = match shared.registry.close(id, now) {
        Some(Closing::Done(given_up)) => {
            if let Some(session) = given_up {
                shared.note_failed(session, JoinFailure::Unreachable, &UNREACHED, now);
            }
            return Ok(());
        }
        None => return Err(CloseError::UnknownSession),
        Some(Closing::AtShard(shard)) => shard,
    };
    let inbox = shared
        .inboxes
        .get(shard)
        .ok_or(CloseError::UnknownSession)?;
    Ok(inbox.try_send(Command::Close(*id))?)
}

/// Returns the sessions and counter-offers of viewers at such an address: the one that asked, or
/// the one that media goes to.
pub(super) fn of_viewers(
    shared: &EngineState,
    is_wanted: &dyn Fn(IpAddr) -> bool,
) -> HashSet<SessionId> {
    // A session moves in this order: one that moves meanwhile is found.
    let offered = shared.counter_offers.asked_from(is_wanted);
    let mut ids = shared.registry.asked_from(is_wanted);
    ids.extend(offered);
    ids.extend(shared.stats.sent_to(is_wanted));
    ids
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
