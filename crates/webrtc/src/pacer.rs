//! How fast a viewer that is behind is brought to the live edge.

use std::time::{Duration, Instant};

/// What may be sent at once when pacing begins: the first picture should not wait.
const BURST: usize = 64 * 1024;

/// Longest time for which credit accumulates.
const MAX_IDLE: Duration = Duration::from_millis(20);

/// Credit in bytes that grows with time.
///
/// The group of pictures a newcomer gets may be megabytes; sent at once it overflows the receive
/// buffer of a browser and the queues on the way.
#[derive(Debug)]
pub struct Pacer {
    bytes_per_second: u64,
    credit: usize,
    updated: Instant,
}

impl Pacer {
    /// Credit for one burst now, and for `bits_per_second` from now on.
    pub fn new(bits_per_second: u64, now: Instant) -> Self {
        Self {
            bytes_per_second: bits_per_second / 8,
            credit: BURST,
            updated: now,
        }
    }

    /// Bytes that may be sent now.
    pub fn credit(&mut self, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.updated).min(MAX_IDLE);
        self.updated = self.updated.max(now);
        let grown = u128::from(self.bytes_per_second) * elapsed.as_nanos() / 1_000_000_000;
        self.credit = self.credit.saturating_add(grown as usize).min(BURST);
        self.credit
    }

    /// Takes what was sent off the credit.
    pub fn spend(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes);
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    #[test]
    fn after_the_first_burst_the_rate_holds() {
        let start = Instant::now();
        let mut pacer = Pacer::new(40_000_000, start);
        let mut sent = 0;
        for tick in 0..200 {
            let credit = pacer.credit(start + Duration::from_millis(5 * tick));
            pacer.spend(credit);
            sent += credit;
        }
        // 64 KiB and 995 ms at 5 MB/s.
        assert_eq!(sent, BURST + 4_975_000);
    }

    #[test]
    fn idle_time_gives_no_more_than_a_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(40_000_000, start);
        pacer.spend(BURST);
        assert_eq!(
            pacer.credit(start + Duration::from_secs(60)),
            100_000.min(BURST)
        );
    }
}
