//! Evaluates transport-wide feedback.

use std::collections::VecDeque;

use super::busy::{self, Busy, BusyMeter};
use super::loss::LossMeter;
use super::probe::Prober;
use super::queue::StandingQueue;
use super::rate::{Congestion, Verdict};
use super::sent::SentPackets;
use super::train::TrainMeter;
use super::trend::{DelayTrend, Usage};
use crate::rtcp::TransportFeedback;
use crate::rtcp::transport_cc::TICKS_PER_SECOND;

/// Standing queue in microseconds from which on the path counts as slower than the stream.
const LONG_QUEUE: i64 = 80_000;

/// Standing queue in microseconds below which the path has spare bandwidth.
const SHORT_QUEUE: i64 = 30_000;

/// Window of the delivered rate, in microseconds (draft-ietf-rmcat-gcc-02 section 5.5).
const RATE_SPAN: i64 = 500_000;

/// Loss from which on the path counts as slower than the stream. Wireless links lose a tenth without
/// congestion, and bad ones a fifth; retransmission repairs that. A path that is slower and has no queue
/// loses more and more, because what it loses is sent again.
const HIGH_LOSS: f64 = 0.3;

/// Loss from which on the estimate does not grow (draft-ietf-rmcat-gcc-02 section 6).
const SOME_LOSS: f64 = 0.1;

/// Part of the rate of the stream, in percent, below which a path counts as slower as soon as all
/// packets wait.
const COLLAPSED: u64 = 60;

/// Maximum number of feedback packets remembered for the delivered rate.
const MAX_RECENT: usize = 32;

/// Part of the reordering of the last feedback that still counts at the next, in percent.
const REORDERING_KEPT: i64 = 97;

/// Reads transport-wide feedback.
#[derive(Debug)]
pub(super) struct Arrivals {
    trend: DelayTrend,
    queue: StandingQueue,
    busy: BusyMeter,
    trains: TrainMeter,
    clock: Option<Clock>,
    /// Arrival of the last packet of a feedback, and the bytes of the feedback.
    recent: VecDeque<(i64, usize)>,
    loss: LossMeter,
    /// The latest arrival of a packet, and by how much packets overtake each other: the most of the
    /// last feedbacks, in microseconds.
    latest: i64,
    reordering: i64,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            trend: DelayTrend::new(),
            queue: StandingQueue::default(),
            busy: BusyMeter::default(),
            trains: TrainMeter::default(),
            clock: None,
            recent: VecDeque::new(),
            loss: LossMeter::default(),
            latest: i64::MIN,
            reordering: 0,
        }
    }
}

/// Both clocks without their wraps: microseconds since the first packet.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// Ticks of the receiver's clock, wrapped and since the first.
    ticks: u32,
    arrival: i64,
    /// Microseconds of our clock, wrapped and since the first.
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
    /// Evaluates feedback, also for a cluster of `prober`. Returns the verdict, and the sequence
    /// number of the last packet in the feedback. `stream_rate` is that of the stream in bits per
    /// second. `is_probing`: the viewer is behind the live edge, so the packets show the bandwidth
    /// of the path.
    pub(super) fn handle_feedback(
        &mut self,
        sent: &mut SentPackets,
        prober: &mut Prober,
        feedback: &TransportFeedback<'_>,
        stream_rate: u64,
        is_probing: bool,
    ) -> (Verdict, Option<u16>) {
        let mut last = None;
        let (mut bytes, mut packets) = (0, 0);
        let mut first: Option<(i64, usize)> = None;
        let mut sent_span: Option<(i64, i64)> = None;
        let mut newest: Option<i64> = None;
        let mut shortest = i64::MAX;
        let mut overtaken = 0;
        for packet in feedback.packets() {
            let sequence = packet.sequence;
            last = Some(sequence);
            let Some(ticks) = packet.arrival else {
                if sent.note_missing(sequence) {
                    self.loss.note_missing();
                }
                continue;
            };
            let Some(packet) = sent.take(sequence) else {
                continue;
            };
            self.loss.note_received(packet.was_missing);
            let clock = self.clock.get_or_insert(Clock {
                ticks,
                arrival: 0,
                at: packet.at,
                sent: 0,
            });
            let (arrival, at) = clock.advance(ticks, packet.at);
            self.trend.handle_packet(packet.at, arrival);
            prober.handle_packet(sequence, at, arrival, packet.len);
            if is_probing {
                let delay = arrival - at;
                self.trains
                    .handle_packet(packet.at, arrival, delay, packet.len);
            }
            overtaken = overtaken.max(self.latest.saturating_sub(arrival));
            self.latest = self.latest.max(arrival);
            shortest = shortest.min(arrival - at);
            newest = newest.max(Some(arrival));
            let (begin, end) = sent_span.unwrap_or((at, at));
            sent_span = Some((begin.min(at), end.max(at)));
            if first.is_none_or(|(first, _)| arrival < first) {
                first = Some((arrival, packet.len));
            }
            bytes += packet.len;
            packets += 1;
        }
        self.reordering = overtaken.max(self.reordering * REORDERING_KEPT / 100);
        if let (Some(newest), Some((first, first_bytes)), Some((first_sent, last_sent))) =
            (newest, first, sent_span)
        {
            self.queue.handle_feedback(newest, shortest);
            self.busy.handle_feedback(busy::Entry {
                first,
                last: newest,
                first_sent,
                last_sent,
                bytes,
                first_bytes,
                packets,
                waited: shortest - self.queue.base(),
            });
            self.note_delivered(newest, bytes);
            self.loss.finish(newest);
        }
        let verdict = Verdict {
            probe: if is_probing {
                self.trains.finish(self.queue.base())
            } else {
                None
            },
            ..self.verdict(stream_rate)
        };
        (verdict, last)
    }

    /// Returns by how many microseconds packets overtake each other on the path.
    pub(super) fn reordering(&self) -> i64 {
        self.reordering
    }

    /// Begins to count losses anew.
    pub(super) fn forget_loss(&mut self) {
        self.loss.forget(self.latest);
    }

    /// Takes the current delay as the path's base delay.
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

    /// Returns the delivered rate in bits per second, once half the window has passed, and that of
    /// the newer half. While
    /// packets queue, the newer half shows the path bandwidth; before that there may have been
    /// little to send.
    fn delivered(&self) -> Option<(f64, f64)> {
        let rate_of = |entries: &mut dyn Iterator<Item = &(i64, usize)>| {
            // The bytes of the first arrived before the window.
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
        let newer = newer.unwrap_or(whole);
        Some((newer.max(whole), newer))
    }

    fn verdict(&self, stream_rate: u64) -> Verdict {
        let is_slow = |busy: &Busy| busy.rate * 100.0 < (stream_rate * COLLAPSED) as f64;
        let collapse = self.busy.bandwidth().filter(is_slow);
        let verdict = self.lasting_verdict();
        match collapse {
            None => verdict,
            Some(busy) if busy.is_certain => Verdict {
                queue: verdict.queue.max(busy.queue),
                congested: Some(Congestion::Queue),
                clear: false,
                delivered: Some(busy.rate),
                newest: Some(busy.rate),
                slowing: Some(busy.rate),
                ..verdict
            },
            Some(busy) => Verdict {
                slowing: Some(busy.rate),
                ..verdict
            },
        }
    }

    /// Returns the verdict by what has lasted for some time.
    fn lasting_verdict(&self) -> Verdict {
        let standing = self.queue.standing();
        let usage = self.trend.usage();
        let delivered = self.delivered();
        let congested = if standing > LONG_QUEUE {
            Some(Congestion::Queue)
        } else if self.loss.loss() > HIGH_LOSS {
            Some(Congestion::Loss)
        } else {
            (usage == Usage::Over).then_some(Congestion::Delay)
        };
        Verdict {
            queue: standing as f64 / 1000.0,
            loss: self.loss.loss(),
            congested,
            clear: standing < SHORT_QUEUE && usage == Usage::Normal && self.loss.loss() < SOME_LOSS,
            delivered: delivered.map(|(delivered, _)| delivered),
            newest: delivered.map(|(_, newest)| newest),
            slowing: None,
            probe: None,
        }
    }
}
