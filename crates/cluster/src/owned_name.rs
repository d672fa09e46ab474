//! The state that the owner of one name shares with the list of names.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// The state that the owner of one name shares with the list of names.
///
/// Nothing that is noted here gets lost while the owner is busy: there is one value of each kind,
/// whatever the number of messages, and it stays until the owner looks.
#[derive(Debug, Default)]
pub(crate) struct OwnedName {
    /// The latest revision of the arbiter's entry of which news has arrived.
    revision: AtomicU64,
    must_compare: AtomicBool,
    is_released: AtomicBool,
    news: Notify,
    is_granted: AtomicBool,
    is_unconfirmed: AtomicBool,
}

impl OwnedName {
    /// Notes that the arbiter's entry has this revision.
    pub(crate) fn note_revision(&self, revision: u64) {
        self.revision.fetch_max(revision, Ordering::AcqRel);
        self.news.notify_one();
    }

    /// Requests that the owner compares the arbiter's entry: another node may own the name.
    pub(crate) fn request_comparison(&self) {
        self.must_compare.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Requests that the owner gives the name back: the node ends.
    pub(crate) fn release(&self) {
        self.is_released.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Completes when something was noted since the last call.
    pub(crate) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Returns whether the name has to be given back.
    pub(crate) fn is_released(&self) -> bool {
        self.is_released.load(Ordering::Acquire)
    }

    /// Returns whether an owner in the epoch `epoch` has to compare the arbiter's entry. A request
    /// counts once.
    pub(crate) fn takes_comparison(&self, epoch: u64) -> bool {
        let is_requested = self.must_compare.swap(false, Ordering::AcqRel);
        is_requested || self.revision.load(Ordering::Acquire) > epoch
    }

    /// Notes that the claim has been granted, and whether the arbiter has not confirmed it.
    pub(crate) fn grant(&self, is_unconfirmed: bool) {
        self.is_unconfirmed.store(is_unconfirmed, Ordering::Relaxed);
        self.is_granted.store(true, Ordering::Release);
    }

    /// Notes that another node has the name, and publishers of this one stand by.
    pub(crate) fn withdraw(&self) {
        self.is_unconfirmed.store(false, Ordering::Relaxed);
        self.is_granted.store(false, Ordering::Release);
    }

    /// Returns whether the claim has been granted.
    pub(crate) fn is_granted(&self) -> bool {
        self.is_granted.load(Ordering::Acquire)
    }

    /// Returns whether the arbiter has not confirmed the name.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.is_unconfirmed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn revision_that_arrives_during_a_claim_is_compared_afterwards() {
        let name = OwnedName::default();
        // Another node writes while the answer to this one's write is on its way.
        name.note_revision(6);
        name.note_revision(5);
        name.grant(false);
        assert!(name.changed().now_or_never().is_some(), "it looks at once");
        assert!(name.takes_comparison(5));
        assert!(name.changed().now_or_never().is_none(), "and once");
        assert!(!name.takes_comparison(6), "its own entry is no reason");
    }

    #[test]
    fn requests_do_not_get_lost_and_count_once() {
        let name = OwnedName::default();
        for _ in 0..10_000 {
            name.request_comparison();
        }
        assert!(name.changed().now_or_never().is_some());
        assert!(name.takes_comparison(9));
        assert!(!name.takes_comparison(9));
        name.release();
        assert!(name.changed().now_or_never().is_some());
        assert!(name.is_released());
    }
}
