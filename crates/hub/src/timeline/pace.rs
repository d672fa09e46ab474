//! Checks whether the timestamps of a track run as fast as its frames arrive.

use std::time::{Duration, Instant};

use distributary_media::{MediaTime, nanos};

use super::fault::{ClockFault, MAX_DISORDER, MAX_STEP};

/// Time after which timestamps that stand still are a fault.
const STILL_TIME: Duration = Duration::from_secs(2);

/// Minimum frames in that time: with fewer the expected timestamps are unknown.
const STILL_FRAMES: u32 = 20;

/// Time over which timestamps must not run too fast: after a stall the held-back frames arrive in a
/// burst.
const FAST_TIME: Duration = Duration::from_secs(20);

/// Compares the timestamps of a track with the arrival of its frames, from the first frame of a
/// window to the last. Jumps do not count.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Set while the timestamps are faulty.
    pub(super) is_useless: bool,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    frames: u32,
    /// The last timestamp, and its time of arrival.
    last: (MediaTime, Instant),
    /// Time by which the timestamps have advanced, in nanoseconds, without jumps. Steps back within
    /// [`MAX_DISORDER`] count, so that jitter adds nothing.
    advanced: i64,
}

impl Pace {
    /// Observes the timestamp of a frame that arrived at `now`. Returns a fault when it is noticed.
    pub(super) fn observe(&mut self, stamp: MediaTime, now: Instant) -> Option<ClockFault> {
        let window = self.window.get_or_insert_with(|| Window::new(stamp, now));
        window.add(stamp, now);
        let fault = window.verdict(now)?;
        self.window = Some(Window::new(stamp, now));
        let was_useless = std::mem::replace(&mut self.is_useless, fault.is_some());
        fault.filter(|_| !was_useless)
    }
}

impl Window {
    fn new(stamp: MediaTime, now: Instant) -> Self {
        Self {
            began: now,
            frames: 0,
            last: (stamp, now),
            advanced: 0,
        }
    }

    fn add(&mut self, stamp: MediaTime, now: Instant) {
        let (last, came) = std::mem::replace(&mut self.last, (stamp, now));
        self.frames += 1;
        let waited = now.saturating_duration_since(came);
        let is_jump = stamp.saturating_since(last) > waited + MAX_STEP
            || last.saturating_since(stamp) > MAX_DISORDER;
        self.advanced += if is_jump {
            nanos(waited)
        } else {
            stamp.as_nanos().saturating_sub(last.as_nanos())
        };
    }

    /// Returns the verdict of the window once there is one: a fault, or none.
    fn verdict(&self, now: Instant) -> Option<Option<ClockFault>> {
        let elapsed = now.saturating_duration_since(self.began);
        let is_still = self.advanced < nanos(elapsed / 10);
        if elapsed >= STILL_TIME && self.frames >= STILL_FRAMES && is_still {
            return Some(Some(ClockFault::Still));
        }
        if elapsed >= FAST_TIME {
            let is_fast = self.advanced > nanos(elapsed + elapsed / 2);
            return Some(is_fast.then_some(ClockFault::Fast));
        }
        None
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Feeds a minute of audio frames, with timestamps that `stamp` returns for their correct ones
    /// in milliseconds.
    fn faults(stamp: impl Fn(i64, i64) -> i64) -> Vec<ClockFault> {
        let start = Instant::now();
        let mut pace = Pace::default();
        let frames = (0..3000i64).map(|n| (n, n * 1024 / 48));
        let faults = frames.filter_map(|(n, right)| {
            let now = start + Duration::from_millis(right.unsigned_abs());
            pace.observe(MediaTime::from_millis(stamp(n, right)), now)
        });
        faults.collect()
    }

    #[test]
    fn jitter_is_not_mistaken_for_fast_timestamps() {
        for jitter in [30, 45, 60, 90] {
            let alternating =
                |n: i64, right: i64| right + if n % 2 == 0 { jitter } else { -jitter };
            assert_eq!(faults(alternating), [], "{jitter} ms");
            let spread = |n: i64, right: i64| right + n * 7919 % (2 * jitter + 1) - jitter;
            assert_eq!(faults(spread), [], "{jitter} ms");
        }
    }

    #[test]
    fn timestamps_at_twice_real_time_or_standing_still_are_faults() {
        assert_eq!(faults(|_, right| 2 * right), [ClockFault::Fast]);
        assert_eq!(faults(|_, _| 0), [ClockFault::Still]);
        assert_eq!(faults(|_, right| right), []);
    }
}
