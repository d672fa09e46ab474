//! Keyframes that viewers request of an encoder, besides those of its source.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use distributary_media::MediaTime;
use tokio::time::Instant;

/// Minimum time between a keyframe and one on request.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// Mean interval of keyframes on request, and the number that may come at once. A keyframe costs
/// bits that all viewers of an encoder then lack, and few viewers on poor paths request many.
const MEAN_INTERVAL: Duration = Duration::from_secs(2);
const BURST: u32 = 2;

/// The value if no keyframe is requested.
const NONE: i64 = i64::MIN;

/// The way to request a keyframe of an encoder: the presentation time after which one is needed, in
/// nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct KeyframeRequests(Arc<AtomicI64>);

impl Default for KeyframeRequests {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(NONE)))
    }
}

impl KeyframeRequests {
    /// Requests a keyframe later than `after` as soon as possible.
    pub(crate) fn request(&self, after: MediaTime) {
        self.0.fetch_max(after.as_nanos(), Ordering::Relaxed);
    }

    /// Returns the time after which a keyframe is requested.
    fn after(&self) -> Option<MediaTime> {
        let after = self.0.load(Ordering::Relaxed);
        (after != NONE).then(|| MediaTime::from_nanos(after))
    }

    /// Ends the requests up to the time `after`.
    fn end(&self, after: MediaTime) {
        let orders = (Ordering::Relaxed, Ordering::Relaxed);
        // A later one may have come.
        let _ = self
            .0
            .compare_exchange(after.as_nanos(), NONE, orders.0, orders.1);
    }
}

/// Decides at which frames of its source an encoder makes a keyframe on request.
#[derive(Debug)]
pub(crate) struct KeyframePlan {
    requests: KeyframeRequests,
    /// The last keyframe that went to the encoder, and when.
    last: Option<(MediaTime, Instant)>,
    /// When all keyframes on request so far are made up for ([`MEAN_INTERVAL`] for each).
    settled: Option<Instant>,
}

impl KeyframePlan {
    pub(crate) fn new(requests: KeyframeRequests) -> Self {
        Self {
            requests,
            last: None,
            settled: None,
        }
    }

    /// Records that a keyframe goes to the encoder.
    pub(crate) fn note_keyframe(&mut self, time: MediaTime, now: Instant) {
        self.last = Some((time, now));
    }

    /// Records that the keyframe was made on request.
    pub(crate) fn note_requested(&mut self, now: Instant) {
        let settled = self.settled.map_or(now, |settled| settled.max(now));
        self.settled = Some(settled + MEAN_INTERVAL);
    }

    /// Returns whether a frame is to be made a keyframe: one is requested, and no keyframe so far
    /// is late enough.
    pub(crate) fn is_due(&self, time: MediaTime, now: Instant) -> bool {
        let Some(after) = self.requests.after() else {
            return false;
        };
        if self.last.is_some_and(|(last, _)| last > after) {
            self.requests.end(after);
            return false;
        }
        let is_recent = |(_, last)| now.saturating_duration_since(last) < MIN_INTERVAL;
        let owed = |settled: Instant| settled.saturating_duration_since(now);
        let may = self
            .settled
            .is_none_or(|settled| owed(settled) <= MEAN_INTERVAL * (BURST - 1));
        time > after && may && !self.last.is_some_and(is_recent)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Returns the times of the keyframes within ten seconds of frames every 20 ms, if viewers
    /// request one `request`, and the source has one after 300 ms.
    fn keyframes(request: impl Fn(i64) -> Option<i64>) -> Vec<i64> {
        let requests = KeyframeRequests::default();
        let mut plan = KeyframePlan::new(requests.clone());
        let begin = Instant::now();
        let mut keyframes = Vec::new();
        for millis in (0..10_000).step_by(20) {
            if let Some(after) = request(millis) {
                requests.request(MediaTime::from_millis(after));
            }
            let now = begin + Duration::from_millis(millis as u64);
            let time = MediaTime::from_millis(millis);
            let is_requested = plan.is_due(time, now);
            if is_requested {
                plan.note_requested(now);
            }
            if millis == 300 || is_requested {
                plan.note_keyframe(time, now);
                keyframes.push(millis);
            }
        }
        keyframes
    }

    #[test]
    fn requests_of_many_viewers_make_few_keyframes() {
        let always = |millis: i64| (millis >= 100).then_some(millis - 1);
        let expected = [100, 300, 800, 2100, 4100, 6100, 8100];
        assert_eq!(keyframes(always), expected);
    }

    #[test]
    fn request_is_satisfied_by_any_keyframe_that_is_late_enough() {
        let at = |at: i64, after: i64| move |millis| (millis == at).then_some(after);
        assert_eq!(keyframes(at(1000, 299)), [300], "it is there");
        assert_eq!(keyframes(at(1000, 300)), [300, 1000]);
        assert_eq!(keyframes(at(1000, 1100)), [300, 1120], "not before");
        let early = |millis| (millis == 0).then_some(200);
        assert_eq!(keyframes(early), [220, 300]);
        let twice = |millis| [1000, 1060].contains(&millis).then_some(990);
        assert_eq!(keyframes(twice), [300, 1000], "the other viewer has it too");
    }
}
