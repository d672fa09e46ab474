//! Returns freed memory to the system.
//!
//! The C library keeps freed memory for later allocations, separately for several threads: a
//! gateway that a thousand viewers have left would stay as large as with them, although nearly all
//! of its memory is free.

use std::time::{Duration, Instant};

/// Shortest and longest time between two returns of free memory while memory is short.
const INTERVALS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(5 * 60)];

/// Part of the memory in use that a return has to free to be worth another one soon.
const WORTH_IT: usize = 50;

/// Minimum decrease of sessions and streams that is worth it, unless the last has left.
const MANY: usize = 64;

/// The current count and the highest since memory was returned.
#[derive(Debug, Default)]
pub(super) struct Tide {
    high: usize,
    last: usize,
}

impl Tide {
    /// Records the current count. Returns `true` if many have left, and no more are leaving.
    pub(super) fn has_gone_out(&mut self, count: usize) -> bool {
        let is_going = count < self.last;
        self.last = count;
        self.high = self.high.max(count);
        let gone = self.high - count;
        let is_worth_it = gone >= MANY || (gone > 0 && count == 0);
        if is_going || !is_worth_it {
            return false;
        }
        self.high = count;
        true
    }
}

/// When to return free memory while memory is short: seldom, if it frees next to nothing.
#[derive(Debug)]
pub(super) struct Trims {
    last: Option<Instant>,
    interval: Duration,
}

impl Default for Trims {
    fn default() -> Self {
        Self {
            last: None,
            interval: INTERVALS[0],
        }
    }
}

impl Trims {
    /// Returns whether it is time for the next one.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let since = self.last.map(|at| now.saturating_duration_since(at));
        since.is_none_or(|since| since >= self.interval)
    }

    /// Records a return of memory, with the bytes in use before it and after it.
    pub(super) fn note(&mut self, before: usize, after: usize, now: Instant) {
        self.last = Some(now);
        let [shortest, longest] = INTERVALS;
        self.interval = if before.saturating_sub(after) > before / WORTH_IT {
            shortest
        } else {
            (self.interval * 2).min(longest)
        };
    }
}

/// Returns all free memory. Takes some milliseconds, and locks one arena after the other.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library has this function, Rust has none")]
pub(super) fn trim() {
    // SAFETY: malloc_trim(3) is MT-Safe, may be called at any time, takes a number of bytes to
    // keep, and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Does nothing: this C library has no such function.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether memory is returned after each of these counts.
    fn given_back(counts: &[usize]) -> Vec<bool> {
        let mut tide = Tide::default();
        let counts = counts.iter();
        counts.map(|count| tide.has_gone_out(*count)).collect()
    }

    #[test]
    fn memory_is_returned_less_often_while_it_frees_nothing() {
        let mut trims = Trims::default();
        #[allow(
            clippy::disallowed_methods,
            reason = "an origin for the simulated clock"
        )]
        let mut now = Instant::now();
        let mut waited = Vec::new();
        for after in [990, 990, 990, 500, 990] {
            let mut seconds = 0;
            while !trims.is_due(now) {
                now += Duration::from_secs(1);
                seconds += 1;
            }
            waited.push(seconds);
            trims.note(1000, after, now);
        }
        assert_eq!(waited, [0, 10, 20, 40, 5]);
    }

    #[test]
    fn memory_is_returned_once_after_many_have_left() {
        assert_eq!(
            given_back(&[10, 900, 500, 30, 30, 30]),
            [false, false, false, false, true, false]
        );
    }

    #[test]
    fn memory_is_returned_when_the_last_has_left() {
        assert_eq!(
            given_back(&[0, 2, 0, 0, 0]),
            [false, false, false, true, false]
        );
    }

    #[test]
    fn single_departures_do_not_count_until_they_are_many() {
        let mut tide = Tide::default();
        let count = 500;
        assert!((0..20).all(|turn| !tide.has_gone_out(count - turn % 3)));
        assert!(!tide.has_gone_out(count - MANY + 1));
        assert!(!tide.has_gone_out(count - MANY));
        assert!(tide.has_gone_out(count - MANY));
    }
}
