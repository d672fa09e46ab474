//! The pace at which an attack sends.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A bound of bytes per second, for all connections of an attack together.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: f64,
    /// When the next bytes may be sent.
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bits_per_second: u64) -> Self {
        Self {
            bytes_per_second: bits_per_second.max(1) as f64 / 8.0,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` may be sent. Time in which nothing was sent is not made up for.
    pub(super) async fn spend(&self, bytes: usize) {
        let due = self.reserve(Instant::now(), bytes);
        sleep_until(due).await;
    }

    /// Returns when `bytes` may be sent that are asked for now.
    fn reserve(&self, now: Instant, bytes: usize) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now.max(*next);
        *next = due + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_wait_for_those_before_them() {
        let pace = Pace::new(8_000);
        let now = Instant::now();
        assert_eq!(pace.reserve(now, 500), now);
        let later = now + Duration::from_millis(500);
        assert_eq!(pace.reserve(now, 1000), later);
        let idle = now + Duration::from_secs(60);
        assert_eq!(pace.reserve(idle, 1), idle, "idle time is not made up for");
    }
}
