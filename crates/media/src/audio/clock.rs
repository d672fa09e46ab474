//! The times of samples, counted and not read from every frame.

use std::time::Duration;

use crate::MediaTime;

/// How far a frame's own time may be from the time that counting gives before it is believed: more
/// than a frame of AAC, since milliseconds are rounded and encoders jitter by whole frames.
const MAX_DRIFT: Duration = Duration::from_millis(40);

/// Tells the time of incoming samples by counting them from an anchor.
///
/// RTMP's milliseconds jitter; a packet for each 20 ms of sound must not.
#[derive(Clone, Debug)]
pub(super) struct SampleClock {
    anchor: MediaTime,
    /// Samples per channel since the anchor.
    samples: u64,
    rate: u32,
}

impl SampleClock {
    /// A clock for samples at `rate` Hz, the first of which is heard at `anchor`.
    pub(super) fn new(anchor: MediaTime, rate: u32) -> Self {
        Self {
            anchor,
            samples: 0,
            rate,
        }
    }

    /// The time of the next sample.
    pub(super) fn now(&self) -> MediaTime {
        let nanos = u128::from(self.samples) * 1_000_000_000 / u128::from(self.rate.max(1));
        self.anchor + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether a frame that says that it begins at `pts` is the next one.
    pub(super) fn agrees_with(&self, pts: MediaTime) -> bool {
        let now = self.now();
        pts.saturating_since(now) <= MAX_DRIFT && now.saturating_since(pts) <= MAX_DRIFT
    }

    /// Counts samples per channel.
    pub(super) fn advance(&mut self, samples: usize) {
        self.samples += samples as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_does_not_drift_in_a_day() {
        let mut clock = SampleClock::new(MediaTime::from_millis(7), 44_100);
        for _ in 0..86_400 {
            clock.advance(44_100);
        }
        assert_eq!(clock.now(), MediaTime::from_millis(7 + 86_400_000));
    }

    #[test]
    fn jitter_is_overlooked_and_gaps_and_jumps_are_not() {
        let mut clock = SampleClock::new(MediaTime::from_millis(1000), 48_000);
        clock.advance(1024);
        assert!(clock.agrees_with(MediaTime::from_millis(1021)));
        assert!(clock.agrees_with(MediaTime::from_millis(1061)));
        assert!(clock.agrees_with(MediaTime::from_millis(982)));
        assert!(!clock.agrees_with(MediaTime::from_millis(1062)));
        assert!(!clock.agrees_with(MediaTime::from_millis(981)));
        assert!(!clock.agrees_with(MediaTime::from_nanos(i64::MIN)));
    }
}
