//! Measures the standing queue of a path.

use std::collections::VecDeque;

/// Window of the base delay, in microseconds: the shortest of two such windows counts, since clocks
/// drift apart.
const BASE_SPAN: i64 = 10_000_000;

/// Window of the standing queue, in microseconds.
const STANDING_SPAN: i64 = 250_000;

/// Maximum number of feedback packets remembered in that window.
const MAX_RECENT: usize = 16;

/// The standing queue of a path: the shortest queueing delay of all packets.
///
/// A burst fills a queue that is empty again before the next one; only a path that is slower than
/// the send rate keeps one (the idea of RFC 8289). One-way delays involve two clocks, so only their
/// differences count.
#[derive(Debug, Default)]
pub(super) struct StandingQueue {
    /// The shortest delay of this window and of the previous one.
    base: Option<(i64, i64)>,
    span_began: i64,
    /// Time and shortest delay of the last feedback.
    recent: VecDeque<(i64, i64)>,
}

impl StandingQueue {
    /// Handles a feedback by the shortest delay of its packets and the arrival of the last of them,
    /// both in microseconds of the receiver's clock.
    pub(super) fn handle_feedback(&mut self, arrival: i64, shortest: i64) {
        match &mut self.base {
            None => {
                self.base = Some((shortest, shortest));
                self.span_began = arrival;
            }
            Some((present, before)) => {
                if arrival - self.span_began > BASE_SPAN {
                    *before = *present;
                    *present = shortest;
                    self.span_began = arrival;
                }
                *present = shortest.min(*present);
            }
        }
        // One older sample stays: it is the value at the start of the window.
        while self.recent.len() >= MAX_RECENT
            || self
                .recent
                .get(1)
                .is_some_and(|(at, _)| arrival - at >= STANDING_SPAN)
        {
            self.recent.pop_front();
        }
        self.recent.push_back((arrival, shortest));
    }

    /// Returns the delay of the empty path, in microseconds; 0 if unknown.
    pub(super) fn base(&self) -> i64 {
        self.base.map_or(0, |(present, before)| present.min(before))
    }

    /// Returns the shortest queueing delay over the last quarter of a second, in microseconds; 0 if
    /// unknown.
    pub(super) fn standing(&self) -> i64 {
        let (Some((present, before)), Some((first, _)), Some((last, _))) =
            (self.base, self.recent.front(), self.recent.back())
        else {
            return 0;
        };
        if last - first < STANDING_SPAN {
            return 0;
        }
        let shortest = self.recent.iter().map(|(_, delay)| *delay).min();
        shortest.map_or(0, |shortest| shortest - present.min(before))
    }

    /// Takes the current delay as the base delay: it did not shrink although less was sent, so our
    /// packets do not cause it.
    pub(super) fn rebase(&mut self) {
        let shortest = self.recent.iter().map(|(_, delay)| *delay).min();
        self.base = shortest.map(|shortest| (shortest, shortest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Handles feedback every 60 ms with these shortest delays in milliseconds.
    fn standing(queue: &mut StandingQueue, from: i64, delays: &[i64]) -> i64 {
        for (n, delay) in delays.iter().enumerate() {
            queue.handle_feedback(from + 60_000 * n as i64, 1000 * delay);
        }
        queue.standing() / 1000
    }

    #[test]
    fn burst_is_no_standing_queue() {
        let mut queue = StandingQueue::default();
        assert_eq!(standing(&mut queue, 0, &[20; 20]), 0);
        assert_eq!(standing(&mut queue, 1_200_000, &[120, 150, 90, 20]), 0);
    }

    #[test]
    fn delay_of_every_packet_is_a_standing_queue() {
        let mut queue = StandingQueue::default();
        assert_eq!(standing(&mut queue, 0, &[20; 20]), 0);
        assert_eq!(
            standing(&mut queue, 1_200_000, &[60, 100, 140, 180, 220, 260]),
            40
        );
        assert_eq!(
            standing(&mut queue, 1_560_000, &[290, 300, 340, 320, 310]),
            240
        );
    }

    #[test]
    fn clock_drift_is_no_standing_queue() {
        let mut queue = StandingQueue::default();
        for n in 0..10_000 {
            // 200 us in a second, an hour long.
            queue.handle_feedback(360_000 * n, 20_000 + 72 * n);
            assert!(queue.standing() < 6_000);
        }
    }

    #[test]
    fn longer_base_delay_is_accepted_on_rebase_or_after_two_windows() {
        let mut queue = StandingQueue::default();
        standing(&mut queue, 0, &[20; 20]);
        assert_eq!(standing(&mut queue, 1_200_000, &[120; 6]), 100);
        queue.rebase();
        assert_eq!(queue.standing(), 0);

        let mut queue = StandingQueue::default();
        standing(&mut queue, 0, &[20; 20]);
        assert_eq!(standing(&mut queue, 1_200_000, &[120; 400]), 0);
    }
}
