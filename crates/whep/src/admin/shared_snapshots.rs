//! One snapshot a second for all who follow the gateway, made only while somebody does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Time between two snapshots.
const INTERVAL: Duration = Duration::from_secs(1);

/// The snapshots that all followers share: each is made and serialized once, whatever their number.
/// A clone is a handle to the same.
///
/// A task makes them. It owns the channel, so that followers see its end, and ends itself when
/// nobody follows any longer.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedSnapshots(Arc<Mutex<Weak<watch::Sender<Bytes>>>>);

impl SharedSnapshots {
    /// Returns a receiver of the newest snapshot, which has one at once. `make` makes them, if it
    /// belongs to the first follower.
    pub(super) fn follow(
        &self,
        make: impl Fn() -> Bytes + Send + 'static,
    ) -> watch::Receiver<Bytes> {
        let mut channel = self.lock();
        let sender = channel.upgrade().unwrap_or_else(|| {
            let sender = Arc::new(watch::Sender::new(make()));
            *channel = Arc::downgrade(&sender);
            tokio::spawn(self.clone().run(Arc::clone(&sender), make));
            sender
        });
        let mut receiver = sender.subscribe();
        receiver.mark_changed();
        receiver
    }

    async fn run(self, sender: Arc<watch::Sender<Bytes>>, make: impl Fn() -> Bytes) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            {
                // Under the lock, so that nobody follows a task that ends.
                let mut channel = self.lock();
                if sender.receiver_count() == 0 {
                    *channel = Weak::new();
                    return;
                }
            }
            sender.send_replace(make());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Weak<watch::Sender<Bytes>>> {
        // A single assignment cannot leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    /// Returns what makes numbered snapshots, and how many were made.
    fn counted() -> (
        impl Fn() -> Bytes + Clone + Send + 'static,
        Arc<AtomicUsize>,
    ) {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let make = move || Bytes::from(counter.fetch_add(1, Ordering::Relaxed).to_string());
        (make, made)
    }

    async fn next(receiver: &mut watch::Receiver<Bytes>) -> Bytes {
        receiver.changed().await.unwrap();
        receiver.borrow_and_update().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn followers_share_each_snapshot() {
        let (make, made) = counted();
        let snapshots = SharedSnapshots::default();
        let mut first = snapshots.follow(make.clone());
        assert_eq!(next(&mut first).await, "0");
        assert_eq!(next(&mut first).await, "1");
        // One who comes later gets the newest at once.
        let mut second = snapshots.follow(make);
        let (a, b) = (next(&mut second).await, first.borrow().clone());
        assert_eq!((&a, a.as_ptr()), (&b, b.as_ptr()), "the same bytes");
        for expected in ["2", "3"] {
            assert_eq!(next(&mut first).await, expected);
            assert_eq!(next(&mut second).await, expected);
        }
        assert_eq!(made.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_made_while_nobody_follows() {
        let (make, made) = counted();
        let snapshots = SharedSnapshots::default();
        drop(snapshots.follow(make.clone()));
        sleep(10 * INTERVAL).await;
        assert_eq!(made.load(Ordering::Relaxed), 1);
        let mut again = snapshots.follow(make);
        assert_eq!(next(&mut again).await, "1");
        // A slow follower skips to the newest.
        sleep(3 * INTERVAL + INTERVAL / 2).await;
        assert_eq!(next(&mut again).await, "4");
    }
}
