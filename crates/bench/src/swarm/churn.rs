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

/// The ways in which the viewers leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Departures {
    /// By turns with a DELETE and without a word.
    #[default]
    Mixed,
    /// With a DELETE.
    Delete,
    /// Without a word: the server goes on sending until it finds out.
    Silent,
}

impl Departures {
    /// Returns the way in which the viewer leaves before which `left` have left.
    fn of(self, left: usize) -> Departure {
        match self {
            Self::Mixed if left.is_multiple_of(2) => Departure::Proper,
            Self::Delete => Departure::Proper,
            Self::Mixed | Self::Silent => Departure::Silent,
        }
    }
}

/// Says when the next viewer leaves and how, and counts those that have left.
pub(super) struct Churn {
    interval: Duration,
    departures: Departures,
    next: Instant,
    left: usize,
    first_packets: Vec<Duration>,
    failures: BTreeMap<String, usize>,
}

impl Churn {
    /// Lets `per_second` viewers leave each second, from `now` on.
    pub(super) fn new(per_second: f64, departures: Departures, now: Instant) -> Self {
        let interval = Duration::from_secs_f64(1.0 / per_second);
        Self {
            interval,
            departures,
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
        Some(self.departures.of(self.left - 1))
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
        let mut churn = Churn::new(4.0, Departures::Mixed, start);
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
    fn viewers_leave_in_the_way_that_is_asked_for() {
        for (departures, expected) in [
            (Departures::Delete, Departure::Proper),
            (Departures::Silent, Departure::Silent),
        ] {
            assert_eq!([0, 1].map(|left| departures.of(left)), [expected; 2]);
        }
    }

    #[test]
    fn those_that_have_left_are_reported() {
        #[allow(
            clippy::disallowed_methods,
            reason = "an origin for the simulated clock"
        )]
        let mut churn = Churn::new(1.0, Departures::Mixed, Instant::now());
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
