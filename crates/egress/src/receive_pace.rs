//! When a shard receives.
//!
//! A thread that sleeps until the next datagram is woken for each one, which costs more than to
//! handle it. Where many come, they are received together every [`PACE`]: feedback of viewers is tens
//! of milliseconds old when it leaves them. Where few come, each is received at once.

use std::time::{Duration, Instant};

/// Time between two receive calls while many datagrams come.
const PACE: Duration = Duration::from_millis(2);

/// Time over which the calls are counted, and their number from which on many datagrams come.
const WINDOW: Duration = Duration::from_millis(100);
const MANY: u32 = 25;

/// Decides when a shard receives.
#[derive(Debug, Default)]
pub(crate) struct ReceivePace {
    /// When the window began, and the calls since then that have received something.
    window: Option<Instant>,
    calls: u32,
    /// True if there were many in the last window.
    is_paced: bool,
    /// When to receive next; `None` to wait until something has come.
    next: Option<Instant>,
}

impl ReceivePace {
    /// Returns when to receive; `None` as soon as something has come.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Records a call at `now`: whether it has received anything, and whether more may be waiting.
    pub(crate) fn note(&mut self, now: Instant, has_received: bool, is_more: bool) {
        let began = *self.window.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW {
            // A window without a call in the time after it was none of many.
            let is_long = now.saturating_duration_since(began) >= 2 * WINDOW;
            self.is_paced = self.calls >= MANY && !is_long;
            (self.window, self.calls) = (Some(now), 0);
        }
        self.calls += u32::from(has_received);
        self.next = match (is_more, has_received && self.is_paced) {
            (true, _) => Some(now),
            (false, true) => Some(now + PACE),
            (false, false) => None,
        };
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Returns the number of calls in a second in which a datagram comes every `interval`, and the
    /// longest time that one has waited.
    fn calls(interval: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let mut pace = ReceivePace::default();
        let (mut calls, mut longest) = (0, Duration::ZERO);
        let mut oldest: Option<Instant> = None;
        let count = Duration::from_secs(1).as_micros() / interval.as_micros();
        for n in 0..count as u32 {
            let at = start + interval * n;
            if let Some(due) = pace.poll_timeout().filter(|due| *due <= at) {
                calls += 1;
                let waited = oldest
                    .take()
                    .map(|oldest| due.saturating_duration_since(oldest));
                longest = longest.max(waited.unwrap_or_default());
                pace.note(due, waited.is_some(), false);
            }
            oldest.get_or_insert(at);
            if pace.poll_timeout().is_none() {
                calls += 1;
                oldest = None;
                pace.note(at, true, false);
            }
        }
        (calls, longest)
    }

    #[test]
    fn datagrams_are_received_at_once_where_few_come() {
        assert_eq!(calls(Duration::from_millis(10)), (100, Duration::ZERO));
        assert_eq!(calls(Duration::from_millis(5)), (200, Duration::ZERO));
    }

    #[test]
    fn datagrams_are_received_together_where_many_come_and_wait_shortly() {
        for micros in [10, 50, 200, 500] {
            let (calls, longest) = calls(Duration::from_micros(micros));
            let at_first = WINDOW.as_micros() as u32 / micros as u32;
            assert!(calls <= at_first + 500, "{micros}: {calls}");
            assert!(longest <= PACE, "{micros}: {longest:?}");
        }
    }

    #[test]
    fn full_batch_is_followed_by_the_next_at_once() {
        let now = Instant::now();
        let mut pace = ReceivePace::default();
        pace.note(now, true, true);
        assert_eq!(pace.poll_timeout(), Some(now));
        pace.note(now, true, false);
        assert_eq!(pace.poll_timeout(), None);
    }

    #[test]
    fn pace_ends_with_the_traffic() {
        let start = Instant::now();
        let mut pace = ReceivePace::default();
        for n in 0..1000 {
            pace.note(start + Duration::from_micros(500 * n), true, false);
        }
        let now = start + Duration::from_millis(502);
        assert!(pace.poll_timeout().is_some());
        pace.note(now, false, false);
        assert_eq!(pace.poll_timeout(), None, "nothing has come");
        pace.note(now + Duration::from_secs(5), true, false);
        assert_eq!(pace.poll_timeout(), None, "the first one after a pause");
    }
}
