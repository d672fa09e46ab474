//! Keyframes that viewers request of an encoder, besides those of its source.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between a keyframe and one on request: viewers cannot make an encoder spend all its
/// bits on keyframes.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// The way to request a keyframe of an encoder.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyframeRequests(Arc<AtomicBool>);

impl KeyframeRequests {
    /// Requests a keyframe as soon as possible.
    pub(crate) fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Decides at which frames of its source an encoder makes a keyframe on request.
#[derive(Debug)]
pub(crate) struct KeyframePlan {
    requests: KeyframeRequests,
    /// When the last keyframe went to the encoder.
    last: Option<Instant>,
}

impl KeyframePlan {
    pub(crate) fn new(requests: KeyframeRequests) -> Self {
        Self {
            requests,
            last: None,
        }
    }

    /// Records that a keyframe goes to the encoder, which answers all requests so far.
    pub(crate) fn note_keyframe(&mut self, now: Instant) {
        self.last = Some(now);
        self.requests.0.store(false, Ordering::Relaxed);
    }

    /// Returns whether a keyframe is requested and the last one is not too new.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let is_recent = |last| now.saturating_duration_since(last) < MIN_INTERVAL;
        self.requests.0.load(Ordering::Relaxed) && !self.last.is_some_and(is_recent)
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
    fn requests_of_many_viewers_make_one_keyframe_at_a_time() {
        let requests = KeyframeRequests::default();
        let mut plan = KeyframePlan::new(requests.clone());
        let begin = Instant::now();
        let mut keyframes = Vec::new();
        for millis in (0..2000).step_by(20) {
            if millis >= 100 {
                requests.request();
            }
            let now = begin + Duration::from_millis(millis);
            // The source has one after 300 ms.
            if millis == 300 || plan.is_due(now) {
                plan.note_keyframe(now);
                keyframes.push(millis);
            }
        }
        assert_eq!(keyframes, [100, 300, 800, 1300, 1800]);
    }
}
