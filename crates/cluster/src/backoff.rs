//! Delays between attempts that grow with each one that fails.

use std::time::Duration;

/// Delays between attempts that grow with each one that fails.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Returns delays from `first`, each twice the one before, up to `longest`.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// Returns the shortest delay.
    pub(crate) fn first(&self) -> Duration {
        self.first
    }

    /// Returns the number of attempts that have failed since the last success.
    #[cfg(test)]
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes an attempt that failed. Returns the delay before the next one.
    pub(crate) fn fail(&mut self) -> Duration {
        let delay = self.first.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        delay.min(self.longest)
    }

    /// Notes an attempt that succeeded: the next delay is the first one again.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_longest_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut delays: Vec<_> = (0..100).map(|_| backoff.fail().as_millis()).collect();
        assert_eq!(delays.split_off(4)[0], 1000);
        assert_eq!(delays, [100, 200, 400, 800]);
        backoff.succeed();
        assert_eq!(backoff.fail().as_millis(), 100);
    }
}
