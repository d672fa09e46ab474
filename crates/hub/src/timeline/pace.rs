//! Whether the stamps of a track run as fast as its frames arrive.

use std::time::{Duration, Instant};

use distributary_media::MediaTime;

use super::{ClockFault, MAX_DISORDER, MAX_STEP};

/// Time after which stamps that stand still are not waited for any longer.
const STILL_TIME: Duration = Duration::from_secs(2);

/// Frames that must have come in that time: of fewer it is not known what their stamps should be.
const STILL_FRAMES: u32 = 20;

/// Time over which stamps must not run too fast: what a stall has held back comes as a burst.
const FAST_TIME: Duration = Duration::from_secs(20);

/// Compares the stamps of a track with the arrival of its frames, from the first frame of a window to the
/// last. Jumps do not count.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Set while the stamps say nothing about time.
    pub(super) is_useless: bool,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    frames: u32,
    /// The last stamp, and when it came.
    last: (MediaTime, Instant),
    /// What the stamps have advanced, jumps left aside.
    advanced: Duration,
}

impl Pace {
    /// Takes the stamp of a frame that arrived at `now`. Returns what is wrong when it is noticed.
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
            advanced: Duration::ZERO,
        }
    }

    fn add(&mut self, stamp: MediaTime, now: Instant) {
        let (last, came) = std::mem::replace(&mut self.last, (stamp, now));
        self.frames += 1;
        let waited = now.saturating_duration_since(came);
        let step = stamp.saturating_since(last);
        let is_jump = step > waited + MAX_STEP || last.saturating_since(stamp) > MAX_DISORDER;
        self.advanced += match is_jump {
            true => waited,
            false => step,
        };
    }

    /// Returns what the window says once it says something: the fault, or that there is none.
    fn verdict(&self, now: Instant) -> Option<Option<ClockFault>> {
        let elapsed = now.saturating_duration_since(self.began);
        let is_still = self.advanced < elapsed / 10;
        if elapsed >= STILL_TIME && self.frames >= STILL_FRAMES && is_still {
            return Some(Some(ClockFault::Still));
        }
        if elapsed >= FAST_TIME {
            let is_fast = self.advanced > elapsed + elapsed / 2;
            return Some(is_fast.then_some(ClockFault::Fast));
        }
        None
    }
}
