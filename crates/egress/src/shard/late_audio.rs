//! Audio that comes later than usual, as while and after a publisher's uplink is too slow.
//!
//! A player fills the gaps that late audio leaves, and plays it afterwards all the same, so that it stays
//! behind by the length of the gaps. Chromium also waits for audio that was as late as the latest of the
//! last minute, and lets the video wait with it.

use std::time::{Duration, Instant};

use distributary_media::{MediaTime, nanos};

/// Audio is late if it is older than usual by more than this, in nanoseconds: more than usual jitter.
const LATE: i64 = 200_000_000;

/// Time for which everything is usual: publishers may send audio in bursts.
const LEARNING: Duration = Duration::from_secs(5);

/// Time after which a delay that lasts counts as usual.
const PATIENCE: Duration = Duration::from_secs(10);

/// The greatest age is forgotten after one or two of these times.
const MEMORY: Duration = Duration::from_secs(30);

/// Tells late audio frames by their age when they come.
#[derive(Debug, Default)]
pub(super) struct LateAudio {
    usual: Option<Usual>,
    /// Since when all frames are late.
    late_since: Option<Instant>,
}

/// The greatest ages, in nanoseconds. What is a little older than usual counts only after a while: an uplink
/// that is too slow makes each frame a little older than the last.
#[derive(Debug)]
struct Usual {
    age: i64,
    learnt_at: Instant,
    /// The greatest age since this moment, which will be the usual one.
    next: i64,
    since: Instant,
}

impl Usual {
    fn new(age: i64, now: Instant) -> Self {
        Self {
            age,
            learnt_at: now + LEARNING,
            next: age,
            since: now,
        }
    }

    fn is_exceeded(&self, age: i64, now: Instant) -> bool {
        now >= self.learnt_at && age.saturating_sub(self.age) > LATE
    }

    fn note(&mut self, age: i64, now: Instant) {
        if now < self.learnt_at {
            self.age = self.age.max(age);
        }
        if now.saturating_duration_since(self.since) >= MEMORY {
            (self.since, self.age, self.next) = (now, self.next, age);
        }
        self.next = self.next.max(age);
    }
}

impl LateAudio {
    /// Returns whether a frame that comes at `now` is to be sent. Its time counts from `epoch`.
    pub(super) fn admits(&mut self, pts: MediaTime, epoch: Instant, now: Instant) -> bool {
        let age = nanos(now.saturating_duration_since(epoch)).saturating_sub(pts.as_nanos());
        let is_over = |since: Instant| now.saturating_duration_since(since) >= PATIENCE;
        if self.late_since.is_some_and(is_over) {
            self.usual = None;
        }
        let usual = self.usual.get_or_insert_with(|| Usual::new(age, now));
        if usual.is_exceeded(age, now) {
            self.late_since.get_or_insert(now);
            return false;
        }
        usual.note(age, now);
        self.late_since = None;
        true
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Frames of 20 ms that arrive at the times, in milliseconds, that `arrival` returns for theirs.
    /// Returns the times of those that are admitted, with their arrival.
    fn admitted(frames: i64, arrival: impl Fn(i64) -> i64) -> Vec<(i64, i64)> {
        let epoch = Instant::now();
        let mut late = LateAudio::default();
        let all = (0..frames).map(|n| (20 * n, arrival(20 * n)));
        all.filter(|(time, at)| {
            let now = epoch + Duration::from_millis(at.unsigned_abs());
            late.admits(MediaTime::from_millis(*time), epoch, now)
        })
        .collect()
    }

    #[test]
    fn players_get_nothing_late_while_and_after_an_uplink_is_slow() {
        // Half of the rate from 6 s on for 5 s, then the 2.5 s that are missing within half a second.
        let arrival = |time: i64| match time {
            ..6_000 => time,
            6_000..8_500 => 6_000 + 2 * (time - 6_000),
            8_500..11_500 => 11_000 + (time - 8_500) / 6,
            _ => time,
        };
        let admitted = admitted(1000, arrival);
        let latest = admitted.iter().map(|(time, at)| at - time).max();
        assert!(latest <= Some(200), "{latest:?}");
        let after = admitted.iter().filter(|(_, at)| *at >= 11_500);
        assert_eq!(after.count(), 425, "nothing is missing later");
    }

    #[test]
    fn audio_that_is_always_late_or_has_jitter_is_played() {
        assert_eq!(admitted(1000, |time| time + 900).len(), 1000);
        let jitter = |time: i64| time + time * 7919 % 180;
        assert_eq!(admitted(1000, jitter).len(), 1000);
        // Segments of four seconds.
        let bursts = |time: i64| (time / 4000 + 1) * 4000;
        assert_eq!(admitted(3000, bursts).len(), 3000);
    }

    #[test]
    fn audio_that_stays_late_is_played_again() {
        let lasting = |time| if time < 8_000 { time } else { time + 900 };
        let missing = 3000 - admitted(3000, lasting).len();
        assert_eq!(missing, 500, "ten seconds");
    }

    #[test]
    fn audio_with_a_slow_clock_is_played() {
        // 0.1 % slow for ten minutes.
        assert_eq!(admitted(30_000, |time| time + time / 1000).len(), 30_000);
    }
}
