//! Waiting for something that another program does.

use std::time::{Duration, Instant};

/// Time after which a test that waits for an event fails. It is far above what any test needs: it
/// bounds a test that fails, and says nothing about speed.
pub const TIMEOUT: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A moment after which a test gives up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the moment `timeout` from now.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self(now() + timeout)
    }

    /// Returns the remaining time, `None` when it is over.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0
            .checked_duration_since(now())
            .filter(|left| !left.is_zero())
    }
}

/// Calls `look` until it returns a value.
///
/// # Panics
/// When it has returned nothing after [`TIMEOUT`]; `what` is in the message.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(TIMEOUT);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            deadline.left().is_some(),
            "waited {TIMEOUT:?} in vain: {what}"
        );
        pause().await;
    }
}

/// Pauses between two checks of something that cannot be awaited.
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
