//! Waiting for something that another program does.

use std::time::{Duration, Instant};

/// How long a test waits for an event before it fails. Far above what any of them needs: it bounds
/// a test that fails, and says nothing about speed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// More than a program needs to end that promises to do so within two seconds, on a machine that has
/// other things to do.
pub const LEISURE: Duration = Duration::from_secs(5);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A moment after which a test gives up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `patience` from now.
    #[must_use]
    pub fn after(patience: Duration) -> Self {
        Self(now() + patience)
    }

    /// The time that is left, `None` when it is over.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0
            .checked_duration_since(now())
            .filter(|left| !left.is_zero())
    }
}

/// Calls `look` until it gives something.
///
/// # Panics
/// When it has given nothing within [`PATIENCE`]; `what` is in the message.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(PATIENCE);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            deadline.left().is_some(),
            "waited {PATIENCE:?} in vain: {what}"
        );
        pause().await;
    }
}

/// The pause between two looks at something that cannot be waited for.
pub async fn pause() {
    tokio::time::sleep(POLL_INTERVAL).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "these tests watch real programs in real time"
)]
fn now() -> Instant {
    Instant::now()
}
