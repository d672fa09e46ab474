//! The estimate itself, and whether what is sent is held to it.

use std::time::{Duration, Instant};

/// Part of the delivered rate that is left after a decrease (draft-ietf-rmcat-gcc-02 section 5.5).
const DECREASE: f64 = 0.85;

/// The same for a path with a long queue, which is to be empty again in a second or so.
const DEEP_DECREASE: f64 = 0.5;

/// Part of what was delivered while there was a queue that is sent once it is gone.
const RESTORED: f64 = 0.9;

/// How far the estimate may be above the delivered rate: more has not been tried
/// (draft-ietf-rmcat-gcc-02 section 5.5).
const HEADROOM: f64 = 1.5;

/// The lowest estimate, in bits per second: sound, and a picture now and then.
const MIN_RATE: f64 = 150_000.0;

/// The highest: nobody sends more to one viewer.
const MAX_RATE: f64 = 1e9;

/// Least time between two decreases, besides the round trip: what was sent before must have drained.
const DECREASE_INTERVAL: Duration = Duration::from_millis(300);

/// Longest round trip and longest wait in a queue, in seconds, that are waited for: the round trip may
/// have been measured with the queue in it.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(500);
const MAX_WAIT: f64 = 3.0;

/// After so many decreases that did not help, the delay or the loss is not ours.
const MAX_VAIN_DECREASES: u32 = 3;

/// Time that a loss that less sending does not cure is no reason to send less.
const LOSS_IGNORED: Duration = Duration::from_secs(30);

/// The limit ends when it has not held the stream up for so long.
const RELEASE: Duration = Duration::from_secs(2);

/// What one report says of the path.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Time that packets wait in standing queues, in milliseconds.
    pub(super) queue: f64,
    /// Part of the packets that were lost, 0 to 1.
    pub(super) loss: f64,
    /// True if the path is taken to be slower than what is sent.
    pub(super) congested: Option<Congestion>,
    /// True if it would take more.
    pub(super) clear: bool,
    /// Bits per second that arrived.
    pub(super) delivered: Option<f64>,
}

/// By what a slow path shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Congestion {
    /// Delays grow. That lowers the estimate, and no more.
    Delay,
    /// Every packet waits.
    Queue,
    /// Packets are dropped.
    Loss,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing to be done.
    None,
    /// Sending less did not make the queue shorter, so that it is not ours.
    QueueIsNotOurs,
}

/// Estimates how many bits per second a path carries, by additive increase and multiplicative decrease
/// (draft-ietf-rmcat-gcc-02 section 5.5).
///
/// The estimate holds the sender back only while the path has shown to be slower than the stream: a
/// stream of constant rate fills a good path never, so that the estimate alone tells little.
#[derive(Debug)]
pub(super) struct RateController {
    rate: Option<f64>,
    updated: Instant,
    decreased: Option<Instant>,
    /// What was delivered while there was a queue, until that is gone: all that the path carries.
    carried: Option<f64>,
    limit: Option<Limit>,
    ignores_loss_until: Option<Instant>,
}

/// While what is sent is held to the estimate.
#[derive(Debug)]
struct Limit {
    /// When the stream last was behind because of it.
    held: Instant,
    /// Decreases since the queue or the loss became less, and how much it was.
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
            limit: None,
            ignores_loss_until: None,
        }
    }

    /// Returns the estimate in bits per second, once there is one.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rate.map(|rate| rate as u64)
    }

    /// Returns what must not be exceeded; `None` while the path is not known to be slower than the
    /// stream.
    pub(super) fn limit(&self) -> Option<u64> {
        self.limit.as_ref().and(self.rate())
    }

    /// Records that the stream is behind while it is limited.
    pub(super) fn note_held(&mut self, now: Instant) {
        if let Some(limit) = &mut self.limit {
            limit.held = now;
        }
    }

    /// Takes what a report says.
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
        let congested = verdict.congested.filter(|reason| {
            *reason != Congestion::Loss || self.ignores_loss_until.is_none_or(|until| now >= until)
        });
        // What arrives now was sent before it waited in the queue.
        let waited = Duration::from_secs_f64((verdict.queue / 1000.0).clamp(0.0, MAX_WAIT));
        let settles = DECREASE_INTERVAL + round_trip.min(MAX_ROUND_TRIP) + waited;
        let may_decrease = self
            .decreased
            .is_none_or(|at| now.saturating_duration_since(at) > settles);
        match congested {
            Some(reason) if may_decrease => return self.decrease(now, reason, verdict),
            Some(_) => {}
            None if verdict.clear => self.increase(now, elapsed, verdict.delivered),
            None => {}
        }
        if let Some(limit) = &self.limit
            && congested.is_none()
            && now.saturating_duration_since(limit.held) > RELEASE
        {
            self.limit = None;
        }
        Outcome::None
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
            // What was delivered may be little because little was sent.
            Congestion::Delay => DECREASE * delivered.max(rate),
        };
        self.rate = Some(decreased.min(rate).clamp(MIN_RATE, MAX_RATE));
        Outcome::None
    }

    /// Sends as the stream needs it: sending less was of no use.
    fn give_in(&mut self, now: Instant, reason: Congestion) -> Outcome {
        self.limit = None;
        if reason == Congestion::Loss {
            self.ignores_loss_until = Some(now + LOSS_IGNORED);
            return Outcome::None;
        }
        Outcome::QueueIsNotOurs
    }

    /// The longer no queue has shown, the faster the estimate grows.
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
