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

/// The outcome of a receive call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// Nothing was waiting.
    Nothing,
    /// All datagrams that were waiting.
    All,
    /// As many datagrams as one call receives: more may be waiting.
    Batch,
    /// An error. Datagrams may be waiting behind it, and it may last.
    Error,
}

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

    /// Records the outcome of a call at `now`.
    pub(crate) fn note(&mut self, now: Instant, receipt: Receipt) {
        let began = *self.window.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW {
            // A window without a call in the time after it was none of many.
            let is_long = now.saturating_duration_since(began) >= 2 * WINDOW;
            self.is_paced = self.calls >= MANY && !is_long;
            (self.window, self.calls) = (Some(now), 0);
        }
        self.calls += u32::from(matches!(receipt, Receipt::All | Receipt::Batch));
        self.next = match receipt {
            Receipt::Batch => Some(now),
            Receipt::All if self.is_paced => Some(now + PACE),
            Receipt::All | Receipt::Nothing => None,
            // The kernel may not tell of what is behind it.
            Receipt::Error => Some(now + PACE),
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
                let is_empty = waited.is_none();
                pace.note(
                    due,
                    if is_empty {
                        Receipt::Nothing
                    } else {
                        Receipt::All
                    },
                );
            }
            oldest.get_or_insert(at);
            if pace.poll_timeout().is_none() {
                calls += 1;
                oldest = None;
                pace.note(at, Receipt::All);
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
        pace.note(now, Receipt::Batch);
        assert_eq!(pace.poll_timeout(), Some(now));
        pace.note(now, Receipt::All);
        assert_eq!(pace.poll_timeout(), None);
    }

    #[test]
    fn error_that_lasts_does_not_keep_the_thread_busy() {
        let start = Instant::now();
        let (mut pace, mut now) = (ReceivePace::default(), start);
        let mut calls = 0;
        while now < start + Duration::from_secs(1) {
            calls += 1;
            pace.note(now, Receipt::Error);
            now = pace.poll_timeout().unwrap();
        }
        assert_eq!(calls, 500);
        pace.note(now, Receipt::All);
        assert_eq!(pace.poll_timeout(), None, "errors are no traffic");
    }

    #[test]
    fn pace_ends_with_the_traffic() {
        let start = Instant::now();
        let mut pace = ReceivePace::default();
        for n in 0..1000 {
            pace.note(start + Duration::from_micros(500 * n), Receipt::All);
        }
        let now = start + Duration::from_millis(502);
        assert!(pace.poll_timeout().is_some());
        pace.note(now, Receipt::Nothing);
        assert_eq!(pace.poll_timeout(), None, "nothing has come");
        pace.note(now + Duration::from_secs(5), Receipt::All);
        assert_eq!(pace.poll_timeout(), None, "the first one after a pause");
    }
}
