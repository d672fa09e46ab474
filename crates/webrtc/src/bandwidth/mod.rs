//! Bandwidth estimation of the path to a viewer.
//!
//! * [`PathEstimator`]: the whole estimator.
//! * [`sent`]: the packets sent, to interpret feedback.
//! * `trend`: growth of the delay; `queue`: the standing queue; `busy`: the bandwidth of a path for
//!   which all packets wait; `loss`: the part of the packets that are lost.
//! * `arrivals`: transport-wide feedback as input of these.
//! * `reports`: receiver reports and REMB, for viewers without transport-wide feedback.
//! * `rate`: the estimate, and the limit on the send rate.
//! * `catch_up`: the rate for viewers behind the live edge; `train`: what feedback on packets sent
//!   together shows.
//! * `probe`: clusters of packets that probe for more bandwidth than is used; `witness`: what viewers
//!   tell of them.

mod arrivals;
mod busy;
mod catch_up;
mod loss;
mod probe;
mod queue;
mod rate;
mod reports;
pub mod sent;
#[cfg(test)]
pub(crate) mod test_path;
#[cfg(test)]
mod tests;
mod train;
mod trend;
mod witness;

use std::time::{Duration, Instant};

use crate::rtcp::{ReportBlock, TransportFeedback};
use arrivals::Arrivals;
use catch_up::CatchUpRate;
use probe::Prober;
use rate::{Outcome, RateController, Verdict};
use reports::{Reports, SentUntil};
use witness::Witness;

pub use catch_up::StreamPart;
pub use probe::{ProbeOutcome, ProbeResult};
pub use sent::{SendClock, SentPackets};

/// The assumed round-trip time before it is known.
pub const DEFAULT_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Packets that overtake each other by less than this do not matter; more than this is something
/// else.
const LEAST_REORDERING: Duration = Duration::from_millis(10);
const MOST_REORDERING: Duration = Duration::from_millis(200);

/// Standing queue in milliseconds from which on losses are taken for those of the queue.
const SOME_QUEUE: f64 = 40.0;

/// The state of a path by its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCondition {
    /// Bits per second that it carries, while it is known to be slower than the stream.
    pub carried: Option<u64>,
    /// Time that packets wait in standing queues.
    pub queue: Duration,
    /// Bits per second that arrived before the last report, over a short time.
    pub arriving: Option<u64>,
    /// Part of the packets that are lost beside a burst, 0 to 255 in 256ths.
    pub loss: u8,
    /// Bits per second that arrive, if the path seems to have become much slower than the stream.
    /// It may be chance.
    pub slowing: Option<u64>,
    /// True if the last report shows neither a queue nor loss.
    pub is_clear: bool,
    /// The receiver's own estimate, in bits per second, if that is all that is known.
    pub remb: Option<u64>,
    /// True if the viewer does not report the arrival of each packet, so that what is known of the
    /// path is a second old.
    pub is_blind: bool,
    /// True if clusters show the path bandwidth.
    pub can_probe: bool,
}

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
    catch_up: CatchUpRate,
    prober: Prober,
    /// True if the last report shows neither a queue nor loss.
    is_clear: bool,
    /// Part of the packets that were lost before the last report, 0 to 1, and the bits per second
    /// that arrived.
    loss: f64,
    arriving: Option<f64>,
    slowing: Option<f64>,
    /// Time that packets wait in standing queues by the last report, in milliseconds.
    queue: f64,
    /// Rate of the stream in bits per second, as the sender told it last.
    stream_rate: u64,
    /// True if transport-wide feedback was negotiated.
    expects_feedback: bool,
    /// True if clusters can be sent.
    can_repeat: bool,
    round_trip: Option<Duration>,
}

impl PathEstimator {
    /// Creates an estimator without any knowledge of the path. `most` is the highest rate for a
    /// viewer behind the live edge, in bits per second. `expects_feedback`: transport-wide feedback
    /// was negotiated.
    pub fn new(now: Instant, most: u64, expects_feedback: bool) -> Self {
        Self {
            sent: SentPackets::default(),
            arrivals: None,
            reports: Reports::default(),
            rate: RateController::new(now),
            catch_up: CatchUpRate::new(most, expects_feedback),
            prober: Prober::default(),
            is_clear: false,
            loss: 0.0,
            arriving: None,
            slowing: None,
            queue: 0.0,
            stream_rate: 0,
            expects_feedback,
            can_repeat: true,
            round_trip: None,
        }
    }

    /// Tells that clusters cannot be sent: their packets are retransmissions, and the viewer has not
    /// negotiated RTX (RFC 4588), which keeps those apart from the stream.
    pub fn forbid_probes(&mut self) {
        self.can_repeat = false;
    }

    /// Returns whether the viewer does not report the arrival of each packet, or has not yet.
    pub fn is_blind(&self) -> bool {
        self.arrivals.is_none()
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

    /// Returns the state of the path by its last report.
    pub fn state(&self) -> PathCondition {
        PathCondition {
            carried: self.rate.carried(),
            queue: Duration::from_secs_f64((self.queue / 1000.0).max(0.0)),
            arriving: self.arriving.map(|rate| rate as u64),
            slowing: self.slowing.map(|rate| rate as u64),
            loss: (256.0 * self.loss) as u8,
            is_clear: self.is_clear,
            remb: self.reports.remb().filter(|_| self.arrivals.is_none()),
            is_blind: self.is_blind(),
            can_probe: self.can_repeat && (self.arrivals.is_some() || self.reports.has_ordinary()),
        }
    }

    /// Begins a cluster at `rate` bits per second, to find out whether the path carries it. Returns
    /// `false` if one is on its way.
    pub fn begin_probe(&mut self, now: Instant, rate: u64) -> bool {
        let state = self.state();
        let witness = Witness::of(state.is_blind);
        let stream_rate = self.stream_rate;
        state.can_probe
            && self
                .prober
                .begin(now, rate, witness, stream_rate, &self.sent)
    }

    /// Returns whether a sender report is to be sent at once: its round trip is all that is seen of
    /// the cluster before it, or shows whether a queue is still there.
    pub fn wants_report(&self) -> bool {
        let wants_round_trip = self.arrivals.is_none() && self.reports.wants_round_trip();
        self.prober.wants_report() || wants_round_trip
    }

    /// Records that a sender report was sent, by the middle of its time.
    pub fn note_sender_report(&mut self, now: Instant, time: u32) {
        self.prober.note_sender_report(now, time);
        self.reports.note_sender_report();
    }

    /// Returns whether a cluster is being sent.
    pub fn is_probing(&self) -> bool {
        self.prober.is_sending()
    }

    /// Returns the bytes of the cluster that are to be sent now, if one is being sent.
    pub fn probe_due(&self, now: Instant) -> Option<usize> {
        self.prober.due(now)
    }

    /// Records that `bytes` of a cluster were sent.
    pub fn note_probe(&mut self, now: Instant, bytes: usize) {
        self.prober.note_sent(now, bytes, &self.sent);
    }

    /// Returns the bytes of a cluster at `rate` bits per second beside a stream of `stream_rate`.
    /// `is_blind`: see [`PathCondition::is_blind`].
    pub fn probe_bytes(rate: u64, stream_rate: u64, is_blind: bool) -> u64 {
        Witness::of(is_blind).bytes_at(rate, stream_rate)
    }

    /// Takes the result of the last cluster, once there is one.
    pub fn take_probe(&mut self, now: Instant) -> Option<ProbeResult> {
        let round_trip = self.round_trip.unwrap_or(DEFAULT_ROUND_TRIP);
        self.prober.handle_timeout(now, round_trip);
        self.prober.take_result()
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

    /// Returns the rate in bits per second at which a viewer is sent what it lacks of a stream of
    /// `stream_rate`.
    pub fn catch_up_rate(&mut self, stream_rate: u64, part: StreamPart) -> u64 {
        self.stream_rate = stream_rate;
        self.catch_up.rate(part, stream_rate)
    }

    /// Returns whether the path is known to carry no more than [`Self::catch_up_rate`].
    pub fn is_explored(&self) -> bool {
        self.catch_up.is_found()
    }

    /// Records that `bytes` are sent to a viewer that is behind the live edge.
    pub fn note_catch_up(&mut self, now: Instant, bytes: usize) {
        self.catch_up.note_sent(now, bytes);
    }

    /// Handles a NACK.
    pub fn handle_nack(&mut self, now: Instant) {
        if !self.expects_feedback && self.catch_up.is_used() {
            self.catch_up.handle_loss(now, self.stream_rate);
        }
    }

    /// Returns the time by which packets overtake each other; zero if it is short or unknown.
    pub fn reordering(&self) -> Duration {
        let micros = self
            .arrivals
            .as_ref()
            .map_or(0, |arrivals| arrivals.reordering());
        let time = Duration::from_micros(micros.max(0).unsigned_abs());
        if time < LEAST_REORDERING {
            return Duration::ZERO;
        }
        time.min(MOST_REORDERING)
    }

    /// Returns whether packets wait in a queue of the path, so that losses are no chance.
    pub fn is_queueing(&self) -> bool {
        self.limit().is_some() || self.queue > SOME_QUEUE
    }

    /// Records a round trip that was measured otherwise. Those of reports take its place.
    pub fn note_round_trip(&mut self, round_trip: Duration) {
        self.round_trip.get_or_insert(round_trip);
        self.reports.note_empty_path(round_trip);
    }

    /// Records that the viewer was moved to another rendition, for which the path is fast enough as
    /// far as it is known.
    pub fn note_moved(&mut self, now: Instant) {
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.forget_loss();
        }
        self.reports.forget();
        self.rate.restore(now);
    }

    /// Records that the limit delays the stream.
    pub fn note_held(&mut self, now: Instant) {
        self.rate.note_held(now);
    }

    /// Handles transport-wide feedback.
    pub fn handle_feedback(&mut self, now: Instant, feedback: &TransportFeedback<'_>) {
        let arrivals = self.arrivals.get_or_insert_default();
        let is_probing = self.catch_up.is_used();
        let (sent, prober) = (&mut self.sent, &mut self.prober);
        let rate = self.stream_rate;
        let (verdict, last) = arrivals.handle_feedback(sent, prober, feedback, rate, is_probing);
        let round_trip = self.round_trip.unwrap_or(DEFAULT_ROUND_TRIP);
        if let Some(last) = last
            && let Some(result) = prober.handle_feedback(now, last, round_trip)
            && let ProbeOutcome::Carried(_) = result.outcome
        {
            self.rate.note_proven(result.rate);
        }
        if let Some(probe) = verdict.probe {
            self.catch_up.handle_probe(now, probe, self.stream_rate);
            let rate = self.catch_up.rate(StreamPart::Backlog, self.stream_rate);
            if self.catch_up.is_found() && rate < self.stream_rate {
                self.rate.begin_limit(now, rate, verdict);
            }
        }
        if self.rate.update(now, verdict, round_trip) == Outcome::QueueIsNotOurs {
            arrivals.rebase();
        }
        self.note_verdict(&verdict);
    }

    fn note_verdict(&mut self, verdict: &Verdict) {
        self.queue = verdict.queue;
        self.is_clear = verdict.clear;
        self.loss = verdict.loss;
        self.arriving = verdict.newest.or(verdict.delivered);
        self.slowing = verdict.slowing;
    }

    /// Handles a report block on the main stream with its round-trip time. `bytes` is the number of
    /// bytes sent so far, and `packets` that of packets of the main stream.
    pub fn handle_report(
        &mut self,
        now: Instant,
        block: &ReportBlock,
        round_trip: Option<Duration>,
        (bytes, packets): (u64, u64),
    ) {
        self.round_trip = round_trip.or(self.round_trip);
        let of_cluster =
            self.arrivals.is_none() && self.prober.is_awaited(block.last_sender_report);
        if of_cluster {
            // The queue is that of the cluster, and not one that stands.
            let beyond = round_trip.and_then(|time| self.reports.beyond_ordinary(time));
            if let Some((queue, chance)) = beyond {
                self.reports.note_cluster();
                self.handle_round_trip_of_probe(queue, chance);
            }
        }
        let round_trip = round_trip.filter(|_| !of_cluster);
        let sent = SentUntil { bytes, packets };
        let verdict = self.reports.handle_report(now, block, round_trip, sent);
        if self.arrivals.is_some() {
            return;
        }
        if round_trip.is_some() || verdict.is_some() {
            let queue = self.reports.queue();
            self.catch_up.handle_queue(now, queue, self.stream_rate);
        }
        if let Some(verdict) = verdict {
            self.note_verdict(&verdict);
            let round_trip = self.round_trip.unwrap_or(DEFAULT_ROUND_TRIP);
            if self.rate.update(now, verdict, round_trip) == Outcome::QueueIsNotOurs {
                self.reports.rebase();
            }
        }
    }

    /// Handles the round trip of the sender report behind a cluster, by its time beyond that of the
    /// empty path, and the part of that which may be chance.
    fn handle_round_trip_of_probe(&mut self, queue: Duration, chance: Duration) {
        let result = self.prober.handle_queue(queue, chance);
        if let Some(result) = result
            && let ProbeOutcome::Carried(_) = result.outcome
        {
            self.rate.note_proven(result.rate);
        }
    }

    /// Handles a receiver's own estimate, in bits per second.
    pub fn handle_remb(&mut self, bitrate: u64) {
        self.reports.handle_remb(bitrate);
    }
}
