//! Follows the entries of the arbiter's bucket, so that an owner learns at once when another node has
//! written its entry. The cost does not depend on the number of names.

use std::time::Duration;

use async_nats::jetstream::kv;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use crate::bucket::{TIMEOUT, is_missing};
use crate::config::Label;
use crate::control::{Control, Entry};

/// Interval at which the watch is compared with the bucket, since a watch can be lost unnoticed.
const PULSE: Duration = Duration::from_millis(500);

/// Something that has changed in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// An entry has this revision.
    Entry {
        /// The name of the stream, as a token.
        key: String,
        revision: u64,
        /// A former process with the name of this node has written it.
        is_former: bool,
    },
    /// Something may be missing: every owner has to compare its entry.
    Anew,
}

/// The process whose former entries are told apart.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) node: Label,
    pub(crate) instance: u64,
}

/// The reason why the entries are not followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfollowed {
    /// The watch is lost.
    Watch,
    /// The bucket is missing.
    Bucket,
}

/// The progress of a watch, compared with that of the bucket.
#[derive(Debug, Default)]
struct Progress {
    /// The highest revision that has arrived.
    seen: u64,
    /// The last revision of the bucket at the comparison before.
    expected: u64,
}

impl Progress {
    fn new(last: u64) -> Self {
        Self {
            seen: last,
            expected: last,
        }
    }

    fn note(&mut self, revision: u64) {
        self.seen = self.seen.max(revision);
    }

    /// Compares with the last revision of the bucket. Returns whether something that was there at
    /// the comparison before has not arrived, or the bucket is another one.
    fn is_behind(&mut self, last: u64) -> bool {
        let is_behind = self.seen < self.expected || last < self.seen;
        self.expected = last;
        is_behind
    }
}

/// Passes on what changes in the bucket, until the watch is lost. Calls `note` with whether the
/// arbiter answers.
pub(crate) async fn follow(
    store: &kv::Store,
    process: &Process,
    news: &mpsc::Sender<News>,
    mut note: impl FnMut(bool),
) -> Unfollowed {
    let Ok(Ok(mut entries)) = timeout(TIMEOUT, store.watch_with_history(">")).await else {
        note(false);
        return Unfollowed::Watch;
    };
    let mut progress = match last_revision(store).await {
        Ok(last) => Progress::new(last),
        Err(unfollowed) => {
            note(false);
            return unfollowed;
        }
    };
    note(true);
    // What has changed before the watch began.
    let _ = news.send(News::Anew).await;
    let mut is_away = false;
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            entry = entries.next() => {
                let Some(Ok(entry)) = entry else {
                    return Unfollowed::Watch;
                };
                progress.note(entry.revision);
                let _ = news.send(news_of(entry, process)).await;
            }
            _ = pulse.tick() => match last_revision(store).await {
                Ok(last) => {
                    note(true);
                    if std::mem::take(&mut is_away) {
                        let _ = news.send(News::Anew).await;
                    }
                    if progress.is_behind(last) {
                        debug!("the watch of the arbiter's entries is lost");
                        return Unfollowed::Watch;
                    }
                }
                Err(Unfollowed::Bucket) => return Unfollowed::Bucket,
                Err(Unfollowed::Watch) => {
                    is_away = true;
                    note(false);
                }
            }
        }
    }
}

fn news_of(entry: kv::Entry, process: &Process) -> News {
    let kv::Entry {
        key,
        revision,
        value,
        operation,
        ..
    } = entry;
    let is_former = operation == kv::Operation::Put
        && Entry::from_json(&value)
            .is_some_and(|owner| owner.node == process.node && owner.instance != process.instance);
    News::Entry {
        key,
        revision,
        is_former,
    }
}

/// Returns the last revision of the bucket, from its leader.
async fn last_revision(store: &kv::Store) -> Result<u64, Unfollowed> {
    match timeout(TIMEOUT, store.stream.get_info()).await {
        Ok(Ok(info)) => Ok(info.state.last_sequence),
        Ok(Err(error)) if is_missing(&error) => Err(Unfollowed::Bucket),
        Ok(Err(_)) | Err(_) => Err(Unfollowed::Watch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_that_misses_a_revision_until_the_next_comparison_is_lost() {
        let mut progress = Progress::new(7);
        assert!(!progress.is_behind(7));
        assert!(!progress.is_behind(9), "it may be on its way");
        progress.note(8);
        progress.note(9);
        assert!(!progress.is_behind(10));
        assert!(progress.is_behind(10));
    }

    #[test]
    fn bucket_that_begins_anew_is_noticed() {
        assert!(Progress::new(7).is_behind(2));
    }
}
