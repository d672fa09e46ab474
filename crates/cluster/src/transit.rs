//! The time that messages spend between two nodes, without synchronized clocks.

use std::time::{Duration, Instant};

/// Time after which an earlier minimum counts no more, so that clocks that drift apart are
/// followed.
const WINDOW: Duration = Duration::from_secs(30);

/// Estimates how late messages are, compared with the fastest of the last half minute.
///
/// The clocks of two nodes are unrelated. The least difference between the time of arrival and the
/// sender's clock is that of a message that did not wait anywhere; the distance of another one from
/// it is the time that this one has waited.
#[derive(Debug)]
pub(crate) struct Transit {
    origin: Instant,
    /// The start of the current window, and the least difference in it, in microseconds.
    current: Option<(Instant, i64)>,
    /// The least difference of the window before.
    before: Option<i64>,
}

impl Transit {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            current: None,
            before: None,
        }
    }

    /// Returns how late a message is that was sent when its sender's clock showed `clock`
    /// microseconds, and arrived at `now`.
    pub(crate) fn observe(&mut self, clock: u64, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.origin).as_micros();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        // Wraps for a clock that makes no sense; only the differences count.
        let difference = elapsed.wrapping_sub(clock.cast_signed());
        let (since, least) = match self.current {
            Some((since, least)) if now.saturating_duration_since(since) < WINDOW => (since, least),
            Some((_, least)) => {
                self.before = Some(least);
                (now, difference)
            }
            None => (now, difference),
        };
        let least = least.min(difference);
        self.current = Some((since, least));
        let least = self.before.map_or(least, |before| before.min(least));
        let late = difference.saturating_sub(least);
        Duration::from_micros(u64::try_from(late).unwrap_or(0))
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    #[test]
    fn message_that_waited_is_late_by_the_time_it_waited() {
        let origin = Instant::now();
        let mut transit = Transit::new(origin);
        let mut late = |clock: u64, at: u64| {
            let now = origin + Duration::from_millis(at);
            transit.observe(1000 * clock, now).as_millis()
        };
        assert_eq!(late(500_000, 10), 0, "the clock of the sender is unrelated");
        assert_eq!(late(500_040, 53), 3);
        assert_eq!(late(500_080, 5_080), 4_990, "it waited in a buffer");
        assert_eq!(late(505_080, 5_090), 0);
        assert_eq!(late(505_100, 5_105), 0, "a faster one sets the measure");
        assert_eq!(late(505_140, 5_150), 5);
    }

    #[test]
    fn clocks_that_drift_apart_are_followed() {
        let origin = Instant::now();
        let mut transit = Transit::new(origin);
        let mut worst = Duration::ZERO;
        for second in 0..600 {
            // The sender's clock loses 100 parts per million.
            let clock = 1_000_000 * second - 100 * second;
            let now = origin + Duration::from_secs(second);
            worst = worst.max(transit.observe(clock, now));
        }
        assert!(worst < Duration::from_millis(10), "{worst:?}");
    }

    #[test]
    fn clock_that_makes_no_sense_is_no_fault() {
        let origin = Instant::now();
        let mut transit = Transit::new(origin);
        for clock in [u64::MAX, 0, 1 << 63, 7] {
            transit.observe(clock, origin);
        }
    }
}
