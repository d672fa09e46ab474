//! Requests for keyframes of a rendition, gathered to few.

use std::time::Duration;

use distributary_media::MediaTime;
use tokio::time::{Instant, sleep_until};

/// Minimum time from one request that is passed on to the next.
const INTERVAL: Duration = Duration::from_millis(100);

/// Requests for keyframes of a rendition, gathered to few: one for the latest time satisfies all.
#[derive(Debug)]
pub(crate) struct KeyframeRequests {
    /// The time after which a keyframe is requested.
    after: Option<MediaTime>,
    /// The next request is not passed on before.
    due: Instant,
}

impl KeyframeRequests {
    pub(crate) fn new() -> Self {
        Self {
            after: None,
            due: Instant::now(),
        }
    }

    /// Adds a request for a keyframe that is later than `after`.
    pub(crate) fn add(&mut self, after: MediaTime) {
        self.after = self.after.max(Some(after));
    }

    /// Completes when a request is to be passed on. It may be dropped and called again.
    pub(crate) async fn due(&self) {
        match self.after {
            Some(_) => sleep_until(self.due).await,
            None => std::future::pending().await,
        }
    }

    /// Returns the time after which a keyframe is requested, if one is. The next request is due later.
    pub(crate) fn take(&mut self) -> Option<MediaTime> {
        self.due = Instant::now() + INTERVAL;
        self.after.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn requests_of_many_viewers_are_passed_on_as_few() {
        let mut requests = KeyframeRequests::new();
        assert!(requests.due().now_or_never().is_none(), "there is none");
        requests.add(MediaTime::from_millis(5));
        requests.due().await;
        assert_eq!(requests.take(), Some(MediaTime::from_millis(5)));
        let began = Instant::now();
        for millis in [20, 40, 30] {
            requests.add(MediaTime::from_millis(millis));
        }
        requests.due().await;
        assert_eq!(began.elapsed(), INTERVAL);
        assert_eq!(requests.take(), Some(MediaTime::from_millis(40)));
        assert_eq!(requests.take(), None);
    }
}
