//! The deadlines of viewers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::viewers::Viewer;

/// Time between two turns of the viewers that are behind the live edge: newcomers are paced, and a
/// TCP connection may have room again.
const TURN_INTERVAL: Duration = Duration::from_millis(5);

/// Least time between two deadlines of one viewer.
const MIN_DELAY: Duration = Duration::from_millis(1);

/// The viewers of a shard by the time at which something is due.
pub(super) struct Schedule {
    /// Keys of the viewers that are behind the live edge.
    behind: Vec<usize>,
    next_turn: Instant,
    /// One deadline for each viewer, [`Viewer::armed`]. It may be too early, never too late.
    deadlines: BTreeSet<(Instant, usize)>,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            behind: Vec::new(),
            next_turn: now,
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
        let turn = (!self.behind.is_empty()).then_some(self.next_turn);
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        turn.into_iter().chain(deadline).min()
    }

    /// Takes the viewers that are behind the live edge, if it is their turn.
    pub(super) fn take_turns(&mut self, now: Instant) -> Vec<usize> {
        if self.behind.is_empty() || now < self.next_turn {
            return Vec::new();
        }
        self.next_turn = now + TURN_INTERVAL;
        self.behind.clone()
    }

    /// Removes and returns the viewers whose deadline has come. Each must be [noted](Self::note)
    /// again.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        while let Some((deadline, key)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            due.push(key);
        }
        due
    }
}
