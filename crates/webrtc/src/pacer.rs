//! Paces the packets of a viewer that is behind the live edge.

use std::time::{Duration, Instant};

/// Bytes that may be sent at once when pacing starts: the first frame should not wait.
const BURST: usize = 64 * 1024;

/// Bytes that may be sent at once on a path that is slower than the stream: a few packets, so that
/// its queue stays short.
const SMOOTH_BURST: usize = 5 * 1200;

/// Longest time for which credit accumulates.
const MAX_IDLE: Duration = Duration::from_millis(20);

/// Credit in bytes that grows with time.
///
/// The GOP for a newcomer may be megabytes; sent at once it overflows the receive buffer of a
/// browser and the queues on the path.
#[derive(Debug)]
pub struct Pacer {
    bytes_per_second: u64,
    is_smooth: bool,
    /// Negative when more was sent than there was credit for.
    credit: i64,
    updated: Instant,
}

impl Pacer {
    /// Creates a pacer with credit for one burst now, and for `bits_per_second` from now on.
    pub fn new(bits_per_second: u64, now: Instant) -> Self {
        Self {
            bytes_per_second: bits_per_second / 8,
            is_smooth: false,
            credit: BURST as i64,
            updated: now,
        }
    }

    /// Creates a pacer with a burst of a few packets only.
    pub fn smooth(bits_per_second: u64, now: Instant) -> Self {
        Self {
            is_smooth: true,
            credit: SMOOTH_BURST as i64,
            ..Self::new(bits_per_second, now)
        }
    }

    /// Changes the rate from now on.
    pub fn set_rate(&mut self, bits_per_second: u64, now: Instant) {
        if bits_per_second / 8 != self.bytes_per_second {
            self.credit(now);
            self.bytes_per_second = bits_per_second / 8;
        }
    }

    /// Returns the bytes that may be sent now.
    pub fn credit(&mut self, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.updated).min(MAX_IDLE);
        self.updated = self.updated.max(now);
        let grown = u128::from(self.bytes_per_second) * elapsed.as_nanos() / 1_000_000_000;
        self.credit = self
            .credit
            .saturating_add(i64::try_from(grown).unwrap_or(i64::MAX))
            .min(self.burst());
        usize::try_from(self.credit).unwrap_or(0)
    }

    /// Subtracts the bytes sent from the credit. Bytes sent without credit delay later ones.
    pub fn spend(&mut self, bytes: usize) {
        self.credit = (self.credit - bytes as i64).max(-self.burst());
    }

    /// Returns the most credit that accumulates.
    fn burst(&self) -> i64 {
        if !self.is_smooth {
            return BURST as i64;
        }
        let of_idle_time = u128::from(self.bytes_per_second) * MAX_IDLE.as_millis() / 1000;
        (SMOOTH_BURST as i64).max(i64::try_from(of_idle_time).unwrap_or(i64::MAX))
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
    fn rate_holds_after_the_first_burst() {
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
    fn idle_time_gives_credit_for_one_burst_at_most() {
        let start = Instant::now();
        let mut pacer = Pacer::new(40_000_000, start);
        pacer.spend(BURST);
        assert_eq!(
            pacer.credit(start + Duration::from_secs(60)),
            100_000.min(BURST)
        );
    }
}
