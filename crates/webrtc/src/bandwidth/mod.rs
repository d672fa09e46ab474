//! How much the path to a viewer carries.
//!
//! * [`PathEstimator`]: all of it together.
//! * [`sent`]: what was sent, so that feedback can be understood.
//! * `trend`: whether delays grow; `queue`: how long packets wait.
//! * `arrivals`: transport-wide feedback as these need it.
//! * `reports`: what receiver reports and REMB tell, where there is no such feedback.
//! * `rate`: the estimate, and whether what is sent is held to it.

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

/// Taken for the round-trip time before it is known.
pub const DEFAULT_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Estimates the bandwidth of the path to one viewer, in the manner of draft-ietf-rmcat-gcc-02.
///
/// Transport-wide feedback says most: when each packet arrived. Without it, receiver reports tell loss
/// and round-trip time, and REMB the receiver's own estimate.
#[derive(Debug)]
pub struct PathEstimator {
    sent: SentPackets,
    /// There from the first feedback on; then reports are not asked any more.
    arrivals: Option<Box<Arrivals>>,
    reports: Reports,
    rate: RateController,
    round_trip: Option<Duration>,
}

impl PathEstimator {
    /// Nothing is known of the path.
    pub fn new(now: Instant) -> Self {
        Self {
            sent: SentPackets::default(),
            arrivals: None,
            reports: Reports::new(),
            rate: RateController::new(now),
            round_trip: None,
        }
    }

    /// Returns where packets with a sequence number of the transport are noted.
    pub fn sent_mut(&mut self) -> &mut SentPackets {
        &mut self.sent
    }

    /// Returns bits per second that the path is estimated to carry; `None` before the first
    /// feedback. A path that carries the stream with ease has not shown how much more it would
    /// take.
    pub fn estimate(&self) -> Option<u64> {
        let own = self.reports.remb().filter(|_| self.arrivals.is_none());
        // While less is sent because of it, our own is the newer one.
        own.filter(|_| self.limit().is_none()).or(self.rate.rate())
    }

    /// Returns bits per second that must not be exceeded; `None` unless the path has shown to be
    /// slower than the stream.
    pub fn limit(&self) -> Option<u64> {
        self.rate.limit()
    }

    /// Returns the round-trip time by the newest report that allows to tell it.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Records that the stream is behind while it is limited.
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

    /// Handles a report block on the main stream, with the round-trip time that it tells. `sent` is
    /// how many bytes were sent so far.
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
