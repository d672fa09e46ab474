//! ICE restarts: new credentials for a session.

use super::local;
use crate::command::Command;
use crate::session::{RestartError, SessionId};
use crate::state::EngineState;
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

/// The effect of a player's ICE fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IcePatch {
    /// None: it has the current credentials and candidates, which are not needed.
    Noted,
    /// An ICE restart.
    Restarted(RestartedIce),
}

/// The reason why an ICE fragment has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// There is no such session.
    #[error("there is no such session")]
    UnknownSession,
    /// The inbox of the session's shard is full.
    #[error("the gateway is too busy to restart ICE")]
    Busy,
    /// The system's random generator failed, or gave credentials that another session has.
    #[error("could not generate credentials")]
    Internal,
}

pub(crate) fn patch(
    shared: &EngineState,
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
        let send = shared.inboxes.get(shard)?.reserve()?;
        let command = Command::Restart {
            id: *id,
            local: ours.clone(),
            remote: theirs.clone(),
        };
        Some(move || send(command))
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
