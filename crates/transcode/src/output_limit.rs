//! The bound for what an encoder may return. It decodes what strangers publish, so its output is not
//! trusted more than theirs.

use std::time::Duration;

use tokio::time::Instant;

/// Largest access unit in bytes. A keyframe of 4K video has about 1 MB.
pub(crate) const MAX_ACCESS_UNIT: usize = 4 << 20;

/// Bytes that each access unit counts at least: many small ones are work as well.
const MIN_COST: u64 = 256;

/// Bitrate of an output that has no limit, in bit/s.
const DEFAULT_LIMIT: u64 = 100_000_000;

/// Factor on the limit of an output: encoders exceed it for some seconds.
const EXCESS: u64 = 4;

/// Lower bound of the allowed rate in bytes per second, for small outputs with many frames.
const MIN_RATE: u64 = 250_000;

/// Time whose output may come at once: an encoder that has stalled catches up.
const BURST: Duration = Duration::from_secs(8);

/// Bounds the bytes of one output over time, as a token bucket.
#[derive(Debug)]
pub(crate) struct OutputLimit {
    /// Bytes per second.
    rate: u64,
    /// Bytes that may come at once.
    saved: u64,
    updated: Instant,
}

impl OutputLimit {
    /// Returns the bound for an output whose encoder is told to return at most `limit` bit/s.
    pub(crate) fn new(limit: Option<u64>, now: Instant) -> Self {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        let rate = (limit.saturating_mul(EXCESS) / 8).max(MIN_RATE);
        Self {
            rate,
            saved: Self::burst(rate),
            updated: now,
        }
    }

    fn burst(rate: u64) -> u64 {
        // Never less than one access unit.
        (rate * BURST.as_secs()).max(MAX_ACCESS_UNIT as u64)
    }

    /// Counts an access unit of `bytes`. Returns whether it is within the bound.
    pub(crate) fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        let millis = now.saturating_duration_since(self.updated).as_millis() as u64;
        if millis > 0 {
            self.updated = now;
            let grown = self.rate.saturating_mul(millis) / 1000;
            self.saved = self.saved.saturating_add(grown).min(Self::burst(self.rate));
        }
        let left = self.saved.checked_sub(MIN_COST.max(bytes as u64));
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Returns the seconds for which an output of `rate` frames of `bytes` per second is admitted,
    /// up to a minute.
    fn admitted(limit: Option<u64>, rate: u32, bytes: usize) -> u32 {
        let begin = Instant::now();
        let mut output = OutputLimit::new(limit, begin);
        let frames = 60 * rate;
        let time = |frame: u32| f64::from(frame) / f64::from(rate);
        let refused = (0..frames).find(|frame| {
            let now = begin + Duration::from_secs_f64(time(*frame));
            !output.admit(bytes, now)
        });
        time(refused.unwrap_or(frames)) as u32
    }

    #[test]
    fn encoder_that_keeps_to_its_limit_is_admitted_and_one_that_does_not_is_not() {
        // 600 kbit/s at 30 and at 240 fps, and a transcode of 80 Mbit/s.
        assert_eq!(admitted(Some(600_000), 30, 2_500), 60);
        assert_eq!(admitted(Some(600_000), 240, 312), 60);
        assert_eq!(admitted(None, 60, 166_000), 60);
        // Twenty times as much, and floods of the largest and of the least units.
        assert!(admitted(Some(600_000), 30, 50_000) <= 10);
        assert!(admitted(Some(600_000), 30, MAX_ACCESS_UNIT) <= 1);
        assert!(admitted(None, 120, MAX_ACCESS_UNIT) <= 10);
        assert!(admitted(Some(600_000), 20_000, 5) <= 10);
    }

    #[test]
    fn output_of_a_stall_may_come_at_once() {
        let begin = Instant::now();
        let mut output = OutputLimit::new(Some(600_000), begin);
        assert!((0..90).all(|_| output.admit(2_500, begin)));
        assert!(OutputLimit::new(Some(50_000), begin).admit(MAX_ACCESS_UNIT, begin));
    }
}
