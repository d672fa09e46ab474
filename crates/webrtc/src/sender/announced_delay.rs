//! The bounds of the playout delay that a viewer's packets carry.

use std::time::{Duration, Instant};

use crate::rtp::extension::PlayoutDelay;

/// Bounds without a lower one are sent for this long: a viewer may lose or drop the frames of some
/// seconds, and retransmissions do not carry them.
const SENT_FOR: Duration = Duration::from_secs(10);

/// The first frame after a move is a leap ahead if it is this much younger than the frame before, in
/// nanoseconds.
const LEAP: i64 = 250_000_000;

/// The same for frames that follow each other: a backlog, of the publisher or of the path, has gone out
/// faster than in real time. It is more than usual jitter.
const CAUGHT_UP: i64 = 500_000_000;

/// The oldest frame is forgotten after one or two of these times: the clocks of publishers drift, and an
/// uplink that was slow long ago is no measure of the present one.
const MEMORY: Duration = Duration::from_secs(30);

/// Time after a move in which frames are shown as they arrive. Chromium takes up to five seconds to
/// accept that all frames are early from now on (`TimestampExtrapolator`).
const HURRY: Duration = Duration::from_secs(10);

/// The same after a backlog: Chromium has learnt from each of its frames, and needs longer.
const LONG_HURRY: Duration = Duration::from_secs(30);

/// The bounds that a viewer is asked to keep, and whether its packets carry them.
///
/// A viewer that is moved to a newer keyframe gets frames much earlier than their timestamps promise. So
/// does every viewer when a publisher sends what its slow uplink has held back. Players would hold back
/// the frames for that time, or show them slower than they come: their latency would grow. While the
/// bounds are [`PlayoutDelay::NONE`], they show frames as they arrive.
#[derive(Debug, Default)]
pub(super) struct AnnouncedDelay {
    /// The bounds, if any were set, and when.
    bounds: Option<(PlayoutDelay, Instant)>,
    /// True if frames after a leap are to be shown as they arrive.
    hurries: bool,
    /// The end of the time after the last leap.
    hurry_until: Option<Instant>,
    /// True once the viewer has reached the live edge: the frames with which it starts are no leap.
    is_live: bool,
    ages: Option<Ages>,
}

/// Ages of frames when they were sent, in nanoseconds on any clock.
#[derive(Clone, Copy, Debug)]
struct Ages {
    last: i64,
    /// That of the oldest frame since `since`, and of the oldest one in the time before that. Both count
    /// from the last leap on, on a viewer that was live.
    oldest: i64,
    former: i64,
    since: Instant,
}

impl Ages {
    fn new(age: i64, now: Instant) -> Self {
        Self {
            last: age,
            oldest: age,
            former: age,
            since: now,
        }
    }

    /// Adds the age of the next frame.
    fn add(&mut self, age: i64, now: Instant) {
        if now.saturating_duration_since(self.since) >= MEMORY {
            (self.since, self.former, self.oldest) = (now, self.oldest, age);
        }
        self.oldest = self.oldest.max(age);
        self.last = age;
    }

    /// Returns whether a frame of this age follows a backlog that has gone out.
    fn has_caught_up(&self, age: i64) -> bool {
        self.oldest.max(self.former).saturating_sub(age) > CAUGHT_UP
    }
}

impl AnnouncedDelay {
    /// Sets the bounds.
    pub(super) fn set(&mut self, now: Instant, bounds: PlayoutDelay) {
        self.bounds = Some((bounds, now));
        self.hurry_until = None;
    }

    /// Lets frames after a leap be shown as they arrive, while no lower bound is set.
    pub(super) fn hurry_after_leaps(&mut self) {
        self.hurries = true;
    }

    /// Returns the lower bound that the viewer is asked to keep.
    pub(super) fn minimum(&self) -> Duration {
        self.bounds
            .map_or(Duration::ZERO, |(bounds, _)| bounds.minimum())
    }

    /// Records that the viewer has reached the live edge.
    pub(super) fn note_live(&mut self) {
        self.is_live = true;
    }

    /// Records a frame that is sent at this age, in nanoseconds on any clock. `is_moved`: it is the first
    /// after a move.
    pub(super) fn note_frame(&mut self, now: Instant, age: i64, is_moved: bool) {
        let ages = self.ages.get_or_insert_with(|| Ages::new(age, now));
        let is_leap = is_moved && ages.last.saturating_sub(age) > LEAP
            || self.is_live && ages.has_caught_up(age);
        if is_leap || !self.is_live {
            *ages = Ages::new(age, now);
        } else {
            ages.add(age, now);
        }
        let has_minimum = self
            .bounds
            .is_some_and(|(bounds, _)| !bounds.has_no_minimum());
        if self.hurries && !has_minimum && is_leap {
            self.bounds = Some((PlayoutDelay::NONE, now));
            let time = if is_moved { HURRY } else { LONG_HURRY };
            self.hurry_until = self.hurry_until.max(Some(now + time));
        }
    }

    /// Returns the bounds that a frame carries at `now`. `is_known`: the viewer has received
    /// packets of the stream.
    pub(super) fn bounds(&mut self, now: Instant, is_known: bool) -> Option<PlayoutDelay> {
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        if self.hurry_until.take_if(|end| now >= *end).is_some() {
            self.bounds = Some((PlayoutDelay::SMOOTH, now));
        }
        let (bounds, since) = self.bounds?;
        let is_recent = self.hurry_until.is_some() || !is_over(since, SENT_FOR);
        let is_needed = !is_known || !bounds.has_no_minimum() || is_recent;
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

    /// A second in nanoseconds.
    const NANOS: i64 = 1_000_000_000;

    fn leap(delay: &mut AnnouncedDelay, now: Instant) {
        delay.note_frame(now, 2 * NANOS, false);
        delay.note_frame(now, 0, true);
    }

    fn hurrying() -> (AnnouncedDelay, Instant) {
        let mut delay = AnnouncedDelay::default();
        delay.hurry_after_leaps();
        (delay, Instant::now())
    }

    #[test]
    fn frames_after_a_leap_are_shown_as_they_arrive_until_players_have_adapted() {
        let (mut delay, start) = hurrying();
        assert_eq!(delay.bounds(start, true), None);
        delay.note_frame(start, 2 * NANOS, true);
        delay.note_frame(start, NANOS / 30, true);
        assert_eq!(delay.bounds(start, true), Some(PlayoutDelay::NONE));
        let last = start + HURRY - SECOND / 1000;
        assert_eq!(delay.bounds(last, true), Some(PlayoutDelay::NONE));
        let after = start + HURRY;
        assert_eq!(delay.bounds(after, true), Some(PlayoutDelay::SMOOTH));
        assert_eq!(delay.bounds(after + SENT_FOR, true), None);
    }

    #[test]
    fn backlog_that_arrives_faster_than_in_real_time_is_a_leap_as_long_as_it_does() {
        let (mut delay, start) = hurrying();
        delay.note_live();
        let mut now = start;
        let mut send = |frames: i64, age: &mut i64, change: i64| {
            for _ in 0..frames {
                *age += change;
                now += SECOND / 100;
                delay.note_frame(now, *age, false);
            }
            (delay.bounds(now, true), now)
        };
        let mut age = 0;
        assert_eq!(send(200, &mut age, NANOS / 100).0, None, "two seconds late");
        assert_eq!(send(40, &mut age, -NANOS / 100).0, None, "0.4 s less");
        let (bounds, caught_up) = send(160, &mut age, -NANOS / 100);
        assert_eq!((bounds, age), (Some(PlayoutDelay::NONE), 0));
        // The time counts from the last leap, which was not at the begin of the backlog.
        let later = caught_up + LONG_HURRY - SECOND;
        assert_eq!(delay.bounds(later, true), Some(PlayoutDelay::NONE));
        let after = caught_up + LONG_HURRY;
        assert_eq!(delay.bounds(after, true), Some(PlayoutDelay::SMOOTH));
    }

    #[test]
    fn clock_that_drifts_is_no_leap_however_long_it_does() {
        let (mut delay, start) = hurrying();
        delay.note_live();
        // 0.1 % fast for an hour: frames are 3.6 s younger in the end.
        for tenth in 0..36_000 {
            let now = start + SECOND / 10 * tenth;
            delay.note_frame(now, -i64::from(tenth) * NANOS / 10_000, false);
            assert_eq!(delay.bounds(now, true), None, "after {tenth} tenths");
        }
    }

    #[test]
    fn start_with_the_frames_of_the_gop_is_no_leap() {
        let (mut delay, start) = hurrying();
        for frames in (0..60).rev() {
            delay.note_frame(start, frames * NANOS / 30, false);
        }
        delay.note_live();
        delay.note_frame(start, 0, false);
        assert_eq!(delay.bounds(start, true), None);
    }

    #[test]
    fn pause_is_no_leap() {
        let (mut delay, start) = hurrying();
        delay.note_live();
        for age in [0, 0, 5 * NANOS, 5 * NANOS] {
            delay.note_frame(start, age, true);
        }
        assert_eq!(delay.bounds(start, true), None);
    }

    #[test]
    fn leap_leaves_a_lower_bound_and_fixed_bounds_alone() {
        let asked = PlayoutDelay::from_millis(200, 10_000).unwrap();
        let (mut delay, start) = hurrying();
        delay.set(start, asked);
        leap(&mut delay, start);
        assert_eq!(delay.bounds(start, true), Some(asked));
        let fixed = PlayoutDelay::from_millis(0, 400).unwrap();
        let mut delay = AnnouncedDelay::default();
        delay.set(start, fixed);
        leap(&mut delay, start);
        assert_eq!(delay.bounds(start, true), Some(fixed));
    }

    #[test]
    fn lower_bound_that_losses_need_ends_the_hurry() {
        let (mut delay, start) = hurrying();
        leap(&mut delay, start);
        let asked = PlayoutDelay::from_millis(200, 10_000).unwrap();
        delay.set(start + SECOND, asked);
        let later = start + 2 * HURRY;
        assert_eq!(delay.bounds(later, true), Some(asked));
    }
}
