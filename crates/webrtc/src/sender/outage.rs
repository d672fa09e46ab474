//! Outages of a viewer's network, by the packets that it asks for afterwards.

use std::time::{Duration, Instant};

/// So many packets in a row or more, published within this time or more, that are all lost have met an
/// outage.
const OUTAGE: Duration = Duration::from_millis(250);
const LEAST: u64 = 10;

/// Transport-wide feedback comes at least four times a second while packets arrive (Chromium). If none
/// comes for this long, and for so many times the usual interval, after a packet was sent, none of the
/// packets has arrived.
const SILENCE: Duration = Duration::from_millis(750);
const INTERVALS: u32 = 3;

/// Weight of the usual interval against a shorter one.
const SMOOTHING: u32 = 7;

/// Tells packets that an outage has lost from those that the network loses now and then.
///
/// No playout delay covers an outage, so its losses are no reason to ask for one.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Index of the last packet of the last one.
    last: Option<u64>,
    /// The first packet since the last feedback: when it was sent, and its index.
    unreported: Option<(Instant, u64)>,
    /// Usual time from such a packet to the next feedback; `None` before the first feedback.
    interval: Option<Duration>,
    /// A request has already been taken as the sign of an outage, since the last feedback.
    is_told: bool,
}

/// Packets in a row.
struct Run {
    /// Time of the first one.
    begin: Instant,
    first: u64,
    last: u64,
}

impl Outages {
    /// Records that the packet of this index is sent.
    pub(super) fn note_sent(&mut self, now: Instant, index: u64) {
        self.unreported.get_or_insert((now, index));
    }

    /// Records that transport-wide feedback has come. `next` is the index of the next packet.
    pub(super) fn note_feedback(&mut self, now: Instant, next: u64) {
        let was_silent = self.is_silent(now, next);
        if was_silent {
            self.last = next.checked_sub(1);
        }
        let unreported = self.unreported.take();
        let waited = unreported.map(|(at, _)| now.saturating_duration_since(at));
        self.interval = Some(match (self.interval, waited) {
            // It grows at once and shrinks slowly: some feedback comes in pieces.
            (Some(interval), Some(waited)) if !was_silent => {
                waited.max((SMOOTHING * interval + waited) / (SMOOTHING + 1))
            }
            (Some(interval), None) => interval,
            _ => SILENCE,
        });
        self.is_told = false;
    }

    /// Records that a request has come. Some viewers ask for the last packets of an outage alone, which may
    /// be those of a keyframe, so that it seems short. Only the first request since the last feedback
    /// counts: feedback may have stopped for good.
    pub(super) fn note_request(&mut self, now: Instant, next: u64) {
        if !self.is_told && self.is_silent(now, next) {
            self.last = next.checked_sub(1);
            self.is_told = true;
        }
    }

    /// Returns whether the feedback that is missing shows that no packet has arrived since the last one.
    fn is_silent(&self, now: Instant, next: u64) -> bool {
        let unreported = self.unreported.zip(self.interval);
        unreported.is_some_and(|((at, index), interval)| {
            let least = SILENCE.max(INTERVALS * interval);
            now.saturating_duration_since(at) >= least && next.saturating_sub(index) >= LEAST
        })
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

    /// A viewer and its feedback.
    struct Viewer {
        outages: Outages,
        start: Instant,
        /// Index of the next packet.
        next: u64,
    }

    impl Viewer {
        /// Returns a viewer that is sent packets every 10 ms for two seconds, and that sends feedback in
        /// this interval, in milliseconds.
        fn with_feedback_each(interval: u64) -> Self {
            let mut viewer = Self {
                outages: Outages::default(),
                start: Instant::now(),
                next: 0,
            };
            for from in (0..2000).step_by(interval as usize) {
                viewer.send(from..from + interval);
                viewer.feedback(from + interval);
            }
            viewer
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        /// Sends a packet every 10 ms.
        fn send(&mut self, millis: std::ops::Range<u64>) {
            for at in millis.step_by(10) {
                self.outages.note_sent(self.at(at), self.next);
                self.next += 1;
            }
        }

        fn feedback(&mut self, millis: u64) {
            self.outages.note_feedback(self.at(millis), self.next);
        }

        fn request(&mut self, millis: u64) {
            self.outages.note_request(self.at(millis), self.next);
        }

        /// Returns whether the last packet has met an outage.
        fn has_met_outage(&self) -> bool {
            self.outages.cover(self.next - 1)
        }
    }

    #[test]
    fn packets_without_feedback_for_long_have_met_an_outage() {
        let mut viewer = Viewer::with_feedback_each(100);
        assert!(!viewer.outages.cover(0));
        viewer.send(2000..2700);
        viewer.feedback(2700);
        assert!(!viewer.outages.cover(200), "feedback may have been lost");
        let mut asks = Viewer::with_feedback_each(100);
        asks.send(2000..2800);
        asks.request(2800);
        assert!(asks.has_met_outage() && !asks.outages.cover(asks.next));
        let mut reports = Viewer::with_feedback_each(100);
        reports.send(2000..2800);
        reports.feedback(2800);
        assert!(reports.has_met_outage() && !reports.outages.cover(reports.next));
        // Feedback ends an outage in which the viewer has asked for what it lacked before.
        asks.send(2800..5000);
        asks.feedback(5000);
        assert!(asks.has_met_outage());
    }

    #[test]
    fn pause_of_the_publisher_before_a_keyframe_is_none() {
        let mut viewer = Viewer::with_feedback_each(100);
        let keyframe = viewer.next..viewer.next + 40;
        for index in keyframe {
            viewer.outages.note_sent(viewer.at(3500), index);
        }
        viewer.next += 40;
        viewer.request(3540);
        viewer.feedback(3550);
        assert!(!viewer.outages.cover(0));
    }

    #[test]
    fn feedback_that_comes_once_a_second_is_none() {
        let mut viewer = Viewer::with_feedback_each(1000);
        for second in 2..10 {
            viewer.send(1000 * second..1000 * second + 950);
            viewer.request(1000 * second + 950);
            // In pieces.
            viewer.feedback(1000 * second + 950);
            for piece in 0..5 {
                let at = 1000 * second + 950 + 10 * piece;
                viewer.send(at..at + 10);
                viewer.feedback(at + 10);
            }
        }
        assert!(!viewer.outages.cover(0));
        viewer.send(10_000..14_000);
        viewer.feedback(14_000);
        assert!(viewer.has_met_outage(), "far longer than usual");
    }

    #[test]
    fn viewer_without_feedback_has_none() {
        let start = Instant::now();
        let mut outages = Outages::default();
        for index in 0..1000 {
            let now = start + Duration::from_millis(10 * index);
            outages.note_sent(now, index);
            outages.note_request(now, index + 1);
        }
        assert!(!outages.cover(0));
    }

    #[test]
    fn losses_after_the_last_feedback_are_of_an_outage_once() {
        let mut viewer = Viewer::with_feedback_each(100);
        viewer.send(2000..3000);
        viewer.request(3000);
        assert!(viewer.has_met_outage());
        for second in 3..10 {
            viewer.send(1000 * second..1000 * (second + 1));
            viewer.request(1000 * (second + 1));
            assert!(!viewer.has_met_outage(), "{second}");
        }
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
