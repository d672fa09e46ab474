//! What transport-wide feedback tells of a path.

use std::collections::VecDeque;

use super::queue::StandingQueue;
use super::rate::{Congestion, Verdict};
use super::sent::SentPackets;
use super::trend::{DelayTrend, Usage};
use crate::rtcp::TransportFeedback;
use crate::rtcp::transport_cc::TICKS_PER_SECOND;

/// A standing queue of so many microseconds says that the path is slower than the stream.
const LONG_QUEUE: i64 = 80_000;

/// With less, it would take more.
const SHORT_QUEUE: i64 = 30_000;

/// Over how long the delivered rate is taken, in microseconds (draft-ietf-rmcat-gcc-02 section 5.5).
const RATE_SPAN: i64 = 500_000;

/// Over how long loss is taken, in microseconds.
const LOSS_SPAN: i64 = 1_000_000;

/// Part of the packets of which the loss says that the path is slower than the stream. Radio loses up
/// to a tenth without that, and retransmission makes up for it.
const HIGH_LOSS: f64 = 0.2;

/// More loss than that and the path is not asked to take more (draft-ietf-rmcat-gcc-02 section 6).
const SOME_LOSS: f64 = 0.1;

/// Most feedback remembered for the delivered rate.
const MAX_RECENT: usize = 32;

/// Reads transport-wide feedback.
#[derive(Debug)]
pub(super) struct Arrivals {
    trend: DelayTrend,
    queue: StandingQueue,
    clock: Option<Clock>,
    /// When the last packet of a feedback arrived, and the bytes of it.
    recent: VecDeque<(i64, usize)>,
    lost: usize,
    received: usize,
    loss_began: i64,
    /// Loss over the last whole span.
    loss: f64,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            trend: DelayTrend::new(),
            queue: StandingQueue::default(),
            clock: None,
            recent: VecDeque::new(),
            lost: 0,
            received: 0,
            loss_began: 0,
            loss: 0.0,
        }
    }
}

/// Both clocks without their wraps: microseconds since the first packet.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Ticks of the receiver's clock, and what they are since the first.
    ticks: u32,
    arrival: i64,
    /// Microseconds of our clock, and what they are since the first.
    at: u32,
    sent: i64,
}

impl Clock {
    fn advance(&mut self, ticks: u32, at: u32) -> (i64, i64) {
        let forward = ticks.wrapping_sub(self.ticks).cast_signed();
        self.arrival += i64::from(forward) * (1_000_000 / TICKS_PER_SECOND);
        self.ticks = ticks;
        self.sent += i64::from(at.wrapping_sub(self.at).cast_signed());
        self.at = at;
        (self.arrival, self.sent)
    }
}

impl Arrivals {
    pub(super) fn handle_feedback(
        &mut self,
        sent: &mut SentPackets,
        feedback: &TransportFeedback<'_>,
    ) -> Verdict {
        let mut bytes = 0;
        let mut newest: Option<i64> = None;
        let mut shortest = i64::MAX;
        for packet in feedback.packets() {
            let Some(ticks) = packet.arrival else {
                self.lost += usize::from(sent.is_awaited(packet.sequence));
                continue;
            };
            let Some(packet) = sent.take(packet.sequence) else {
                continue;
            };
            let clock = self.clock.get_or_insert(Clock {
                ticks,
                arrival: 0,
                at: packet.at,
                sent: 0,
            });
            let (arrival, at) = clock.advance(ticks, packet.at);
            self.trend.handle_packet(packet.at, arrival);
            shortest = shortest.min(arrival - at);
            newest = newest.max(Some(arrival));
            bytes += packet.len;
            self.received += 1;
        }
        if let Some(newest) = newest {
            self.queue.handle_feedback(newest, shortest);
            self.note_delivered(newest, bytes);
            self.note_loss(newest);
        }
        self.verdict()
    }

    /// The present delay is the path's own.
    pub(super) fn rebase(&mut self) {
        self.queue.rebase();
    }

    fn note_delivered(&mut self, arrival: i64, bytes: usize) {
        while self.recent.len() >= MAX_RECENT
            || self
                .recent
                .get(1)
                .is_some_and(|(at, _)| arrival - at > RATE_SPAN)
        {
            self.recent.pop_front();
        }
        self.recent.push_back((arrival, bytes));
    }

    fn note_loss(&mut self, arrival: i64) {
        if arrival - self.loss_began < LOSS_SPAN {
            return;
        }
        let total = self.lost + self.received;
        self.loss = self.lost as f64 / total.max(1) as f64;
        (self.lost, self.received, self.loss_began) = (0, 0, arrival);
    }

    /// Returns bits per second that arrived, once half the span has passed. While packets wait, the
    /// newer half tells all that the path carries; before it there may have been little to send.
    fn delivered(&self) -> Option<f64> {
        let rate_of = |entries: &mut dyn Iterator<Item = &(i64, usize)>| {
            // The bytes of the first arrived before the span.
            let (first, _) = entries.next()?;
            let (last, bytes) =
                entries.fold((*first, 0), |(_, sum), (at, bytes)| (*at, sum + bytes));
            let span = last - first;
            (span >= RATE_SPAN / 2).then(|| bytes as f64 * 8e6 / span as f64)
        };
        let (last, _) = self.recent.back()?;
        let is_older = |entry: &&(i64, usize)| last - entry.0 > RATE_SPAN / 2;
        let older = self.recent.iter().take_while(is_older).count();
        let whole = rate_of(&mut self.recent.iter())?;
        let newer = rate_of(&mut self.recent.iter().skip(older.saturating_sub(1)));
        Some(newer.map_or(whole, |newer| newer.max(whole)))
    }

    fn verdict(&self) -> Verdict {
        let standing = self.queue.standing();
        let usage = self.trend.usage();
        let congested = if standing > LONG_QUEUE {
            Some(Congestion::Queue)
        } else if self.loss > HIGH_LOSS {
            Some(Congestion::Loss)
        } else {
            (usage == Usage::Over).then_some(Congestion::Delay)
        };
        Verdict {
            queue: standing as f64 / 1000.0,
            loss: self.loss,
            congested,
            clear: standing < SHORT_QUEUE && usage == Usage::Normal && self.loss < SOME_LOSS,
            delivered: self.delivered(),
        }
    }
}
