//! Viewers that leave while others come.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::percentile::Percentiles;
use crate::report::{ChurnReport, ViewerOutcome};

/// The way in which a viewer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It ends its session by `DELETE`.
    Proper,
    /// It is gone without a word, as one whose machine was switched off.
    Silent,
}

/// Says when the next viewer leaves, and counts those that have left. They leave by turns properly
/// and without a word.
pub(super) struct Churn {
    interval: Duration,
    next: Instant,
    left: usize,
    first_packets: Vec<Duration>,
    failures: BTreeMap<String, usize>,
}

impl Churn {
    /// Lets `per_second` viewers leave each second, from `now` on.
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        let interval = Duration::from_secs_f64(1.0 / per_second);
        Self {
            interval,
            next: now + interval,
            left: 0,
            first_packets: Vec::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Returns the way in which a viewer has to leave now; `None` until it is time.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Departure> {
        if now < self.next {
            return None;
        }
        // A swarm that was held up goes on at its rate, and makes up for nothing.
        self.next = (self.next + self.interval).max(now);
        self.left += 1;
        Some(if self.left % 2 == 1 {
            Departure::Proper
        } else {
            Departure::Silent
        })
    }

    /// Records the results of a viewer that has left.
    pub(super) fn record(&mut self, outcome: ViewerOutcome) {
        self.first_packets.extend(outcome.first_packet);
        if let Some(failure) = outcome.failure {
            self.record_failure(failure);
        }
    }

    /// Records the failure of a viewer to leave.
    pub(super) fn record_failure(&mut self, failure: String) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(super) fn report(self) -> ChurnReport {
        ChurnReport {
            left: self.left,
            first_packet: Percentiles::of(self.first_packets),
            failures: self.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "an origin for the simulated clock"
    )]
    fn viewers_leave_at_the_rate_and_by_turns_properly() {
        let start = Instant::now();
        let mut churn = Churn::new(4.0, start);
        let at = |millis| start + Duration::from_millis(millis);
        let departures: Vec<_> = [0, 249, 250, 499, 500, 750]
            .into_iter()
            .filter_map(|millis| Some((millis, churn.poll(at(millis))?)))
            .collect();
        let (proper, silent) = (Departure::Proper, Departure::Silent);
        assert_eq!(departures, [(250, proper), (500, silent), (750, proper)]);
        // After ten seconds without a turn, two leave: the one that was due, and the next one.
        assert!(churn.poll(at(10_750)).is_some());
        assert!(churn.poll(at(10_750)).is_some());
        assert_eq!(churn.poll(at(10_751)), None);
    }

    #[test]
    fn those_that_have_left_are_reported() {
        #[allow(
            clippy::disallowed_methods,
            reason = "an origin for the simulated clock"
        )]
        let mut churn = Churn::new(1.0, Instant::now());
        churn.record(ViewerOutcome {
            first_packet: Some(Duration::from_millis(20)),
            ..ViewerOutcome::default()
        });
        churn.record(ViewerOutcome {
            failure: Some("no media".to_owned()),
            ..ViewerOutcome::default()
        });
        churn.record_failure("no media".to_owned());
        let report = churn.report();
        assert_eq!(report.first_packet.unwrap().count, 1);
        assert_eq!(report.failures, [("no media".to_owned(), 2)].into());
    }
}
