//! Bandwidth estimation of the path to a viewer.
//!
//! * [`PathEstimator`]: the whole estimator.
//! * [`sent`]: the packets sent, to interpret feedback.
//! * `trend`: growth of the delay; `queue`: the standing queue.
//! * `arrivals`: transport-wide feedback as input of these.
//! * `reports`: receiver reports and REMB, for viewers without transport-wide feedback.
//! * `rate`: the estimate, and the limit on the send rate.

mod arrivals;
mod queue;
mod rate;
mod reports;
pub mod sent;
#[cfg(test)]
mod tests;
mod trend;

use std::time::{Duration, Instant};

use crate::rtcp::{ReportBlock, TransportFeedback};
use arrivals::Arrivals;
use rate::{Outcome, RateController};
use reports::Reports;

pub use sent::{SendClock, SentPackets};

/// The assumed round-trip time before it is known.
pub const DEFAULT_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Estimates the bandwidth of the path to one viewer, in the manner of draft-ietf-rmcat-gcc-02.
///
/// Transport-wide feedback is the best input: the arrival of each packet. Without it, receiver
/// reports give loss and round-trip time, and REMB the receiver's own estimate.
#[derive(Debug)]
pub struct PathEstimator {
    sent: SentPackets,
    /// Created at the first feedback; from then on receiver reports are ignored.
    arrivals: Option<Box<Arrivals>>,
    reports: Reports,
    rate: RateController,
    round_trip: Option<Duration>,
}

impl PathEstimator {
    /// Creates an estimator without any knowledge of the path.
    pub fn new(now: Instant) -> Self {
        Self {
            sent: SentPackets::default(),
            arrivals: None,
            reports: Reports::new(),
            rate: RateController::new(now),
            round_trip: None,
        }
    }

    /// Returns the record of packets with a transport-wide sequence number.
    pub fn sent_mut(&mut self) -> &mut SentPackets {
        &mut self.sent
    }

    /// Returns the estimated path bandwidth in bits per second; `None` before the first feedback. A
    /// path that carries the stream easily has not shown how much more it could carry.
    pub fn estimate(&self) -> Option<u64> {
        let own = self.reports.remb().filter(|_| self.arrivals.is_none());
        // While our estimate limits the send rate, it is the newer one.
        own.filter(|_| self.limit().is_none()).or(self.rate.rate())
    }

    /// Returns the limit of the send rate in bits per second; `None` unless the path has proved
    /// slower than the stream.
    pub fn limit(&self) -> Option<u64> {
        self.rate.limit()
    }

    /// Returns the round-trip time by the newest report that has one.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Records that the limit delays the stream.
    pub fn note_held(&mut self, now: Instant) {
        self.rate.note_held(now);
    }

    /// Handles transport-wide feedback.
    pub fn handle_feedback(&mut self, now: Instant, feedback: &TransportFeedback<'_>) {
        let arrivals = self.arrivals.get_or_insert_default();
        let verdict = arrivals.handle_feedback(&mut self.sent, feedback);
        let round_trip = self.round_trip.unwrap_or(DEFAULT_ROUND_TRIP);
        if self.rate.update(now, verdict, round_trip) == Outcome::QueueIsNotOurs {
            arrivals.rebase();
        }
    }

    /// Handles a report block on the main stream with its round-trip time. `sent` is the number of
    /// bytes sent so far.
    pub fn handle_report(
        &mut self,
        now: Instant,
        block: &ReportBlock,
        round_trip: Option<Duration>,
        sent: u64,
    ) {
        self.round_trip = round_trip.or(self.round_trip);
        let verdict = self.reports.handle_report(now, block, round_trip, sent);
        if self.arrivals.is_none()
            && let Some(verdict) = verdict
        {
            let round_trip = self.round_trip.unwrap_or(DEFAULT_ROUND_TRIP);
            if self.rate.update(now, verdict, round_trip) == Outcome::QueueIsNotOurs {
                self.reports.rebase();
            }
        }
    }

    /// Handles a receiver's own estimate, in bits per second.
    pub fn handle_remb(&mut self, bitrate: u64) {
        self.reports.handle_remb(bitrate);
    }
}
