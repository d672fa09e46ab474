//! New ICE credentials for a session that there is.

use super::local;
use crate::command::Command;
use crate::session::{RestartError, SessionId};
use crate::shared::Shared;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::IceFragment;

/// A session with new credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartedIce {
    /// The fragment for the player, with our credentials and candidates.
    pub fragment: String,
    /// Tag of the session's new ICE state, without the quotes.
    pub etag: String,
}

/// What an ICE fragment of a player has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IcePatch {
    /// The credentials are those that are known: it brought candidates, which are not needed.
    Noted,
    /// It was an ICE restart.
    Restarted(RestartedIce),
}

/// Why an ICE fragment has led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// There is no such session.
    #[error("there is no such session")]
    UnknownSession,
    /// The threads of the engine are behind with their work.
    #[error("the gateway is too busy to restart ICE")]
    Busy,
    /// The system's random generator failed, or gave credentials that another session has.
    #[error("no credentials could be made")]
    Internal,
}

pub(super) fn patch(
    shared: &Shared,
    id: &SessionId,
    fragment: &IceFragment,
) -> Result<IcePatch, PatchError> {
    let (_, known) = shared
        .registry
        .fragments(id)
        .ok_or(PatchError::UnknownSession)?;
    let Some(theirs) = fragment.ice.as_ref().filter(|_| fragment.restarts(&known)) else {
        return Ok(IcePatch::Noted);
    };
    let ours = Credentials::generate().map_err(|_| PatchError::Internal)?;
    let reserve = |shard: usize| {
        let permit = shared.inboxes.get(shard)?.try_reserve().ok()?;
        let command = Command::Restart {
            id: *id,
            local: ours.clone(),
            remote: theirs.clone(),
        };
        Some(move || permit.send(command))
    };
    shared
        .registry
        .restart(id, &ours, theirs, reserve)
        .map_err(|error| match error {
            RestartError::Unknown => PatchError::UnknownSession,
            RestartError::Taken => PatchError::Internal,
            RestartError::Busy => PatchError::Busy,
        })?;
    Ok(IcePatch::Restarted(RestartedIce {
        fragment: fragment.answer(&ours, &local::candidates(shared)),
        etag: ours.ufrag().to_owned(),
    }))
}
