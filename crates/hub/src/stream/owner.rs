//! The registry that a stream belongs to, as the handles of the stream see it.

use std::fmt::Debug;
use std::time::Duration;

use distributary_names::StreamName;

use crate::journal::Journal;
use crate::takeovers::Takeovers;

/// The registry that a stream belongs to.
pub(crate) trait StreamOwner: Debug + Send + Sync {
    /// Removes the stream of this name if it has no publisher, no subscriber and no reservation.
    fn remove_if_idle(&self, name: &StreamName);

    /// Returns the journal of the last events.
    fn journal(&self) -> &Journal;

    /// Returns the count of takeovers.
    fn takeovers(&self) -> &Takeovers;

    /// Returns the time by which a frame of an active publisher may be late before a standby takes
    /// over.
    fn standby_after(&self) -> Duration;

    /// Notes that a stream is published or has ended.
    fn note_change(&self);
}
