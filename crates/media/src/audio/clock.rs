//! The sample clock: times counted from samples instead of read from every frame.

use std::collections::VecDeque;
use std::time::Duration;

/// Samples per second of Opus' clock, whatever it codes (RFC 7587 section 4.1).
pub const OPUS_RATE: u32 = 48_000;
use crate::{MediaTime, nanos};

/// Distance of a frame's timestamp from the counted time from which on it is a jump, and the clock
/// is re-anchored. Shared timestamps, jitter, and encoders that send audio in bursts stay below it.
const MAX_DRIFT: Duration = Duration::from_secs(1);

/// Frames used to estimate drift, about five seconds of AAC.
const WINDOW: usize = 256;

/// Frames used to distinguish a step from jitter, more than a second of AAC.
const STEP_WINDOW: usize = 64;

/// Drift that is not corrected: not visible as lip sync error.
const TOLERANCE: Duration = Duration::from_millis(40);

/// Drift that would take too long to follow: if the timestamps agree on it, the clock is
/// re-anchored.
const STEP: Duration = Duration::from_millis(200);

/// Timestamps that are further apart than this do not agree.
const MAX_SPREAD: Duration = Duration::from_millis(100);

/// Samples at 48 kHz by which a frame is stretched or shortened while drift is followed: 0.2 % of
/// the usual frame of 1024 samples, an inaudible change of pitch.
const STRETCH: i64 = 2;

/// Computes the time of incoming samples by counting them from an anchor.
///
/// RTMP timestamps are rounded, jitter, and are shared by frames that were sent together; packets
/// of 20 ms must not show any of that. So the clock follows the timestamps slowly, and only if
/// nearly all of the last seconds lie on one side of it by more than [`TOLERANCE`].
#[derive(Clone, Debug)]
pub(super) struct SampleClock {
    /// Time of the first sample, corrected by the stretching so far.
    anchor: MediaTime,
    /// Samples per channel since the anchor.
    samples: u64,
    rate: u32,
    /// Differences between the timestamps of the last frames and the counted times, in nanoseconds.
    errors: VecDeque<i64>,
    /// The last difference, even if it is an outlier.
    last_error: i64,
    /// Number of frames until the estimate is checked again.
    until_estimate: usize,
    /// Samples at 48 kHz by which each frame is stretched (or shortened, if negative) while drift
    /// is followed.
    stretch: i64,
}

/// The action for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// It follows the previous one. Stretch it by this many samples at 48 kHz.
    Next(i64),
    /// It is at another time: anchor the clock at its timestamp.
    Elsewhere,
}

impl SampleClock {
    /// Returns a clock for samples at `rate` Hz, the first one at the time `anchor`.
    pub(super) fn new(anchor: MediaTime, rate: u32) -> Self {
        Self {
            anchor,
            samples: 0,
            rate,
            errors: VecDeque::with_capacity(WINDOW),
            last_error: 0,
            until_estimate: STEP_WINDOW,
            stretch: 0,
        }
    }

    /// Returns the time of the next sample.
    pub(super) fn now(&self) -> MediaTime {
        let nanos = u128::from(self.samples) * 1_000_000_000 / u128::from(self.rate.max(1));
        self.anchor + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Observes the timestamp of the next frame, and returns the action for it.
    pub(super) fn place(&mut self, pts: MediaTime) -> Placement {
        let error = pts.as_nanos().saturating_sub(self.now().as_nanos());
        let before = std::mem::replace(&mut self.last_error, error);
        let is_far = exceeds(error, MAX_DRIFT);
        if is_far && exceeds(error.saturating_sub(before), MAX_DRIFT / 2) {
            return Placement::Elsewhere;
        }
        self.note(error);
        self.until_estimate -= 1;
        if self.until_estimate == 0 {
            self.until_estimate = STEP_WINDOW;
            // This includes small steps, as of a publisher that drops frames for some time.
            // Timestamps that keep running away (twice as fast, or standing still) never agree, and
            // the samples are right.
            if self.has_stepped() {
                return Placement::Elsewhere;
            }
            self.estimate();
        }
        if is_far {
            self.stretch = 0;
        }
        if self.stretch != 0 {
            self.correct(self.stretch);
        }
        Placement::Next(self.stretch)
    }

    /// Counts samples per channel.
    pub(super) fn advance(&mut self, samples: usize) {
        self.samples += samples as u64;
    }

    fn note(&mut self, error: i64) {
        if self.errors.len() == WINDOW {
            self.errors.pop_front();
        }
        self.errors.push_back(error);
    }

    /// Shifts the following times by this many samples at 48 kHz.
    fn correct(&mut self, stretch: i64) {
        let nanos = stretch * 1_000_000_000 / i64::from(OPUS_RATE);
        self.anchor = self.anchor.shifted(nanos);
        for error in &mut self.errors {
            *error = error.saturating_sub(nanos);
        }
    }

    /// Returns whether the timestamps of the last second agree on another time.
    fn has_stepped(&self) -> bool {
        let (low, high) = bounds(self.errors.iter().rev().take(STEP_WINDOW));
        let agree =
            self.errors.len() >= STEP_WINDOW && !exceeds(high.saturating_sub(low), MAX_SPREAD);
        agree && (low > nanos(STEP) || high < -nanos(STEP))
    }

    /// Starts following drift, and stops when the timestamps lie on both sides, or too far away to
    /// be drift.
    fn estimate(&mut self) {
        if self.errors.iter().any(|error| exceeds(*error, MAX_DRIFT)) {
            self.stretch = 0;
            return;
        }
        let (low, high) = bounds(self.errors.iter());
        let is_full = self.errors.len() == WINDOW;
        if is_full && low > nanos(TOLERANCE) {
            self.stretch = STRETCH;
        } else if is_full && high < -nanos(TOLERANCE) {
            self.stretch = -STRETCH;
        } else if self.stretch > 0 && low <= 0 || self.stretch < 0 && high >= 0 {
            self.stretch = 0;
        }
    }
}

/// Returns the range of the errors without the lowest and the highest tenth, which may be outliers.
fn bounds<'a>(errors: impl Iterator<Item = &'a i64>) -> (i64, i64) {
    let mut sorted: Vec<i64> = errors.copied().collect();
    sorted.sort_unstable();
    let tenth = sorted.len() / 10;
    let at = |place: usize| sorted.get(place).copied().unwrap_or(0);
    (at(tenth), at(sorted.len().saturating_sub(1 + tenth)))
}

fn exceeds(difference: i64, limit: Duration) -> bool {
    difference.unsigned_abs() > limit.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 1024;

    /// Feeds frames with timestamps that `stamp` returns for their correct times in milliseconds.
    /// Returns the number of re-anchorings, and the distance from the correct times.
    fn run(count: i64, rate: u32, stamp: impl Fn(i64, i64) -> i64) -> (usize, i64) {
        let right = |n: i64| n * FRAME * 1000 / i64::from(rate);
        let time = |n| MediaTime::from_millis(stamp(n, right(n)));
        let mut clock = SampleClock::new(time(0), rate);
        let mut anchored = 0;
        for n in 0..count {
            if clock.place(time(n)) == Placement::Elsewhere {
                anchored += 1;
                clock = SampleClock::new(time(n), rate);
            }
            clock.advance(FRAME as usize);
        }
        (anchored, clock.now().as_millis() - right(count))
    }

    #[test]
    fn counted_time_does_not_drift_in_a_day() {
        let mut clock = SampleClock::new(MediaTime::from_millis(7), 44_100);
        for _ in 0..86_400 {
            clock.advance(44_100);
        }
        assert_eq!(clock.now(), MediaTime::from_millis(7 + 86_400_000));
    }

    #[test]
    fn shared_and_uneven_timestamps_are_ignored() {
        for shared in [3, 4, 16] {
            let first_of = |n: i64, rate: i64| n / shared * shared * FRAME * 1000 / rate;
            let (anchored, off) = run(2000, 44_100, |n, _| first_of(n, 44_100));
            assert_eq!(anchored, 0, "{shared} frames with one stamp");
            assert!(off.abs() <= 40, "{shared} frames with one stamp: {off} ms");
        }
        let jitter = |n: i64| n * 7919 % 91 - 45;
        let (anchored, off) = run(2000, 48_000, |n, right| right + jitter(n));
        assert_eq!(anchored, 0);
        assert!(off.abs() <= 45, "{off} ms");
    }

    #[test]
    fn outlier_does_not_set_the_clock_even_as_the_first() {
        let late = |n: i64, right: i64| right + if n % 50 == 0 { 80 } else { 0 };
        let (anchored, off) = run(4000, 48_000, late);
        assert_eq!(anchored, 0);
        assert!(off.abs() <= 4, "{off} ms");
    }

    #[test]
    fn slow_drift_is_followed_within_the_tolerance() {
        // 200 parts per million, as cheap clocks differ, for half an hour.
        for sign in [1, -1] {
            let count = 90_000;
            let drift = |right: i64| sign * right / 5000;
            let (anchored, off) = run(count, 48_000, |_, right| right + drift(right));
            assert_eq!(anchored, 0);
            let behind = off - drift(count * FRAME / 48);
            assert!(behind.abs() <= 60, "{behind} ms");
        }
    }

    #[test]
    fn jump_is_followed_at_once_and_a_lasting_step_within_seconds() {
        for (jump, at) in [(1500, 1000), (-1500, 1000), (300, 1000), (-300, 1000)] {
            let stamp = |n: i64, right: i64| if n < at { right } else { right + jump };
            let (anchored, off) = run(at + 200, 48_000, stamp);
            assert_eq!(anchored, 1, "a jump of {jump} ms");
            assert!(
                (off - jump).abs() <= 1,
                "{off} ms after a jump of {jump} ms"
            );
            let (anchored, _) = run(at + 2, 48_000, stamp);
            assert_eq!(anchored, usize::from(jump.abs() > 1000));
        }
    }

    #[test]
    fn frames_dropped_by_the_publisher_leave_the_clock_correct() {
        // Three gaps of 400 ms in a second, none of which is a jump by itself; and one frame in
        // three missing for ten seconds.
        let gaps = |n: i64, right: i64| {
            right
                + 400
                    * [500, 520, 540]
                        .map(|at| i64::from(n >= at))
                        .iter()
                        .sum::<i64>()
        };
        let thinned = |n: i64, right: i64| right + (n.clamp(500, 970) - 500) / 2 * FRAME / 48;
        for stamp in [gaps as fn(i64, i64) -> i64, thinned] {
            let count = 1400;
            let (anchored, off) = run(count, 48_000, stamp);
            let expected = stamp(count, count * FRAME / 48) - count * FRAME / 48;
            assert!(anchored >= 1);
            assert!((off - expected).abs() <= 40, "{off} ms, not {expected} ms");
        }
    }

    #[test]
    fn runaway_timestamps_are_not_followed() {
        for stamp in [
            (|_, _| 0) as fn(i64, i64) -> i64,
            |_, right| 2 * right,
            |n, _| n,
        ] {
            let (anchored, off) = run(3000, 48_000, stamp);
            assert_eq!((anchored, off.abs() <= 250), (0, true), "{off} ms");
        }
        // Until they are correct again.
        let resumes = |n: i64, right: i64| if n < 500 { 0 } else { right };
        let (anchored, off) = run(1000, 48_000, resumes);
        assert_eq!(anchored, 0);
        assert!(off.abs() <= 1, "{off} ms");
    }
}
