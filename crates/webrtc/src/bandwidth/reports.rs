//! Evaluates receiver reports and REMB.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::rate::{Congestion, Verdict};
use crate::rtcp::ReportBlock;

/// Increase over the shortest round trip from which on the path counts as slower than the stream.
const LONG_QUEUE: Duration = Duration::from_millis(150);

/// Increase over the shortest round trip below which the path has spare bandwidth.
const SHORT_QUEUE: Duration = Duration::from_millis(50);

/// Window of the shortest round trip; the shorter of two windows counts.
const BASE_SPAN: Duration = Duration::from_secs(15);

/// Loss in 256ths from which on the path counts as slower than the stream, and below which it is
/// clear.
const HIGH_LOSS: u8 = 51;
const SOME_LOSS: u8 = 26;

/// Time after which no sender report arrives any longer if none that is newer is quoted, and the loss in
/// 256ths with which this shows a queue that is always full.
const QUOTED_TIME: Duration = Duration::from_secs(3);
const LITTLE_LOSS: u8 = 8;

/// A REMB below this fraction of the send rate counts only together with loss or a queue: alone it
/// may be a guess from before the stream started.
const LOW_ESTIMATE: f64 = 0.85;

/// Increase over the shortest round trip up to which one is ordinary, and how many of these are
/// remembered.
const ORDINARY_QUEUE: Duration = SHORT_QUEUE;
const MAX_ORDINARY: usize = 8;

/// Least number of them with which clusters are evaluated, and the number of the longest that do not
/// count: their sender reports may have followed keyframes.
const LEAST_ORDINARY: usize = 3;
const KEYFRAMES: usize = 2;

/// Factor on the distance of the longest that counts to the median: by no more than that, round trips
/// differ by chance.
const CHANCE: u32 = 3;

/// Number of consistent evaluations in a row that it takes: one may be chance.
const IN_A_ROW: u32 = 2;

/// Loss in 256ths for which one evaluation of a long time is enough: so much is no chance.
const SEVERE_LOSS: u8 = 77;

/// Least time that is evaluated. Browsers report with each NACK, and that covers a few packets.
const LEAST_SPAN: Duration = Duration::from_millis(400);

/// Time that is long: in a shorter one a single burst of losses is a large part.
const LONG_SPAN: Duration = Duration::from_millis(800);

/// Times within which a path that has collapsed shows by the reports with NACKs. The losses before the
/// first of these reports do not count, so a burst is none.
const COLLAPSE_SPAN: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_millis(350));

/// Packets sent in that time, and the part of them in 256ths that is lost, on a path that has collapsed.
const COLLAPSE_PACKETS: u64 = 24;
const COLLAPSE_LOSS: u8 = 128;

/// Least time between two samples that are remembered for that.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(40);

/// What was sent until a report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentUntil {
    /// Bytes of all streams.
    pub(super) bytes: u64,
    /// Packets of the stream of the report.
    pub(super) packets: u64,
}

/// Reads receiver reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The last one that was evaluated.
    last: Option<Sample>,
    /// Those of the last moments, the newest at the back.
    recent: VecDeque<Sample>,
    /// The time of the sender report that the last one quotes, and the queue that it has met.
    quoted: u32,
    quoted_at: Option<Instant>,
    queue: Duration,
    /// True if that queue is not short, and no sender report was sent since.
    wants_round_trip: bool,
    /// The shortest round trip of this window and of the previous one.
    base: Option<(Duration, Duration)>,
    span_began: Option<Instant>,
    remb: Option<u64>,
    /// The newest round trip, and the last ordinary ones: those of reports that do not follow a cluster,
    /// without a long queue.
    newest: Option<Duration>,
    ordinary: VecDeque<Duration>,
    /// Evaluations in a row that indicate a slow path.
    in_a_row: u32,
}

/// The counters of a report.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    sent: SentUntil,
    /// Extended highest sequence number that has arrived.
    highest: u32,
    lost: i32,
}

/// The packets between two reports.
#[derive(Clone, Copy, Debug)]
struct Interval {
    elapsed: Duration,
    /// Bits per second that were sent, and that have arrived.
    rate: f64,
    arrived: f64,
    /// Packets that have arrived or were lost.
    expected: u64,
    /// The lost part of them in 256ths.
    loss: u8,
}

impl Sample {
    /// Returns what happened from an earlier report to this one.
    fn since(&self, earlier: &Self) -> Interval {
        let elapsed = self.at.saturating_duration_since(earlier.at);
        let seconds = elapsed.as_secs_f64().max(0.001);
        let expected = self.highest.wrapping_sub(earlier.highest).cast_signed();
        let expected = u64::from(expected.max(0).cast_unsigned());
        let lost = self.lost.wrapping_sub(earlier.lost).max(0);
        let lost = u64::from(lost.cast_unsigned()).min(expected);
        let bits = self.sent.bytes.saturating_sub(earlier.sent.bytes) as f64 * 8.0;
        let packets = self
            .sent
            .packets
            .saturating_sub(earlier.sent.packets)
            .max(1);
        let received = (expected - lost) as f64;
        Interval {
            elapsed,
            rate: bits / seconds,
            arrived: bits / packets as f64 * received / seconds,
            expected,
            loss: u8::try_from(256 * lost / expected.max(1)).unwrap_or(u8::MAX),
        }
    }
}

impl Reports {
    pub(super) fn handle_remb(&mut self, bitrate: u64) {
        self.remb = Some(bitrate);
    }

    /// Returns the receiver's own estimate, once one has come.
    pub(super) fn remb(&self) -> Option<u64> {
        self.remb
    }

    /// Returns whether ordinary round trips are known.
    pub(super) fn has_ordinary(&self) -> bool {
        self.ordinary.len() >= LEAST_ORDINARY
    }

    /// Records that the round trip behind a cluster is known: the next one is ordinary.
    pub(super) fn note_cluster(&mut self) {
        self.wants_round_trip = true;
    }

    /// Returns the increase of a round trip over the ordinary ones, over their median, and by how much
    /// these differ from it by chance. On a radio link that is tens of milliseconds without any queue
    /// of ours.
    pub(super) fn beyond_ordinary(&self, round_trip: Duration) -> Option<(Duration, Duration)> {
        let mut ordinary: Vec<_> = self.ordinary.iter().copied().collect();
        ordinary.sort_unstable();
        let usual = *ordinary.get(ordinary.len() / 2)?;
        let long = ordinary.iter().rev().nth(KEYFRAMES).unwrap_or(&usual);
        let chance = CHANCE * long.saturating_sub(usual);
        Some((round_trip.saturating_sub(usual), chance))
    }

    /// Returns the queue that the last sender report has met that did not follow a cluster.
    pub(super) fn queue(&self) -> Duration {
        self.queue
    }

    /// Returns whether the next sender report is not to be awaited: its round trip shows whether the
    /// queue is still there.
    pub(super) fn wants_round_trip(&self) -> bool {
        self.wants_round_trip
    }

    /// Records that a sender report was sent.
    pub(super) fn note_sender_report(&mut self) {
        self.wants_round_trip = false;
    }

    /// Records a round trip from before the stream began: the path was empty.
    pub(super) fn note_empty_path(&mut self, round_trip: Duration) {
        self.base.get_or_insert((round_trip, round_trip));
    }

    /// Begins anew, because another stream is sent from now on.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.recent.clear();
        self.ordinary.clear();
        self.in_a_row = 0;
    }

    /// Evaluates a report in comparison with an earlier one. `round_trip` is that of the sender report
    /// that it quotes, unless that followed a cluster.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        block: &ReportBlock,
        round_trip: Option<Duration>,
        sent: SentUntil,
    ) -> Option<Verdict> {
        // All reports until the next sender report quote the same round trip.
        let is_new = std::mem::replace(&mut self.quoted, block.last_sender_report)
            != block.last_sender_report;
        if is_new {
            self.quoted_at = Some(now);
        }
        let round_trip = round_trip.filter(|_| is_new);
        if let Some(round_trip) = round_trip {
            self.note_round_trip(now, round_trip);
        }
        let sample = Sample {
            at: now,
            sent,
            highest: block.highest_sequence,
            lost: block.cumulative_lost,
        };
        if let Some(collapse) = self.collapse(&sample) {
            (self.last, self.in_a_row) = (None, 0);
            self.recent.clear();
            return Some(collapse);
        }
        let last = *self.last.get_or_insert(sample);
        let interval = sample.since(&last);
        if interval.elapsed < LEAST_SPAN {
            return None;
        }
        self.last = Some(sample);
        Some(self.verdict(now, &interval, round_trip.is_some()))
    }

    /// Returns the verdict on a path whose reports of the last moments show that it has collapsed.
    fn collapse(&mut self, sample: &Sample) -> Option<Verdict> {
        let age = |earlier: &Sample| sample.at.saturating_duration_since(earlier.at);
        while self
            .recent
            .front()
            .is_some_and(|oldest| age(oldest) > COLLAPSE_SPAN.1)
        {
            self.recent.pop_front();
        }
        let earlier = self
            .recent
            .iter()
            .rfind(|earlier| age(earlier) >= COLLAPSE_SPAN.0);
        let interval = earlier.map(|earlier| sample.since(earlier));
        if self
            .recent
            .back()
            .is_none_or(|newest| age(newest) >= SAMPLE_INTERVAL)
        {
            self.recent.push_back(*sample);
        }
        let interval = interval.filter(|interval| {
            interval.expected >= COLLAPSE_PACKETS && interval.loss >= COLLAPSE_LOSS
        })?;
        Some(Verdict {
            queue: self.queue.as_secs_f64() * 1000.0,
            loss: f64::from(interval.loss) / 256.0,
            congested: Some(Congestion::Loss),
            clear: false,
            delivered: Some(interval.arrived),
            newest: Some(interval.arrived),
            slowing: Some(interval.arrived),
            probe: None,
        })
    }

    fn verdict(&mut self, now: Instant, interval: &Interval, is_queue_new: bool) -> Verdict {
        let (queue, loss) = (self.queue, interval.loss);
        let are_reports_lost = self
            .quoted_at
            .is_some_and(|at| now.saturating_duration_since(at) > QUOTED_TIME);
        let is_low = self
            .remb
            .is_some_and(|remb| (remb as f64) < LOW_ESTIMATE * interval.rate);
        let congestion = if queue > LONG_QUEUE {
            Some(Congestion::Queue)
        } else if loss > HIGH_LOSS || loss > LITTLE_LOSS && are_reports_lost {
            Some(Congestion::Loss)
        } else if is_low && (queue > SHORT_QUEUE || loss > SOME_LOSS) {
            Some(Congestion::Queue)
        } else {
            None
        };
        let is_long = interval.elapsed >= LONG_SPAN;
        // Two symptoms at once are no chance either.
        let is_certain =
            loss > SEVERE_LOSS && is_long || queue > LONG_QUEUE && (is_low || loss > SOME_LOSS);
        self.in_a_row = match congestion {
            None => 0,
            // The same round trip shows nothing more.
            Some(Congestion::Queue) if !is_queue_new && loss <= SOME_LOSS => self.in_a_row,
            Some(_) => self.in_a_row + 1,
        };
        Verdict {
            queue: queue.as_secs_f64() * 1000.0,
            loss: f64::from(loss) / 256.0,
            congested: congestion.filter(|_| is_certain || self.in_a_row >= IN_A_ROW),
            clear: queue < SHORT_QUEUE && loss < SOME_LOSS,
            delivered: Some(match self.remb {
                // What arrived in a long time may be that of a faster path before.
                Some(remb) if is_low && is_long => interval.arrived.min(remb as f64),
                _ => interval.arrived,
            }),
            newest: None,
            slowing: None,
            probe: None,
        }
    }

    /// Takes the current round trip as the path's base.
    pub(super) fn rebase(&mut self) {
        self.base = self.newest.map(|present| (present, present));
        self.queue = Duration::ZERO;
    }

    fn note_round_trip(&mut self, now: Instant, round_trip: Duration) {
        let began = *self.span_began.get_or_insert(now);
        let (present, before) = self.base.unwrap_or((round_trip, round_trip));
        self.base = Some(if now.saturating_duration_since(began) > BASE_SPAN {
            self.span_began = Some(now);
            (round_trip, present)
        } else {
            (round_trip.min(present), before)
        });
        self.queue = self.queue_of(round_trip);
        self.wants_round_trip = self.queue > SHORT_QUEUE;
        self.newest = Some(round_trip);
        if self.queue <= ORDINARY_QUEUE {
            if self.ordinary.len() == MAX_ORDINARY {
                self.ordinary.pop_front();
            }
            self.ordinary.push_back(round_trip);
        }
    }

    /// Returns the increase of a round trip over the shortest one.
    fn queue_of(&self, round_trip: Duration) -> Duration {
        let base = self.base.map(|(present, before)| present.min(before));
        base.map_or(Duration::ZERO, |base| round_trip.saturating_sub(base))
    }
}
