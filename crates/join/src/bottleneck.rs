//! The slowest link of a path, with a queue in front of it.

use std::time::{Duration, Instant};

/// Properties of the slowest link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bottleneck {
    /// Megabits per second, IP headers included.
    pub(crate) megabits: f64,
    /// The longest time that a packet waits: the queue drops packets that would wait longer.
    pub(crate) queue: Duration,
}

/// The link in use. It keeps no packet: it says when each leaves.
#[derive(Debug)]
pub(crate) struct Link {
    bottleneck: Bottleneck,
    /// When the last packet admitted will have left; `None` before the first.
    free_at: Option<Instant>,
}

impl Link {
    /// Creates an idle link.
    pub(crate) fn new(bottleneck: Bottleneck) -> Self {
        Self {
            bottleneck,
            free_at: None,
        }
    }

    /// Returns the link with other properties and the same queue.
    pub(crate) fn changed(self, bottleneck: Bottleneck) -> Self {
        Self { bottleneck, ..self }
    }

    /// Returns when a packet of `length` bytes that arrives at `now` has left the link; `None` if
    /// the queue is full.
    pub(crate) fn departure(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        if start.saturating_duration_since(now) > self.bottleneck.queue {
            return None;
        }
        let seconds = 8.0 * length as f64 / (1e6 * self.bottleneck.megabits);
        let departure = start + Duration::from_secs_f64(seconds);
        self.free_at = Some(departure);
        Some(departure)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "any moment will do to begin with"
)]
mod tests {
    use super::*;

    /// 1 000 bytes take 1 ms on it.
    const LINK: Bottleneck = Bottleneck {
        megabits: 8.0,
        queue: Duration::from_millis(2),
    };

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn packets_leave_at_the_rate_of_the_link() {
        let now = Instant::now();
        let mut link = Link::new(LINK);
        let departures = [0, 0, 0].map(|_| link.departure(now, 1000));
        assert_eq!(
            departures,
            [1, 2, 3].map(|place| Some(now + place * MILLISECOND))
        );
        let later = now + 10 * MILLISECOND;
        assert_eq!(link.departure(later, 500), Some(later + MILLISECOND / 2));
    }

    #[test]
    fn full_queue_drops_until_it_drains() {
        let now = Instant::now();
        let mut link = Link::new(LINK);
        let admitted = (0..10).filter_map(|_| link.departure(now, 1000)).count();
        assert_eq!(admitted, 3, "one on the link and two that wait");
        assert!(link.departure(now + MILLISECOND, 1000).is_some());
        assert!(link.departure(now + MILLISECOND, 1000).is_none());
    }
}
