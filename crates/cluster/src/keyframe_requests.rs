//! Requests for keyframes of a rendition, gathered to few.

use std::time::Duration;

use distributary_media::MediaTime;
use tokio::time::{Instant, sleep_until};

/// Minimum time from one request that is passed on to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// Time for which a request that is open holds up the next one.
const MAX_OPEN: Duration = Duration::from_secs(2);

/// Requests for keyframes of a rendition, gathered to few: one for the latest time satisfies all.
#[derive(Debug)]
pub(crate) struct KeyframeRequests {
    /// The time after which a keyframe is requested.
    after: Option<MediaTime>,
    /// The next request is not passed on before.
    due: Instant,
    open: Option<Open>,
}

/// A request that was passed on, until its keyframe comes.
#[derive(Debug)]
struct Open {
    after: MediaTime,
    until: Instant,
}

impl KeyframeRequests {
    pub(crate) fn new() -> Self {
        Self {
            after: None,
            due: Instant::now(),
            open: None,
        }
    }

    /// Adds a request for a keyframe that is later than `after`.
    pub(crate) fn add(&mut self, after: MediaTime) {
        self.after = self.after.max(Some(after));
    }

    /// Completes when a request is to be passed on. It may be dropped and called again.
    pub(crate) async fn due(&self) {
        match self.after {
            Some(_) => {
                let until = self.open.as_ref().map(|open| open.until);
                sleep_until(until.map_or(self.due, |until| until.max(self.due))).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Returns the time after which a keyframe is requested, if one is. The next request is due later.
    pub(crate) fn take(&mut self) -> Option<MediaTime> {
        self.due = Instant::now() + INTERVAL;
        self.open = None;
        self.after.take()
    }

    /// Lets the next request wait until a keyframe has come that is later than `after`, though not for
    /// ever. An encoder would take it as a request for a later one, so that with many of them none comes.
    pub(crate) fn await_keyframe(&mut self, after: MediaTime) {
        let until = Instant::now() + MAX_OPEN;
        self.open = Some(Open { after, until });
    }

    /// Notes that a keyframe has come. What it satisfies is requested no more.
    pub(crate) fn note_keyframe(&mut self, pts: MediaTime) {
        self.open.take_if(|open| open.after < pts);
        self.after.take_if(|after| *after < pts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    const fn at(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_many_viewers_are_passed_on_as_few() {
        let mut requests = KeyframeRequests::new();
        assert!(requests.due().now_or_never().is_none(), "there is none");
        requests.add(at(5));
        requests.due().await;
        assert_eq!(requests.take(), Some(at(5)));
        let began = Instant::now();
        for millis in [20, 40, 30] {
            requests.add(at(millis));
        }
        requests.due().await;
        assert_eq!(began.elapsed(), INTERVAL);
        assert_eq!(requests.take(), Some(at(40)));
        assert_eq!(requests.take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn request_waits_for_the_keyframe_of_the_one_before() {
        let mut requests = KeyframeRequests::new();
        requests.await_keyframe(at(100));
        requests.add(at(200));
        let began = Instant::now();
        requests.note_keyframe(at(100));
        requests.due().await;
        assert_eq!(
            began.elapsed(),
            MAX_OPEN,
            "that keyframe is not late enough"
        );
        assert_eq!(requests.take(), Some(at(200)));

        requests.await_keyframe(at(200));
        requests.add(at(300));
        let began = Instant::now();
        requests.note_keyframe(at(240));
        requests.due().await;
        assert_eq!(began.elapsed(), INTERVAL);
        assert_eq!(requests.take(), Some(at(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn keyframe_satisfies_the_requests_that_wait() {
        let mut requests = KeyframeRequests::new();
        requests.await_keyframe(at(100));
        requests.add(at(120));
        requests.note_keyframe(at(140));
        assert_eq!(requests.take(), None);
    }
}
