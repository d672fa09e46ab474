//! The place of an owner's timeline on the clock of a node that joins.

use std::time::{Duration, Instant};

use distributary_media::MediaTime;
use serde::{Deserialize, Serialize};

/// Age beyond which a frame counts as no older. The keyframe of a stream with intra refresh can be
/// hours old, and is of no use for measuring.
const MAX_BACK: Duration = Duration::from_secs(60);

/// The place at which a node joins a stream, as its owner describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The number of the owner's timeline: frames of two epochs are on one timeline if it is the
    /// same.
    pub(crate) timeline: u64,
    /// The present on this timeline, in nanoseconds: the decoding time of the newest frame, and the
    /// time that has passed since it arrived.
    pub(crate) present: i64,
    /// Decoding time of the first cached frame that is followed without a gap, in nanoseconds.
    #[serde(default)]
    pub(crate) since: Option<i64>,
}

impl Place {
    /// Returns the media time from a cached frame to the present. A keyframe that others do not follow
    /// without a gap counts as the first one that is followed so.
    pub(crate) fn behind(&self, frame: MediaTime) -> Duration {
        let since = self.since.map(MediaTime::from_nanos);
        let first = since.map_or(frame, |since| frame.max(since));
        MediaTime::from_nanos(self.present).saturating_since(first)
    }
}

/// A time on an owner's timeline, and the moment that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) time: MediaTime,
    pub(crate) at: Instant,
}

impl Anchor {
    /// Returns the time at which a frame arrived at its owner.
    pub(crate) fn arrival(&self, frame: MediaTime) -> Instant {
        let age = self.time.saturating_since(frame).min(MAX_BACK);
        self.at.checked_sub(age).unwrap_or(self.at)
    }

    /// Returns the anchor at the time of a frame: the origin of the timeline that begins with it.
    pub(crate) fn at_frame(&self, frame: MediaTime) -> Self {
        let age = self.time.saturating_since(frame).min(MAX_BACK);
        match self.at.checked_sub(age) {
            Some(at) => Self {
                time: self.time - age,
                at,
            },
            None => *self,
        }
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
    fn frames_arrived_before_the_present_by_their_distance_from_it() {
        let at = Instant::now() + 2 * MAX_BACK;
        let hours = MediaTime::from_millis(3 * 3_600_000);
        let anchor = Anchor { time: hours, at };
        let second = Duration::from_secs(1);
        assert_eq!(anchor.arrival(hours - second), at - second);
        assert_eq!(anchor.arrival(MediaTime::ZERO), at - MAX_BACK);
        assert_eq!(anchor.arrival(hours + second), at, "never in the future");
        let origin = anchor.at_frame(MediaTime::ZERO);
        assert_eq!((origin.time, origin.at), (hours - MAX_BACK, at - MAX_BACK));
    }

    #[test]
    fn place_tells_how_far_behind_a_frame_is() {
        let place = |since| Place {
            timeline: 1,
            present: 3_000_000_000,
            since,
        };
        let behind = |since, millis| place(since).behind(MediaTime::from_millis(millis));
        let seconds = Duration::from_secs;
        assert_eq!(behind(Some(1_000_000_000), 1_000), seconds(2));
        assert_eq!(behind(Some(1_000_000_000), 2_000), seconds(1));
        assert_eq!(behind(Some(2_000_000_000), 0), seconds(1), "intra refresh");
        assert_eq!(behind(Some(1_000_000_000), 5_000), seconds(0));
        assert_eq!(behind(None, 1_000), seconds(2));
        assert_eq!(behind(Some(i64::MAX), 0), seconds(0));
    }
}
