//! Outages of a viewer's network, by the packets that it asks for afterwards.

use std::time::{Duration, Instant};

/// So many packets in a row or more, published within this time or more, that are all lost have met an
/// outage.
const OUTAGE: Duration = Duration::from_millis(250);
const LEAST: u64 = 10;

/// Transport-wide feedback comes at least four times a second while packets arrive (Chromium). Where none
/// has come for this long, none of the packets did.
const SILENCE: Duration = Duration::from_millis(750);

/// Tells packets that an outage has lost from those that the network loses now and then.
///
/// No playout delay covers an outage, so its losses are no reason to ask for one.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Index of the last packet of the last one.
    last: Option<u64>,
    /// When feedback came last, and the index of the next packet then.
    heard: Option<(Instant, u64)>,
}

/// Packets in a row.
struct Run {
    /// Time of the first one.
    begin: Instant,
    first: u64,
    last: u64,
}

impl Outages {
    /// Records that transport-wide feedback has come. `next` is the index of the next packet.
    pub(super) fn note_feedback(&mut self, now: Instant, next: u64) {
        self.note_heard(now, next);
        self.heard = Some((now, next));
    }

    /// Records that feedback or a request has come. Some viewers ask for the last packets of an outage
    /// alone, which may be those of a keyframe, so that it seems short.
    pub(super) fn note_heard(&mut self, now: Instant, next: u64) {
        let was_silent = self.heard.is_some_and(|(at, index)| {
            now.saturating_duration_since(at) >= SILENCE && next.saturating_sub(index) >= LEAST
        });
        if was_silent {
            self.last = next.checked_sub(1);
        }
    }

    /// Handles the packets that a viewer asks for in one request: index and time of each.
    pub(super) fn note_lost(&mut self, lost: impl Iterator<Item = (u64, Instant)>) {
        let mut run: Option<Run> = None;
        for (index, at) in lost {
            let run = match &mut run {
                Some(run) if run.last + 1 == index => {
                    run.last = index;
                    run
                }
                run => run.insert(Run {
                    begin: at,
                    first: index,
                    last: index,
                }),
            };
            let is_long = at.saturating_duration_since(run.begin) >= OUTAGE;
            if is_long && run.last - run.first + 1 >= LEAST {
                self.last = self.last.max(Some(index));
            }
        }
    }

    /// Returns whether a packet that was lost has met the last outage, or came before it.
    pub(super) fn cover(&self, index: u64) -> bool {
        self.last.is_some_and(|last| index <= last)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Notes packets that were sent every 10 ms.
    fn note(outages: &mut Outages, start: Instant, lost: impl Iterator<Item = u64>) {
        outages.note_lost(lost.map(|index| (index, start + Duration::from_millis(10 * index))));
    }

    #[test]
    fn long_run_of_lost_packets_is_an_outage() {
        let start = Instant::now();
        let mut outages = Outages::default();
        note(&mut outages, start, 100..140);
        assert!(outages.cover(100) && outages.cover(139));
        assert!(!outages.cover(140));
        // A part of it that is asked for again changes nothing.
        note(&mut outages, start, 100..130);
        assert!(outages.cover(139));
    }

    #[test]
    fn packets_without_feedback_for_long_have_met_an_outage() {
        let start = Instant::now();
        let mut outages = Outages::default();
        let at = |millis| start + Duration::from_millis(millis);
        outages.note_heard(at(2000), 200);
        assert!(!outages.cover(0), "no feedback is expected");
        outages.note_feedback(at(2000), 200);
        outages.note_feedback(at(2700), 270);
        assert!(!outages.cover(200), "it may have been lost");
        outages.note_heard(at(3500), 350);
        assert!(outages.cover(349) && !outages.cover(350));
        outages.note_feedback(at(3550), 355);
        outages.note_feedback(at(5000), 360);
        assert!(!outages.cover(355), "the publisher has paused");
    }

    #[test]
    fn single_packets_and_short_bursts_are_none() {
        let start = Instant::now();
        let mut outages = Outages::default();
        note(&mut outages, start, (0..200).step_by(2));
        note(&mut outages, start, 300..320);
        assert!(!outages.cover(0));
    }

    #[test]
    fn few_packets_of_a_slow_stream_are_none() {
        let start = Instant::now();
        let mut outages = Outages::default();
        let second = |index: u64| (index, start + Duration::from_secs(index));
        outages.note_lost((0..9).map(second));
        assert!(!outages.cover(0));
        outages.note_lost((20..30).map(second));
        assert!(outages.cover(29));
    }
}
