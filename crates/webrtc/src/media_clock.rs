//! The clocks of a stream.

use std::time::{Duration, Instant};

use distributary_media::{MediaTime, nanos};

use crate::rtcp::NtpTime;
use crate::rtcp::ntp::WallClock;

/// The clocks of a stream, for its sender reports.
#[derive(Clone, Copy, Debug)]
pub struct MediaClock {
    /// Origin of the stream's timeline.
    pub epoch: Instant,
    /// The wall clock.
    pub wall: WallClock,
}

impl MediaClock {
    /// Returns the time from a point of the stream's timeline to `now`, in nanoseconds: less than zero if it
    /// is yet to come.
    pub fn age(&self, time: MediaTime, now: Instant) -> i64 {
        nanos(now.saturating_duration_since(self.epoch)).saturating_sub(time.as_nanos())
    }

    /// Returns the wall-clock time of a point of the stream's timeline.
    pub fn ntp_of(&self, time: MediaTime) -> NtpTime {
        let nanos = Duration::from_nanos(time.as_nanos().unsigned_abs());
        let moment = if time < MediaTime::ZERO {
            self.epoch.checked_sub(nanos)
        } else {
            self.epoch.checked_add(nanos)
        };
        self.wall.at(moment.unwrap_or(self.epoch))
    }
}
