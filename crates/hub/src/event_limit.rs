//! A limit for events that a client can cause as often as it likes: log lines, changes of
//! configuration.

use std::time::{Duration, Instant};

/// Admits a burst of events of one kind and then one per interval, and counts those it holds back.
///
/// One log line per event is right as long as events are rare. Where a client decides how often
/// they happen, it would decide how fast the log grows.
///
/// ```
/// # use std::time::Instant;
/// # use distributary_hub::EventLimit;
/// # fn note(limit: &mut EventLimit, now: Instant) {
/// if let Some(held_back) = limit.admit(now) {
///     tracing::warn!(held_back, "the stream has another configuration");
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EventLimit {
    burst: u32,
    interval: Duration,
    /// Time at which the limit has its whole burst again (the virtual scheduling form of the leaky
    /// bucket, ITU-T I.371); `None` before the first event.
    full_at: Option<Instant>,
    held_back: u64,
}

impl EventLimit {
    /// Returns a limit of `burst` events at once, and of one per `interval` in the long run.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            full_at: None,
            held_back: 0,
        }
    }

    /// Returns the number of events held back since the last admitted one if an event is admitted
    /// at `now`; otherwise counts it and returns `None`.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let filled = full_at + self.interval;
        if filled.saturating_duration_since(now) > self.interval * self.burst.max(1) {
            self.held_back += 1;
            return None;
        }
        self.full_at = Some(filled);
        Some(std::mem::take(&mut self.held_back))
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
    fn burst_passes_then_one_event_per_interval_with_the_count_held_back() {
        let start = Instant::now();
        let mut limit = EventLimit::new(3, Duration::from_secs(10));
        for _ in 0..3 {
            assert_eq!(limit.admit(start), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(limit.admit(start), None);
        }
        let later = start + Duration::from_secs(10);
        assert_eq!(limit.admit(later), Some(1000));
        assert_eq!(limit.admit(later), None);
        let much_later = start + Duration::from_secs(1000);
        assert_eq!(limit.admit(much_later), Some(1));
        assert_eq!(limit.admit(much_later), Some(0), "the burst is whole again");
    }
}
