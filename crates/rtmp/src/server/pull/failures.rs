//! Pulls that have just failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_names::StreamName;
use tokio::time::Instant;

/// Time for which a failed pull is not repeated: initial and maximum. Each failure in a row doubles
/// it. A viewer sees a stream that has just begun this much later at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));

/// Time after the backoff for which a failure is remembered.
const MEMORY: Duration = Duration::from_secs(30);

/// Maximum number of remembered failures. Past it the one whose backoff ends first is forgotten.
const MAX_FAILURES: usize = 4096;

/// The streams that could not be pulled, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<StreamName, Failure>>);

#[derive(Debug)]
struct Failure {
    reason: Arc<str>,
    backoff: Duration,
    /// End of the backoff.
    until: Instant,
}

impl Failures {
    /// Notes a failed pull.
    pub(super) fn note(&self, name: &StreamName, reason: &str) {
        let now = Instant::now();
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (initial, longest) = BACKOFF;
        let before = failures.get(name).filter(|failure| failure.is_recent(now));
        let backoff = before.map_or(initial, |failure| (failure.backoff * 2).min(longest));
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
            backoff,
            until: now + backoff,
        };
        failures.insert(name.clone(), failure);
    }

    /// Forgets the failures of a stream.
    pub(super) fn forget(&self, name: &StreamName) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(name);
    }

    /// Returns the reason of the last failure while a stream must not be pulled; `None` if it may
    /// be.
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
    async fn repeated_failures_double_the_backoff() {
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
    async fn number_of_failures_is_bounded_and_the_oldest_are_forgotten() {
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
