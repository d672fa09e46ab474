//! The bandwidth estimate, and the limit on the send rate.

use std::time::{Duration, Instant};

use super::train::Probe;

/// Factor of a decrease, on the delivered rate (draft-ietf-rmcat-gcc-02 section 5.5).
const DECREASE: f64 = 0.85;

/// Factor of a decrease for a path with a long queue, which should drain in about a second.
const DEEP_DECREASE: f64 = 0.5;

/// Factor on the rate delivered during a queue, for the rate after it has drained.
const RESTORED: f64 = 0.9;

/// Most that the estimate may be above the delivered rate, as a factor: more has not been tried
/// (draft-ietf-rmcat-gcc-02 section 5.5).
const HEADROOM: f64 = 1.5;

/// The lowest estimate, in bits per second: audio and a few video frames.
const MIN_RATE: f64 = 150_000.0;

/// The highest estimate, in bits per second.
const MAX_RATE: f64 = 1e9;

/// Least time between two decreases, besides the round trip: packets sent before must have drained.
const DECREASE_INTERVAL: Duration = Duration::from_millis(300);

/// Longest round trip and longest queueing delay (in seconds) that delay the next decrease: the
/// round trip may have been measured with the queue in it.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(500);
const MAX_WAIT: f64 = 3.0;

/// Number of decreases without effect after which the delay or the loss counts as not caused by us.
const MAX_VAIN_DECREASES: u32 = 3;

/// Time for which loss that did not decrease with the send rate is ignored.
const LOSS_IGNORED: Duration = Duration::from_secs(30);

/// Part to which loss shrinks at least when less is sent over a path that drops what exceeds a rate, the
/// time for which it is taken for one, and the loss from which on it is slower than the send rate. With
/// the loss that counts on other paths, the rate would grow until that is reached again.
const SHRUNK: f64 = 0.6;
const POLICED: Duration = Duration::from_secs(30);
const POLICED_LOSS: f64 = 0.08;

/// Time after a move to another rendition in which loss is that of the one before.
const OLD_LOSS: Duration = Duration::from_millis(1500);

/// The limit ends when it has not delayed the stream for this long.
const RELEASE: Duration = Duration::from_secs(2);

/// The evaluation of one report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Time that packets wait in standing queues, in milliseconds.
    pub(super) queue: f64,
    /// Fraction of the packets that were lost, 0 to 1.
    pub(super) loss: f64,
    /// The reason to count the path as slower than the send rate, if there is one.
    pub(super) congested: Option<Congestion>,
    /// True if the path has spare bandwidth.
    pub(super) clear: bool,
    /// Delivered rate in bits per second.
    pub(super) delivered: Option<f64>,
    /// The same over a shorter time.
    pub(super) newest: Option<f64>,
    /// Rate at which the newest packets arrive, if the path seems to have become much slower than
    /// the stream.
    pub(super) slowing: Option<f64>,
    /// Queue and bandwidth of the path by this feedback, if the viewer is catching up.
    pub(super) probe: Option<Probe>,
}

/// The symptom of a slow path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Congestion {
    /// Delays grow. This lowers the estimate only.
    Delay,
    /// Every packet waits.
    Queue,
    /// Packets are dropped.
    Loss,
}

/// The outcome of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing to be done.
    None,
    /// Sending less did not shorten the queue, so our packets do not cause it.
    QueueIsNotOurs,
}

/// Estimates the path bandwidth by additive increase and multiplicative decrease
/// (draft-ietf-rmcat-gcc-02 section 5.5).
///
/// The estimate limits the send rate only while the path has proved slower than the stream: a
/// stream of constant rate never fills a good path, so the estimate alone says little.
#[derive(Debug)]
pub(super) struct RateController {
    rate: Option<f64>,
    updated: Instant,
    decreased: Option<Instant>,
    /// Rate delivered while there is a queue: the path bandwidth.
    carried: Option<f64>,
    /// Rate delivered by the newest report that showed a queue or loss.
    newest: Option<f64>,
    /// Queue in milliseconds by that report.
    last_queue: f64,
    limit: Option<Limit>,
    ignores_loss_until: Option<Instant>,
    /// The end of the time in which loss is that of a path that drops what exceeds a rate.
    policed_until: Option<Instant>,
}

/// The state while the estimate limits the send rate.
#[derive(Debug)]
struct Limit {
    /// When the limit last delayed the stream.
    held: Instant,
    /// Decreases since the queue or the loss last shrank, and its value then.
    vain: u32,
    before: Verdict,
}

impl RateController {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rate: None,
            updated: now,
            decreased: None,
            carried: None,
            newest: None,
            last_queue: 0.0,
            limit: None,
            ignores_loss_until: None,
            policed_until: None,
        }
    }

    /// Returns the estimate in bits per second, once there is one.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rate.map(|rate| rate as u64)
    }

    /// Returns the limit in bits per second; `None` while the path is not known to be slower than
    /// the stream.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit.as_ref().and(self.rate())
    }

    /// Returns the bits per second that the path carries, while it is known to be slower than the
    /// stream. The limit is less than this while a queue drains, and more while it grows.
    pub(super) fn carried(&self) -> Option<u64> {
        let limit = self.limit()?;
        let newest = self.newest.map(|newest| (RESTORED * newest) as u64);
        Some(newest.unwrap_or(limit))
    }

    /// Takes in what a cluster has shown: the path carries `rate` bits per second or more.
    pub(super) fn note_proven(&mut self, rate: u64) {
        let proven = (rate as f64).clamp(MIN_RATE, MAX_RATE);
        self.rate = self.rate.map(|rate| rate.max(proven));
    }

    /// Limits the send rate to `rate` bits per second at once: packets that were sent together have
    /// shown that the path is slower than the stream.
    pub(super) fn begin_limit(&mut self, now: Instant, rate: u64, verdict: Verdict) {
        if self.limit.is_some() {
            return;
        }
        self.limit = Some(Limit {
            held: now,
            vain: 1,
            before: verdict,
        });
        self.newest = None;
        self.decreased = Some(now);
        self.rate = Some((rate as f64).clamp(MIN_RATE, MAX_RATE));
    }

    /// Raises the limit to what the path carries, because the viewer was moved to a rendition with a
    /// lower rate. The rest of the one before is dropped, so its queue drains although the limit is
    /// higher. Its losses are still reported for some time, and are ignored.
    pub(super) fn restore(&mut self, now: Instant) {
        let until = now + OLD_LOSS;
        self.ignores_loss_until = Some(self.ignores_loss_until.map_or(until, |at| at.max(until)));
        if let Some(carried) = self.carried() {
            self.rate = self.rate.map(|rate| rate.max(carried as f64));
        }
    }

    /// Records that the stream is behind while it is limited.
    pub(super) fn note_held(&mut self, now: Instant) {
        if let Some(limit) = &mut self.limit {
            limit.held = now;
        }
    }

    /// Updates the estimate with the evaluation of a report.
    pub(super) fn update(
        &mut self,
        now: Instant,
        verdict: Verdict,
        round_trip: Duration,
    ) -> Outcome {
        let elapsed = now.saturating_duration_since(self.updated).as_secs_f64();
        self.updated = now;
        if let Some(delivered) = verdict.delivered {
            self.rate.get_or_insert(delivered.clamp(MIN_RATE, MAX_RATE));
        }
        let is_policed = self.is_policed(now, &verdict, round_trip);
        let policed = (is_policed && verdict.loss > POLICED_LOSS).then_some(Congestion::Loss);
        let congested = verdict.congested.or(policed).filter(|reason| {
            *reason != Congestion::Loss || self.ignores_loss_until.is_none_or(|until| now >= until)
        });
        // Packets that arrive now were sent before they waited in the queue.
        let waited = Duration::from_secs_f64((verdict.queue / 1000.0).clamp(0.0, MAX_WAIT));
        let settles = DECREASE_INTERVAL + round_trip.min(MAX_ROUND_TRIP) + waited;
        let may_decrease = self
            .decreased
            .is_none_or(|at| now.saturating_duration_since(at) > settles);
        if congested.is_some_and(|reason| reason != Congestion::Delay) {
            self.note_newest(verdict);
        } else if verdict.clear {
            // The next queue is another one.
            self.last_queue = 0.0;
        }
        match congested {
            // A decrease for growing delays was no limit.
            Some(reason) if may_decrease || reason != Congestion::Delay && self.limit.is_none() => {
                return self.decrease(now, reason, verdict);
            }
            Some(_) => {}
            None if verdict.clear => self.increase(now, elapsed, verdict.delivered),
            None => {}
        }
        if let Some(limit) = &self.limit
            && congested.is_none()
            && now.saturating_duration_since(limit.held) > RELEASE
        {
            self.end_limit();
        }
        Outcome::None
    }

    /// Returns whether the path drops what exceeds a rate: its loss has shrunk when less was sent. Loss
    /// that counts for this reason alone does not prove it anew, since it may be chance.
    fn is_policed(&mut self, now: Instant, verdict: &Verdict, round_trip: Duration) -> bool {
        let ignores_loss = self.ignores_loss_until.is_some_and(|until| now < until);
        if let (Some(limit), Some(decreased)) = (&self.limit, self.decreased)
            && !ignores_loss
            && limit.before.congested == Some(Congestion::Loss)
            && now.saturating_duration_since(decreased) > DECREASE_INTERVAL + round_trip
            && verdict.loss < SHRUNK * limit.before.loss
        {
            self.policed_until = Some(now + POLICED);
        }
        self.policed_until.is_some_and(|until| now < until)
    }

    /// Ends the limit. What the path carried says nothing about the next time that it is slow.
    fn end_limit(&mut self) {
        self.limit = None;
        self.newest = None;
        self.last_queue = 0.0;
    }

    /// Notes the rate at which packets arrive from a queue. Once that drains, some of the time it
    /// may be empty.
    fn note_newest(&mut self, verdict: Verdict) {
        let queue = std::mem::replace(&mut self.last_queue, verdict.queue);
        let rate = verdict.newest.or(verdict.delivered);
        self.newest = if verdict.queue < queue {
            self.newest.into_iter().chain(rate).reduce(f64::max)
        } else {
            rate.or(self.newest)
        };
    }

    fn decrease(&mut self, now: Instant, reason: Congestion, verdict: Verdict) -> Outcome {
        let (Some(rate), Some(delivered)) = (self.rate, verdict.delivered) else {
            return Outcome::None;
        };
        match (&mut self.limit, reason) {
            (_, Congestion::Delay) => {}
            (None, _) => {
                self.limit = Some(Limit {
                    held: now,
                    vain: 1,
                    before: verdict,
                });
            }
            (Some(limit), _) => {
                let before = limit.before;
                let helped = match reason {
                    Congestion::Loss => verdict.loss < 0.8 * before.loss,
                    _ => verdict.queue < before.queue - 10.0,
                };
                limit.before = verdict;
                limit.vain = if helped { 1 } else { limit.vain + 1 };
                if limit.vain > MAX_VAIN_DECREASES {
                    return self.give_in(now, reason);
                }
            }
        }
        self.decreased = Some(now);
        let decreased = match reason {
            Congestion::Queue => {
                self.carried = Some(self.carried.map_or(delivered, |most| most.max(delivered)));
                delivered * (1.0 - verdict.queue / 1000.0).clamp(DEEP_DECREASE, DECREASE)
            }
            Congestion::Loss => DECREASE * delivered,
            // The delivered rate may be low because little was sent.
            Congestion::Delay => DECREASE * delivered.max(rate),
        };
        self.rate = Some(decreased.min(rate).clamp(MIN_RATE, MAX_RATE));
        Outcome::None
    }

    /// Removes the limit: sending less had no effect.
    fn give_in(&mut self, now: Instant, reason: Congestion) -> Outcome {
        self.end_limit();
        if reason == Congestion::Loss {
            self.policed_until = None;
            self.ignores_loss_until = Some(now + LOSS_IGNORED);
            return Outcome::None;
        }
        // It may also be full all the time, and then drops what exceeds its rate.
        self.policed_until = Some(now + POLICED);
        Outcome::QueueIsNotOurs
    }

    /// Increases the estimate, the faster the longer there was no queue.
    fn increase(&mut self, now: Instant, elapsed: f64, delivered: Option<f64>) {
        let Some(rate) = self.rate else { return };
        if let Some(limit) = &mut self.limit {
            limit.vain = 0;
        }
        if let Some(carried) = self.carried.take() {
            self.rate = Some(rate.max(RESTORED * carried).min(MAX_RATE));
            return;
        }
        let since = self.decreased.map_or(f64::MAX, |at| {
            now.saturating_duration_since(at).as_secs_f64()
        });
        let per_second: f64 = match since {
            ..2.0 => 1.08,
            2.0..4.0 => 1.25,
            _ => 1.5,
        };
        let most = delivered.map_or(rate, |delivered| HEADROOM * delivered + 10_000.0);
        let grown = rate * per_second.powf(elapsed.min(1.0));
        if grown > rate && rate < most {
            self.rate = Some(grown.min(most).min(MAX_RATE));
        }
    }
}
