//! The deadlines of viewers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::viewers::Viewer;

/// Time between two turns of the viewers that are behind the live edge: newcomers are paced, and a
/// TCP connection may have room again.
const TURN_INTERVAL: Duration = Duration::from_millis(5);

/// Least time between two deadlines of one viewer.
const MIN_DELAY: Duration = Duration::from_millis(1);

/// Maximum number of viewers that are taken at once. A frame that comes meanwhile does not wait for
/// the others: viewers at the live edge go first.
const AT_ONCE: usize = 64;

/// The viewers of a shard by the time at which something is due.
pub(super) struct Schedule {
    /// Keys of the viewers that are behind the live edge.
    behind: Vec<usize>,
    next_turn: Instant,
    /// Keys of those that still get the present turn, which was due at this time.
    turn: Vec<usize>,
    turn_due: Instant,
    /// One deadline for each viewer, [`Viewer::armed`]. It may be too early, never too late.
    deadlines: BTreeSet<(Instant, usize)>,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            behind: Vec::new(),
            next_turn: now,
            turn: Vec::new(),
            turn_due: now,
            deadlines: BTreeSet::new(),
        }
    }

    /// Records the deadline of a viewer after its state has changed.
    pub(super) fn note(&mut self, key: usize, viewer: &mut Viewer, now: Instant) {
        self.note_behind(key, viewer, now);
        let Some(due) = viewer.peer.poll_timeout() else {
            return;
        };
        let due = due.max(now + MIN_DELAY);
        // A deadline that moves back is corrected when the one before is reached: most do so often.
        if viewer.armed.is_none_or(|armed| due < armed) {
            self.disarm(key, viewer);
            viewer.armed = Some(due);
            self.deadlines.insert((due, key));
        }
    }

    /// Records whether a viewer is behind the live edge.
    pub(super) fn note_behind(&mut self, key: usize, viewer: &mut Viewer, now: Instant) {
        let is_behind = viewer.is_behind();
        if is_behind == std::mem::replace(&mut viewer.is_listed, is_behind) {
            return;
        }
        if is_behind {
            if self.behind.is_empty() {
                // There were no turns meanwhile, so none is late.
                self.next_turn = self.next_turn.max(now);
            }
            self.behind.push(key);
        } else {
            self.behind.retain(|other| *other != key);
        }
    }

    /// Notes that a viewer at the live edge was sent media, which is cheaper than [`Self::note`].
    pub(super) fn note_sent(&mut self, key: usize, viewer: &mut Viewer, now: Instant) {
        let is_earlier = |due| viewer.armed.is_none_or(|armed| due < armed);
        if viewer.peer.report_due().is_some_and(is_earlier) {
            self.note(key, viewer, now);
        } else {
            self.note_behind(key, viewer, now);
        }
    }

    /// Removes a viewer that is gone.
    pub(super) fn remove(&mut self, key: usize, viewer: &mut Viewer) {
        self.disarm(key, viewer);
        if std::mem::take(&mut viewer.is_listed) {
            self.behind.retain(|other| *other != key);
        }
    }

    fn disarm(&mut self, key: usize, viewer: &mut Viewer) {
        if let Some(armed) = viewer.armed.take() {
            self.deadlines.remove(&(armed, key));
        }
    }

    /// Returns when [`Self::take_turns`] or [`Self::take_due`] has something to give.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let turn = if self.turn.is_empty() {
            (!self.behind.is_empty()).then_some(self.next_turn)
        } else {
            Some(self.turn_due)
        };
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        turn.into_iter().chain(deadline).min()
    }

    /// Takes viewers that are behind the live edge, if it is their turn. One of them may have caught
    /// up or have gone since the turn began.
    pub(super) fn take_turns(&mut self, now: Instant) -> Vec<usize> {
        if self.turn.is_empty() && !self.behind.is_empty() && now >= self.next_turn {
            self.turn.clone_from(&self.behind);
            self.turn_due = self.next_turn;
            self.next_turn = now + TURN_INTERVAL;
        }
        self.turn.split_off(self.turn.len().saturating_sub(AT_ONCE))
    }

    /// Removes and returns viewers whose deadline has come. Each must be [noted](Self::note) again.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        while due.len() < AT_ONCE
            && let Some((deadline, key)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            due.push(key);
        }
        due
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Takes everything that is due at `now` by `take`, and returns it in the order of the keys.
    fn take_all(
        schedule: &mut Schedule,
        now: Instant,
        take: fn(&mut Schedule, Instant) -> Vec<usize>,
    ) -> Vec<usize> {
        let mut taken = Vec::new();
        while schedule.poll_timeout().is_some_and(|due| due <= now) {
            let part = take(schedule, now);
            assert!((1..=AT_ONCE).contains(&part.len()), "{}", part.len());
            taken.extend(part);
        }
        taken.sort_unstable();
        taken
    }

    #[test]
    fn many_viewers_are_taken_in_parts() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let viewers: Vec<usize> = (0..2 * AT_ONCE + 1).collect();
        schedule.behind.clone_from(&viewers);
        for turn in 0..3 {
            let now = start + TURN_INTERVAL * turn;
            assert_eq!(schedule.poll_timeout(), Some(now));
            assert_eq!(
                take_all(&mut schedule, now, Schedule::take_turns),
                viewers,
                "each once a turn"
            );
        }
        schedule.behind.clear();
        schedule.deadlines = viewers.iter().map(|key| (start, *key)).collect();
        assert_eq!(take_all(&mut schedule, start, Schedule::take_due), viewers);
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn turn_that_takes_long_is_given_to_all_before_the_next() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        let viewers: Vec<usize> = (0..3 * AT_ONCE).collect();
        schedule.behind.clone_from(&viewers);
        // Each part takes longer than the interval between two turns.
        let mut taken = Vec::new();
        for part in 1..=3 {
            taken.extend(schedule.take_turns(start + 2 * TURN_INTERVAL * part));
        }
        taken.sort_unstable();
        assert_eq!(taken, viewers);
    }
}
