//! The standing of a publisher among those of its name, as the publisher follows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::claims::Claim;
use super::{Stream, StreamOwner};
use crate::journal::JournalKind;

/// Maximum time for which a stream without an active publisher waits for a keyframe of a standby
/// before it is offline: longer than the GOP of ordinary encoders.
pub(super) const MAX_VACANCY: Duration = Duration::from_secs(10);

/// The reason why a publisher is dismissed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// Another publisher has taken the stream over.
    Replaced,
    /// It was removed through the API.
    Removed,
    /// It stood by without sending frames, and another publisher has its place.
    Evicted,
}

/// The standing of a publisher among those of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Viewers get its frames.
    Active,
    /// It stands by, and viewers get the frames of another publisher.
    Standby,
    /// It stands by, and there is no active publisher: its next keyframe takes over.
    Next,
    /// It is dismissed: nothing that it pushes is accepted.
    Dismissed(Dismissal),
}

/// The standing of a publisher, and its role, which a dismissal does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) standing: Standing,
    /// True if it stands by, or did when it was dismissed.
    pub(super) stands_by: bool,
}

impl Position {
    pub(super) fn new(standing: Standing) -> Self {
        Self {
            standing,
            stands_by: matches!(standing, Standing::Standby | Standing::Next),
        }
    }

    /// Changes the standing. Returns whether it is another one; a dismissal is final.
    pub(super) fn change(&mut self, standing: Standing) -> bool {
        let is_news = self.standing != standing && !self.is_dismissed();
        if is_news {
            let before = self.stands_by;
            *self = Self::new(standing);
            self.stands_by |= before && self.is_dismissed();
        }
        is_news
    }

    pub(super) fn is_dismissed(self) -> bool {
        matches!(self.standing, Standing::Dismissed(_))
    }
}

/// Follows the standing of one publisher. Somebody has to wait for [`next`](Self::next) as long as
/// the publisher is there: it also ends the time for which the stream waits for a standby.
#[derive(Debug)]
pub struct Standings {
    stream: Arc<Stream>,
    owner: Arc<dyn StreamOwner>,
    position: watch::Receiver<Position>,
    /// The standing that was returned last.
    told: Standing,
}

impl Standings {
    pub(super) fn new(stream: Arc<Stream>, owner: Arc<dyn StreamOwner>, claim: &Claim) -> Self {
        Self {
            stream,
            owner,
            position: claim.position.clone(),
            told: claim.position().standing,
        }
    }

    /// Returns the standing at first, and then the one that [`next`](Self::next) returned last.
    pub fn current(&self) -> Standing {
        self.told
    }

    /// Waits for a change of the standing, and returns the new one; that of a dismissed publisher
    /// at once. The future may be dropped and the function called again.
    pub async fn next(&mut self) -> Standing {
        let told = self.told;
        let is_news = |now: &Position| now.standing != told || now.is_dismissed();
        if told == Standing::Next {
            let changed = timeout(MAX_VACANCY, self.position.wait_for(is_news));
            let is_over = changed.await.is_err();
            if is_over && self.stream.end_vacancy() {
                self.note_end_of_vacancy();
            }
        }
        self.told = match self.position.wait_for(is_news).await {
            Ok(position) => position.standing,
            // The sender is dropped only after the publisher was replaced.
            Err(_) => Standing::Dismissed(Dismissal::Replaced),
        };
        self.told
    }

    /// Logs that no standby has taken over in time, and records it as the end of the stream.
    fn note_end_of_vacancy(&self) {
        let name = self.stream.name();
        let seconds = MAX_VACANCY.as_secs();
        let reason = format_args!(
            "no standby sent a keyframe within {seconds} s after the active publisher had left"
        );
        warn!(stream = %name, %reason, "the stream is offline");
        let now = Instant::now().into_std();
        let journal = self.owner.journal();
        journal.record(JournalKind::Ended, Some(name), None, &reason, now);
    }
}
