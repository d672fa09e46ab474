//! What could not be pulled a moment ago.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_names::StreamName;
use tokio::time::Instant;

/// For how long a stream that could not be had is not asked for again: at first, and at most. Each
/// failure in a row doubles it. It bounds how late a viewer sees a stream that has just begun.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));

/// After this time without another one a failure is forgotten.
const MEMORY: Duration = Duration::from_secs(30);

/// Most failures that are remembered. When there are more, the one that ends first is forgotten.
const MAX_FAILURES: usize = 4096;

/// The streams that could not be pulled, and why.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<StreamName, Failure>>);

#[derive(Debug)]
struct Failure {
    reason: Arc<str>,
    pause: Duration,
    /// Until when the stream is not asked for again.
    until: Instant,
}

impl Failures {
    /// Notes that a stream could not be had.
    pub(super) fn note(&self, name: &StreamName, reason: &str) {
        let now = Instant::now();
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, longest) = PAUSE;
        let before = failures.get(name).filter(|failure| failure.is_recent(now));
        let pause = before.map_or(first, |failure| (failure.pause * 2).min(longest));
        if failures.len() >= MAX_FAILURES && !failures.contains_key(name) {
            failures.retain(|_, failure| failure.is_recent(now));
        }
        if failures.len() >= MAX_FAILURES && !failures.contains_key(name) {
            let oldest = failures.iter().min_by_key(|(_, failure)| failure.until);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                failures.remove(&oldest);
            }
        }
        let failure = Failure {
            reason: reason.into(),
            pause,
            until: now + pause,
        };
        failures.insert(name.clone(), failure);
    }

    /// Forgets a stream that was had.
    pub(super) fn forget(&self, name: &StreamName) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(name);
    }

    /// Returns the reason why a stream is not requested now; `None` if it may be.
    pub(super) fn reason(&self, name: &StreamName) -> Option<Arc<str>> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = failures.get(name)?;
        (Instant::now() < failure.until).then(|| Arc::clone(&failure.reason))
    }
}

impl Failure {
    fn is_recent(&self, now: Instant) -> bool {
        now < self.until + MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_fails_again_and_again_is_asked_for_less_often() {
        let (failures, a) = (Failures::default(), name("live/a"));
        for seconds in [1, 2, 4, 4] {
            failures.note(&a, "not there");
            assert_eq!(failures.reason(&a).as_deref(), Some("not there"));
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert_eq!(failures.reason(&a), None, "after {seconds} s");
        }
        assert_eq!(failures.reason(&name("live/b")), None);
        failures.note(&a, "not there");
        failures.forget(&a);
        assert_eq!(failures.reason(&a), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_old_failures_go_first() {
        let failures = Failures::default();
        for n in 0..2 * MAX_FAILURES {
            failures.note(&name(&format!("live/{n}")), "not there");
            tokio::time::advance(Duration::from_micros(1)).await;
        }
        assert_eq!(failures.0.lock().unwrap().len(), MAX_FAILURES);
        let newest = name(&format!("live/{}", 2 * MAX_FAILURES - 1));
        assert!(failures.reason(&newest).is_some());
        assert!(failures.reason(&name("live/0")).is_none());
    }
}
