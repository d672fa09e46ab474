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

/// A REMB below this fraction of the send rate counts only together with loss or a queue: alone it
/// may be a guess from before the stream started.
const LOW_ESTIMATE: f64 = 0.85;

/// Number of ordinary round trips that are remembered.
const MAX_ORDINARY: usize = 8;

/// Number of consistent reports in a row that it takes: one may be chance.
const IN_A_ROW: u32 = 2;

/// Loss in 256ths for which one report is enough: it covers a second, and so much is no chance.
const SEVERE_LOSS: u8 = 77;

/// Reads receiver reports.
#[derive(Debug)]
pub(super) struct Reports {
    last: Option<Last>,
    /// The shortest round trip of this window and of the previous one.
    base: Option<(Duration, Duration)>,
    span_began: Option<Instant>,
    remb: Option<u64>,
    /// The last round trips of ordinary reports: those that do not follow a cluster.
    ordinary: VecDeque<Duration>,
    /// Reports in a row that indicate a slow path.
    in_a_row: u32,
}

/// The content of the previous report.
#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    sent: u64,
    round_trip: Option<Duration>,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self {
            last: None,
            base: None,
            span_began: None,
            remb: None,
            ordinary: VecDeque::new(),
            in_a_row: 0,
        }
    }

    pub(super) fn handle_remb(&mut self, bitrate: u64) {
        self.remb = Some(bitrate);
    }

    /// Returns the receiver's own estimate, once one has come.
    pub(super) fn remb(&self) -> Option<u64> {
        self.remb
    }

    /// Returns whether the round trip of the empty path is known.
    pub(super) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// Returns the increase of a round trip over the shortest one, once that is known.
    pub(super) fn queue_of(&self, round_trip: Duration) -> Option<Duration> {
        let (present, before) = self.base?;
        Some(round_trip.saturating_sub(present.min(before)))
    }

    /// Returns the increase of a round trip over the ordinary ones, over their median. On a radio link
    /// round trips differ by tens of milliseconds without any queue of ours.
    pub(super) fn beyond_ordinary(&self, round_trip: Duration) -> Option<Duration> {
        let mut ordinary: Vec<_> = self.ordinary.iter().copied().collect();
        ordinary.sort_unstable();
        let usual = ordinary.get(ordinary.len() / 2)?;
        Some(round_trip.saturating_sub(*usual))
    }

    /// Evaluates a report in comparison with the previous one.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        block: &ReportBlock,
        round_trip: Option<Duration>,
        sent: u64,
    ) -> Option<Verdict> {
        if let Some(round_trip) = round_trip {
            self.note_round_trip(now, round_trip);
        }
        let last = self.last.replace(Last {
            at: now,
            sent,
            round_trip,
        })?;
        let elapsed = now.saturating_duration_since(last.at).as_secs_f64();
        if elapsed < 0.1 {
            // Two reports in a row cover too few packets for a rate.
            self.last = Some(last);
            return None;
        }
        let rate = sent.saturating_sub(last.sent) as f64 * 8.0 / elapsed;
        let loss = f64::from(block.fraction_lost) / 256.0;
        let queue = self.queue(round_trip);
        let is_low = self
            .remb
            .is_some_and(|remb| (remb as f64) < LOW_ESTIMATE * rate);
        let congestion = if queue > LONG_QUEUE {
            Some(Congestion::Queue)
        } else if block.fraction_lost > HIGH_LOSS {
            Some(Congestion::Loss)
        } else if is_low && (queue > SHORT_QUEUE || block.fraction_lost > SOME_LOSS) {
            Some(Congestion::Queue)
        } else {
            None
        };
        // Two symptoms at once are no chance either.
        let is_certain = block.fraction_lost > SEVERE_LOSS
            || queue > LONG_QUEUE && (is_low || block.fraction_lost > SOME_LOSS);
        self.in_a_row = congestion.map_or(0, |_| self.in_a_row + 1);
        let delivered = rate * (1.0 - loss);
        Some(Verdict {
            queue: queue.as_secs_f64() * 1000.0,
            loss,
            congested: congestion.filter(|_| is_certain || self.in_a_row >= IN_A_ROW),
            clear: queue < SHORT_QUEUE && block.fraction_lost < SOME_LOSS,
            delivered: Some(match self.remb {
                // The receiver's estimate is better than one derived from loss.
                Some(remb) if is_low => delivered.min(remb as f64),
                _ => delivered,
            }),
            newest: None,
            slowing: None,
            probe: None,
        })
    }

    /// Takes the current round trip as the path's base.
    pub(super) fn rebase(&mut self) {
        let present = self.last.and_then(|last| last.round_trip);
        self.base = present.map(|present| (present, present));
    }

    fn note_round_trip(&mut self, now: Instant, round_trip: Duration) {
        if self.ordinary.len() == MAX_ORDINARY {
            self.ordinary.pop_front();
        }
        self.ordinary.push_back(round_trip);
        let began = *self.span_began.get_or_insert(now);
        let (present, before) = self.base.unwrap_or((round_trip, round_trip));
        self.base = Some(if now.saturating_duration_since(began) > BASE_SPAN {
            self.span_began = Some(now);
            (round_trip, present)
        } else {
            (round_trip.min(present), before)
        });
    }

    /// Returns the increase over the shortest round trip.
    fn queue(&self, round_trip: Option<Duration>) -> Duration {
        let queue = round_trip.and_then(|round_trip| self.queue_of(round_trip));
        queue.unwrap_or_default()
    }
}
