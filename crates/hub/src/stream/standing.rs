//! The standing of a publisher among those of its name, as the publisher follows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Stream;
use super::claims::Claim;

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

/// Follows the standing of one publisher. Somebody has to wait for [`next`](Self::next) as long as
/// the publisher is there: it also ends the time for which the stream waits for a standby.
#[derive(Debug)]
pub struct Standings {
    stream: Arc<Stream>,
    standing: watch::Receiver<Standing>,
    /// The standing that was returned last.
    told: Standing,
}

impl Standings {
    pub(super) fn new(stream: Arc<Stream>, claim: &Claim) -> Self {
        let standing = claim.standing.clone();
        let told = *standing.borrow();
        Self {
            stream,
            standing,
            told,
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
        let is_news = |now: &Standing| *now != told || matches!(now, Standing::Dismissed(_));
        if told == Standing::Next {
            let changed = timeout(MAX_VACANCY, self.standing.wait_for(is_news)).await;
            if changed.is_err() {
                self.stream.end_vacancy();
            }
        }
        self.told = match self.standing.wait_for(is_news).await {
            Ok(standing) => *standing,
            // The sender is dropped only after the publisher was replaced.
            Err(_) => Standing::Dismissed(Dismissal::Replaced),
        };
        self.told
    }
}
