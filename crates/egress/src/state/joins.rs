//! Durations of the steps of joins, counted since the start for the metrics.

use std::time::{Duration, Instant};

use super::duration_histogram::{DurationCounts, DurationHistogram};

/// Upper bounds of the buckets, in microseconds. Durations above the last are counted beyond it.
const BOUNDS: [u64; 11] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 200_000, 400_000, 800_000, 1_500_000, 3_000_000,
    10_000_000,
];

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
    /// The durations.
    pub durations: DurationCounts,
}

/// Counts the durations. Shards update it by atomic additions.
#[derive(Debug)]
pub(crate) struct JoinTimes([DurationHistogram; JoinStep::ALL.len()]);

impl Default for JoinTimes {
    fn default() -> Self {
        Self(JoinStep::ALL.map(|_| DurationHistogram::new(&BOUNDS)))
    }
}

impl JoinTimes {
    /// Records that `step` took this long in one join.
    pub(crate) fn record(&self, step: JoinStep, duration: Duration) {
        self.0[step as usize].record(duration);
    }

    /// Returns the durations so far, by step.
    pub(crate) fn histograms(&self) -> [JoinHistogram; JoinStep::ALL.len()] {
        JoinStep::ALL.map(|step| JoinHistogram {
            step,
            durations: self.0[step as usize].counts(),
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
        assert_eq!((check.step, check.durations.count), (JoinStep::Check, 1));
        assert_eq!(check.durations.sum, Duration::from_millis(100));
        assert_eq!(
            check.durations.buckets[4],
            (0.1, 1),
            "a bound is within its bucket"
        );
        assert_eq!(handshake.durations.buckets[6], (0.4, 1));
        assert_eq!(media.durations.buckets[0], (0.005, 1));
    }

    #[test]
    fn durations_above_all_bounds_are_counted() {
        let times = JoinTimes::default();
        times.record(JoinStep::Media, Duration::from_secs(60));
        let [_, _, media] = times.histograms();
        assert_eq!(
            (
                media.durations.count,
                media.durations.buckets[BOUNDS.len()].1
            ),
            (1, 1)
        );
    }
}
