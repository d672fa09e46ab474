//! The rate at which a viewer behind the live edge is sent what it lacks.

use std::time::{Duration, Instant};

use super::train::Probe;

/// Bytes of the keyframe that are sent at the highest rate before anything is known of the path: a
/// last mile of 3 Mbit/s queues them for a third of a second.
const OPENING: usize = 128 * 1024;

/// The lowest rate before feedback, in bits per second.
const FIRST_RATE: u64 = 4_000_000;

/// Part of the stream's rate that a viewer gets whose feedback cannot show a queue before it
/// overflows, and its growth per report without one, in percent.
const BLIND_RATE: u64 = 125;
const BLIND_GROWTH: u64 = 25;

/// The lowest rate after a queue was seen, in bits per second.
const LEAST_RATE: u64 = 150_000;

/// Queueing delay of the newest packets from which on the path counts as filled, and below which it
/// counts as free.
const LONG_QUEUE: Duration = Duration::from_millis(40);
const SHORT_QUEUE: Duration = Duration::from_millis(15);

/// Part of the path's bandwidth that is used, in percent: the rest empties the queue and carries
/// retransmissions.
const USED: u64 = 85;

/// Growth per feedback on a path whose bandwidth is known, in percent.
const GROWTH: u64 = 8;

/// After a loss the rate does not grow for this long.
const LOSS_PAUSE: Duration = Duration::from_secs(1);

/// The part of a stream that a viewer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPart {
    /// The keyframe that a decoder starts with.
    Opening,
    /// The frames from there to the live edge.
    Backlog,
    /// A large frame that has just come.
    Live,
}

/// Finds out the bandwidth of the path to a viewer while the viewer catches up.
///
/// The keyframe goes first and fast, and the frames after it at one and a half times the rate of
/// the stream. Feedback on the keyframe's packets, which were sent together, shows the path's
/// bandwidth at once by the spread of their arrivals. A viewer without such feedback starts near
/// the rate of the stream, and gets more after each report whose round trip shows no queue.
#[derive(Debug)]
pub(super) struct CatchUpRate {
    /// The highest rate, in bits per second.
    most: u64,
    /// True if feedback shows when packets arrive.
    sees_arrivals: bool,
    /// The present rate, in bits per second; `None` before the first step.
    rate: Option<u64>,
    /// Bytes sent so far, until there is a rate.
    sent: usize,
    /// When the rate has changed last, or the first packet was sent.
    stepped: Option<Instant>,
    /// True once a queue or a loss has shown the bandwidth of the path.
    is_found: bool,
    /// True if the rate was in use since the last feedback.
    is_used: bool,
}

impl CatchUpRate {
    /// Creates the rate of a new viewer; at most `most` bits per second. `sees_arrivals`: feedback
    /// will show when packets arrive.
    pub(super) fn new(most: u64, sees_arrivals: bool) -> Self {
        Self {
            most,
            sees_arrivals,
            rate: None,
            sent: 0,
            stepped: None,
            is_found: false,
            is_used: false,
        }
    }

    /// Returns the present rate in bits per second, for packets of a stream of `stream_rate`.
    pub(super) fn rate(&self, part: StreamPart, stream_rate: u64) -> u64 {
        match (self.rate, part) {
            (None, StreamPart::Opening) if self.sent < OPENING => self.most,
            (_, StreamPart::Live) if !self.is_found => self.most,
            (None, _) => self.first_rate(stream_rate),
            (Some(rate), _) => rate.min(self.most),
        }
    }

    fn backlog_rate(&self, stream_rate: u64) -> u64 {
        self.rate(StreamPart::Backlog, stream_rate)
    }

    fn first_rate(&self, stream_rate: u64) -> u64 {
        let rate = if self.sees_arrivals {
            FIRST_RATE.max(stream_rate.saturating_mul(3) / 2)
        } else {
            LEAST_RATE.max(stream_rate.saturating_mul(BLIND_RATE) / 100)
        };
        rate.min(self.most)
    }

    /// Returns whether a queue or a loss has shown the bandwidth of the path.
    pub(super) fn is_found(&self) -> bool {
        self.is_found
    }

    /// Returns whether feedback is to be evaluated: the viewer is catching up.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// Records that `bytes` are sent at this rate.
    pub(super) fn note_sent(&mut self, now: Instant, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes);
        self.stepped.get_or_insert(now);
        self.is_used = true;
    }

    /// Handles what feedback on packets sent at this rate shows.
    pub(super) fn handle_probe(&mut self, now: Instant, probe: Probe, stream_rate: u64) {
        if !std::mem::take(&mut self.is_used) {
            return;
        }
        self.stepped = Some(now);
        let present = self.rate.unwrap_or_else(|| self.first_rate(stream_rate));
        let usable = probe.bandwidth.map(|rate| rate / 100 * USED);
        let next = if probe.queue > LONG_QUEUE {
            self.is_found = true;
            usable.unwrap_or(present / 100 * USED).min(present)
        } else if let Some(usable) = usable.filter(|_| !self.is_found) {
            // The train of the keyframe has shown the bandwidth without filling the queue.
            self.is_found = usable < self.most;
            usable
        } else if probe.queue > SHORT_QUEUE {
            present
        } else if self.is_found {
            present + present / 100 * GROWTH
        } else {
            present.saturating_mul(2)
        };
        self.set(next);
    }

    /// Handles the queue by the round trip of a viewer without transport-wide feedback.
    pub(super) fn handle_queue(&mut self, now: Instant, queue: Duration, stream_rate: u64) {
        if queue > LONG_QUEUE {
            self.handle_loss(now, stream_rate);
        } else if queue < SHORT_QUEUE
            && self.stepped.is_some_and(|at| now >= at)
            && std::mem::take(&mut self.is_used)
        {
            let present = self.rate.unwrap_or_else(|| self.first_rate(stream_rate));
            let growth = if self.is_found { GROWTH } else { BLIND_GROWTH };
            self.set(present + present / 100 * growth);
        }
    }

    /// Handles a NACK of a viewer without transport-wide feedback: the queue may have overflowed.
    pub(super) fn handle_loss(&mut self, now: Instant, stream_rate: u64) {
        let Some(stepped) = self.stepped else { return };
        if now < stepped {
            // The packets lost were sent before the rate was lowered.
            return;
        }
        let present = self.backlog_rate(stream_rate);
        self.is_found = true;
        // A path that is slower than the stream is limited elsewhere.
        self.set((present / 2).max(stream_rate).min(present));
        self.stepped = Some(now + LOSS_PAUSE);
    }

    fn set(&mut self, rate: u64) {
        self.rate = Some(rate.clamp(LEAST_RATE, self.most.max(LEAST_RATE)));
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    const STREAM: u64 = 2_400_000;
    const MOST: u64 = 40_000_000;

    fn probe(queue_millis: u64, bandwidth: Option<u64>) -> Probe {
        Probe {
            queue: Duration::from_millis(queue_millis),
            bandwidth,
        }
    }

    fn opened(now: Instant) -> CatchUpRate {
        let mut rate = CatchUpRate::new(MOST, true);
        assert_eq!(rate.backlog_rate(STREAM), 4_000_000);
        assert_eq!(rate.rate(StreamPart::Opening, STREAM), MOST);
        rate.note_sent(now, OPENING);
        assert_eq!(rate.rate(StreamPart::Opening, STREAM), 4_000_000);
        rate
    }

    #[test]
    fn keyframe_of_a_slow_path_shows_its_bandwidth_at_once() {
        let now = Instant::now();
        let mut rate = opened(now);
        rate.handle_probe(now, probe(150, Some(3_000_000)), STREAM);
        assert!(rate.is_found());
        assert_eq!(rate.backlog_rate(STREAM), 2_550_000);
    }

    #[test]
    fn keyframe_of_a_fast_path_allows_the_highest_rate_at_once() {
        let now = Instant::now();
        let mut rate = opened(now);
        rate.handle_probe(now, probe(3, Some(100_000_000)), STREAM);
        assert_eq!(rate.backlog_rate(STREAM), MOST);
        assert!(!rate.is_found());
    }

    #[test]
    fn rate_doubles_per_feedback_until_a_queue_is_seen() {
        let now = Instant::now();
        let mut rate = opened(now);
        for expected in [8_000_000, 16_000_000] {
            rate.note_sent(now, 1000);
            rate.handle_probe(now, probe(2, None), STREAM);
            assert_eq!(rate.backlog_rate(STREAM), expected);
        }
        rate.note_sent(now, 1000);
        rate.handle_probe(now, probe(60, Some(10_000_000)), STREAM);
        assert_eq!(rate.backlog_rate(STREAM), 8_500_000);
        // A short queue keeps it, no queue lets it grow slowly.
        rate.note_sent(now, 1000);
        rate.handle_probe(now, probe(20, None), STREAM);
        assert_eq!(rate.backlog_rate(STREAM), 8_500_000);
        rate.note_sent(now, 1000);
        rate.handle_probe(now, probe(2, None), STREAM);
        assert_eq!(rate.backlog_rate(STREAM), 9_180_000);
    }

    #[test]
    fn large_frame_at_the_live_edge_is_slowed_down_only_on_a_slow_path() {
        let now = Instant::now();
        let mut rate = opened(now);
        assert_eq!(rate.rate(StreamPart::Live, STREAM), MOST);
        rate.handle_probe(now, probe(150, Some(3_000_000)), STREAM);
        assert_eq!(rate.rate(StreamPart::Live, STREAM), 2_550_000);
    }

    #[test]
    fn rate_that_is_not_in_use_does_not_change() {
        let now = Instant::now();
        let mut rate = opened(now);
        rate.handle_probe(now, probe(2, None), STREAM);
        for _ in 0..100 {
            rate.handle_probe(now, probe(2, None), STREAM);
        }
        assert_eq!(rate.backlog_rate(STREAM), 8_000_000);
    }

    #[test]
    fn rate_without_feedback_grows_per_report_until_a_loss() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut rate = CatchUpRate::new(MOST, false);
        let report = |rate: &mut CatchUpRate, seconds: u32, queue: u64| {
            let now = start + seconds * second;
            rate.note_sent(now, OPENING);
            rate.handle_queue(now, Duration::from_millis(queue), STREAM);
            rate.backlog_rate(STREAM)
        };
        assert_eq!(rate.backlog_rate(STREAM), 3_000_000);
        assert_eq!(report(&mut rate, 1, 0), 3_750_000);
        assert_eq!(report(&mut rate, 2, 5), 4_687_500);
        assert_eq!(report(&mut rate, 3, 25), 4_687_500);
        for _ in 0..10 {
            rate.handle_loss(start + 3 * second, STREAM);
        }
        assert_eq!(rate.backlog_rate(STREAM), STREAM, "not below the stream");
        assert_eq!(report(&mut rate, 3, 0), STREAM);
        assert_eq!(report(&mut rate, 4, 0), 2_592_000);
        assert_eq!(report(&mut rate, 5, 100), STREAM);
    }
}
