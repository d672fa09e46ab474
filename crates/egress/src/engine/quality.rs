//! Preferences of viewers: a rendition, or a size.

use distributary_names::RenditionId;
use distributary_webrtc::quality::Preference;

use crate::command::Command;
use crate::inbox::InboxError;
use crate::session::{Location, SessionId};
use crate::state::EngineState;

/// The reason why a viewer does not get what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QualityError {
    /// There is no such session.
    #[error("there is no such session")]
    UnknownSession,
    /// The inbox of the session's shard is full.
    #[error("the gateway is too busy to change the quality")]
    Busy,
}

impl From<InboxError> for QualityError {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::Full => Self::Busy,
            InboxError::Ended => Self::UnknownSession,
        }
    }
}

/// Sets what the viewer of a session asks for.
pub(crate) fn set_quality(
    shared: &EngineState,
    id: &SessionId,
    preference: Preference<RenditionId>,
) -> Result<(), QualityError> {
    let owner = shared.registry.set_quality(id, preference);
    let Location::Shard(shard) = owner.ok_or(QualityError::UnknownSession)? else {
        return Ok(());
    };
    let inbox = shared
        .inboxes
        .get(shard)
        .ok_or(QualityError::UnknownSession)?;
    let command = Command::Quality {
        id: *id,
        preference,
    };
    Ok(inbox.try_send(command)?)
}
