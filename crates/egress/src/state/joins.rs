//! Durations of the steps of joins, counted since the start for the metrics.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets, in milliseconds. Durations above the last are counted beyond it.
const BOUNDS: [u64; 11] = [5, 10, 25, 50, 100, 200, 400, 800, 1500, 3000, 10_000];

/// A step of a join. Each starts when the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinStep {
    /// From the answer to the first valid ICE check of the viewer.
    Check,
    /// The DTLS handshake, until media can be sent.
    Handshake,
    /// Until the first packet of media is sent; while nobody publishes, until somebody does.
    Media,
}

impl JoinStep {
    /// All steps, in order.
    pub const ALL: [Self; 3] = [Self::Check, Self::Handshake, Self::Media];

    /// Returns the name of the step in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Handshake => "handshake",
            Self::Media => "media",
        }
    }
}

/// The durations of one step, of all joins since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinHistogram {
    /// The step.
    pub step: JoinStep,
    /// Number of joins.
    pub count: u64,
    /// Sum of their durations.
    pub sum: Duration,
    /// Upper bounds in seconds and the joins between one and the next; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// Counts the durations. Shards update it by atomic additions.
#[derive(Debug, Default)]
pub(crate) struct JoinTimes([StepTimes; JoinStep::ALL.len()]);

#[derive(Debug, Default)]
struct StepTimes {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// Sum of the durations in microseconds.
    sum: AtomicU64,
}

impl JoinTimes {
    /// Records that `step` took this long in one join.
    pub(crate) fn record(&self, step: JoinStep, duration: Duration) {
        let millis = duration.as_millis();
        let above = |bound: &u64| millis > u128::from(*bound);
        let index = BOUNDS.iter().take_while(|bound| above(bound)).count();
        let times = &self.0[step as usize];
        times.buckets[index].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        times.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns the durations so far, by step.
    pub(crate) fn histograms(&self) -> [JoinHistogram; JoinStep::ALL.len()] {
        array::from_fn(|n| {
            let times = &self.0[n];
            let seconds = |bound: &u64| *bound as f64 / 1000.0;
            let bounds = BOUNDS.iter().map(seconds).chain([f64::MAX]);
            let counts = times
                .buckets
                .iter()
                .map(|count| count.load(Ordering::Relaxed));
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            JoinHistogram {
                step: JoinStep::ALL[n],
                count: buckets.iter().map(|(_, count)| count).sum(),
                sum: Duration::from_micros(times.sum.load(Ordering::Relaxed)),
                buckets,
            }
        })
    }
}

/// The progress of a viewer's join from its first valid check to its first packet of media.
#[derive(Debug)]
pub(crate) struct JoinProgress {
    step: JoinStep,
    since: Instant,
}

impl JoinProgress {
    /// Begins with the first valid check, which comes at `now`; the answer was given at `answered`.
    pub(crate) fn begin(times: &JoinTimes, answered: Instant, now: Instant) -> Self {
        times.record(JoinStep::Check, now.saturating_duration_since(answered));
        Self {
            step: JoinStep::Handshake,
            since: now,
        }
    }

    /// Records that media can be sent.
    pub(crate) fn note_connected(&mut self, times: &JoinTimes, now: Instant) {
        if self.step == JoinStep::Handshake {
            times.record(self.step, now.saturating_duration_since(self.since));
            self.step = JoinStep::Media;
            self.since = now;
        }
    }

    /// Records that the first packet of media is sent, which ends the join.
    pub(crate) fn end(self, times: &JoinTimes, now: Instant) {
        times.record(self.step, now.saturating_duration_since(self.since));
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
    fn steps_of_a_join_are_counted_one_after_the_other() {
        let answered = Instant::now();
        let after = |millis| answered + Duration::from_millis(millis);
        let times = JoinTimes::default();
        let mut join = JoinProgress::begin(&times, answered, after(100));
        join.note_connected(&times, after(301));
        // A later event of the kind changes nothing.
        join.note_connected(&times, after(9000));
        join.end(&times, after(303));
        let [check, handshake, media] = times.histograms();
        assert_eq!((check.step, check.count), (JoinStep::Check, 1));
        assert_eq!(check.sum, Duration::from_millis(100));
        assert_eq!(check.buckets[4], (0.1, 1), "a bound is within its bucket");
        assert_eq!(handshake.buckets[6], (0.4, 1));
        assert_eq!(media.buckets[0], (0.005, 1));
    }

    #[test]
    fn durations_above_all_bounds_are_counted() {
        let times = JoinTimes::default();
        times.record(JoinStep::Media, Duration::from_secs(60));
        let [_, _, media] = times.histograms();
        assert_eq!((media.count, media.buckets[BOUNDS.len()].1), (1, 1));
    }
}
