//! Latency of frames from their arrival to their sending to the last viewer of a shard.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::duration_histogram::{DurationCounts, DurationHistogram};

/// Upper bounds of the buckets since the start, in microseconds.
const BOUNDS: [u64; 12] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
];

/// Steps per power of two: the resolution is an eighth.
const STEPS: usize = 8;

/// Number of powers of two, in microseconds: up to 2^24, 16 s.
const POWERS: usize = 24;

const BUCKETS: usize = STEPS * POWERS;

/// A histogram of durations that shards update without waiting for each other, by one atomic
/// addition each.
#[derive(Debug)]
pub(crate) struct Latency {
    /// The current window.
    current: Window,
    /// The last complete window.
    last: Window,
    /// All durations since the start.
    total: DurationHistogram,
    /// When the current window ends.
    ends: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Window([AtomicU64; BUCKETS]);

/// Percentiles of durations over the last complete window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyStats {
    /// Number of measurements.
    pub count: u64,
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// Maximum.
    pub max: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            current: Window::new(),
            last: Window::new(),
            total: DurationHistogram::new(&BOUNDS),
            ends: Mutex::default(),
        }
    }
}

impl Latency {
    /// Length of a window.
    const WINDOW: Duration = Duration::from_secs(10);

    pub(crate) fn record(&self, duration: Duration) {
        self.total.record(duration);
        if let Some(bucket) = self.current.0.get(bucket(duration)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Starts a new window if the current one has ended.
    pub(crate) fn rotate_when_due(&self, now: Instant) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let end = *ends.get_or_insert(now + Self::WINDOW);
        if now >= end {
            *ends = Some(now + Self::WINDOW);
            self.rotate();
        }
    }

    /// Starts a new window. A duration that is recorded meanwhile counts in either.
    fn rotate(&self) {
        for (current, last) in self.current.0.iter().zip(&self.last.0) {
            last.store(current.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Returns all durations since the start.
    pub(crate) fn total(&self) -> DurationCounts {
        self.total.counts()
    }

    pub(crate) fn stats(&self) -> LatencyStats {
        let counts: Vec<u64> = self
            .last
            .0
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        let count = counts.iter().sum::<u64>();
        let percentile = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            bucket.map_or(Duration::ZERO, upper_bound)
        };
        LatencyStats {
            count,
            p50: percentile(50),
            p99: percentile(99),
            max: percentile(100),
        }
    }
}

impl Window {
    fn new() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

/// Returns the bucket of a duration: its power of two, and the step within that.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let power = micros.max(1).ilog2();
    let above = micros.max(1) - (1 << power);
    let step = (above as u128 * STEPS as u128) >> power;
    (power as usize * STEPS + step as usize).min(BUCKETS - 1)
}

/// Returns the upper bound of a bucket.
fn upper_bound(bucket: usize) -> Duration {
    let (power, step) = (bucket / STEPS, bucket % STEPS);
    let micros = (1u64 << power) + (((step as u64 + 1) << power) / STEPS as u64);
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolution_is_an_eighth() {
        for micros in [1, 7, 8, 100, 999, 1000, 1001, 12_345, 1_000_000] {
            let duration = Duration::from_micros(micros);
            let shown = upper_bound(bucket(duration));
            assert!(shown >= duration, "{shown:?} for {duration:?}");
            assert!(
                shown <= duration * 9 / 8 + Duration::from_micros(1),
                "{shown:?} for {duration:?}"
            );
        }
        assert_eq!(bucket(Duration::ZERO), bucket(Duration::from_micros(1)));
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn stats_cover_the_last_complete_window() {
        let latency = Latency::default();
        for micros in 1..=1000 {
            latency.record(Duration::from_micros(micros));
        }
        assert_eq!(latency.stats(), LatencyStats::default());
        latency.rotate();
        latency.record(Duration::from_secs(1));
        let stats = latency.stats();
        assert_eq!(stats.count, 1000);
        let near = |shown: Duration, micros: u64| {
            let exact = Duration::from_micros(micros);
            (exact..=exact * 9 / 8).contains(&shown)
        };
        assert!(near(stats.p50, 500), "{stats:?}");
        assert!(near(stats.p99, 990), "{stats:?}");
        assert!(near(stats.max, 1000), "{stats:?}");
    }
}
