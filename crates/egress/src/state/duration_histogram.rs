//! Durations, counted since the start for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A histogram that shards update without waiting for each other, by two atomic additions.
#[derive(Debug)]
pub(crate) struct DurationHistogram {
    /// Upper bounds of the buckets, in microseconds.
    bounds: &'static [u64],
    /// One more than there are bounds.
    buckets: Box<[AtomicU64]>,
    /// Sum of the durations, in microseconds.
    sum: AtomicU64,
}

/// The durations in a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationCounts {
    /// Number of durations.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
    /// Upper bounds in seconds and the durations between one and the next; the last bound is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
}

impl DurationHistogram {
    /// Creates a histogram with these upper bounds, in microseconds.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::default()).collect(),
            sum: AtomicU64::default(),
        }
    }

    /// Counts a duration. A bound is within its bucket.
    pub(crate) fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = self.bounds.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns the durations so far.
    pub(crate) fn counts(&self) -> DurationCounts {
        let seconds = |bound: &u64| *bound as f64 / 1e6;
        let bounds = self.bounds.iter().map(seconds).chain([f64::MAX]);
        let counts = self.buckets.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        DurationCounts {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: Duration::from_micros(self.sum.load(Ordering::Relaxed)),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bound_and_beyond_the_last() {
        let histogram = DurationHistogram::new(&[1000, 2000]);
        for micros in [0, 1000, 1001, 2001, 60_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!(counts.buckets, [(0.001, 2), (0.002, 1), (f64::MAX, 2)]);
        assert_eq!(counts.count, 5);
        assert_eq!(counts.sum, Duration::from_micros(60_004_002));
    }
}
