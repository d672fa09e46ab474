//! The bounds of the playout delay that a viewer's packets carry.

use std::time::{Duration, Instant};

use crate::rtp::extension::PlayoutDelay;

/// Bounds without a lower one are sent for this long: a viewer may lose or drop the frames of some
/// seconds, and retransmissions do not carry them.
const SENT_FOR: Duration = Duration::from_secs(10);

/// A frame is a leap ahead if its time advances by this much more than the clock.
const LEAP: Duration = Duration::from_millis(250);

/// Time after a leap in which frames are shown as they arrive. Chromium takes up to five seconds to
/// accept that all frames are early from now on (`TimestampExtrapolator`).
const HURRY: Duration = Duration::from_secs(10);

/// The bounds that a viewer is asked to keep, and whether its packets carry them.
///
/// A viewer that catches up with the stream and is moved to a newer keyframe gets frames much
/// earlier than their timestamps promise. Players would hold back the frames for that time. While
/// the bounds are [`PlayoutDelay::NONE`], they show frames as they arrive.
#[derive(Debug, Default)]
pub(super) struct AnnouncedDelay {
    /// The bounds, if any were set, and when.
    bounds: Option<(PlayoutDelay, Instant)>,
    /// True if frames after a leap are to be shown as they arrive.
    hurries: bool,
    /// The last leap, until its time is over.
    leapt: Option<Instant>,
}

impl AnnouncedDelay {
    /// Sets the bounds.
    pub(super) fn set(&mut self, now: Instant, bounds: PlayoutDelay) {
        self.bounds = Some((bounds, now));
        self.leapt = None;
    }

    /// Lets frames after a leap be shown as they arrive, while no lower bound is set.
    pub(super) fn hurry_after_leaps(&mut self) {
        self.hurries = true;
    }

    /// Records the first frame after a move: its time has advanced by `media` since the last frame
    /// sent, and the clock by `clock`.
    pub(super) fn note_move(&mut self, now: Instant, media: Duration, clock: Duration) {
        let has_minimum = self
            .bounds
            .is_some_and(|(bounds, _)| !bounds.has_no_minimum());
        if self.hurries && !has_minimum && media > clock + LEAP {
            self.bounds = Some((PlayoutDelay::NONE, now));
            self.leapt = Some(now);
        }
    }

    /// Returns the bounds that a frame carries at `now`. `is_known`: the viewer has received
    /// packets of the stream.
    pub(super) fn bounds(&mut self, now: Instant, is_known: bool) -> Option<PlayoutDelay> {
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        if self.leapt.take_if(|leapt| is_over(*leapt, HURRY)).is_some() {
            self.bounds = Some((PlayoutDelay::SMOOTH, now));
        }
        let (bounds, since) = self.bounds?;
        let is_needed = !is_known || !bounds.has_no_minimum() || !is_over(since, SENT_FOR);
        is_needed.then_some(bounds)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn hurrying() -> (AnnouncedDelay, Instant) {
        let mut delay = AnnouncedDelay::default();
        delay.hurry_after_leaps();
        (delay, Instant::now())
    }

    #[test]
    fn frames_after_a_leap_are_shown_as_they_arrive_until_players_have_adapted() {
        let (mut delay, start) = hurrying();
        assert_eq!(delay.bounds(start, true), None);
        delay.note_move(start, 2 * SECOND, SECOND / 30);
        assert_eq!(delay.bounds(start, true), Some(PlayoutDelay::NONE));
        let last = start + HURRY - SECOND / 1000;
        assert_eq!(delay.bounds(last, true), Some(PlayoutDelay::NONE));
        let after = start + HURRY;
        assert_eq!(delay.bounds(after, true), Some(PlayoutDelay::SMOOTH));
        assert_eq!(delay.bounds(after + SENT_FOR, true), None);
    }

    #[test]
    fn pause_is_no_leap() {
        let (mut delay, start) = hurrying();
        delay.note_move(start, 5 * SECOND, 5 * SECOND);
        delay.note_move(start, Duration::ZERO, 5 * SECOND);
        assert_eq!(delay.bounds(start, true), None);
    }

    #[test]
    fn leap_leaves_a_lower_bound_and_fixed_bounds_alone() {
        let asked = PlayoutDelay::from_millis(200, 10_000).unwrap();
        let (mut delay, start) = hurrying();
        delay.set(start, asked);
        delay.note_move(start, 2 * SECOND, Duration::ZERO);
        assert_eq!(delay.bounds(start, true), Some(asked));
        let fixed = PlayoutDelay::from_millis(0, 400).unwrap();
        let mut delay = AnnouncedDelay::default();
        delay.set(start, fixed);
        delay.note_move(start, 2 * SECOND, Duration::ZERO);
        assert_eq!(delay.bounds(start, true), Some(fixed));
    }

    #[test]
    fn lower_bound_that_losses_need_ends_the_hurry() {
        let (mut delay, start) = hurrying();
        delay.note_move(start, 2 * SECOND, Duration::ZERO);
        let asked = PlayoutDelay::from_millis(200, 10_000).unwrap();
        delay.set(start + SECOND, asked);
        let later = start + 2 * HURRY;
        assert_eq!(delay.bounds(later, true), Some(asked));
    }
}
