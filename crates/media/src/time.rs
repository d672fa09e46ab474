//! Media time: a signed distance from an origin that each stream chooses.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// A point on a stream's timeline, in nanoseconds from that timeline's origin.
///
/// RTMP counts milliseconds (Enhanced RTMP adds nanoseconds), RTP counts 90 kHz ticks for video and
/// 48 kHz ticks for Opus. Nanoseconds hold all of them, and signed ones let a presentation time lie
/// before the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The origin of the timeline.
    pub const ZERO: Self = Self(0);

    /// Returns the point `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the point `millis` milliseconds after the origin.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns the nanoseconds from the origin.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns the milliseconds from the origin, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Returns the point `nanos` nanoseconds later, or earlier if they are negative.
    pub const fn shifted(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Returns this point in ticks of a clock that runs at `rate` Hz, rounded to the nearest tick.
    ///
    /// RTP timestamps are this value modulo 2^32: video uses 90 000 Hz (RFC 6184 section 5.1), Opus
    /// 48 000 Hz (RFC 7587 section 4.1).
    pub const fn ticks(self, rate: u32) -> i64 {
        let scaled = self.0 as i128 * rate as i128 + 500_000_000;
        scaled.div_euclid(1_000_000_000) as i64
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        self.shifted(nanos(by))
    }
}

impl Sub<Duration> for MediaTime {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        self.shifted(-nanos(by))
    }
}

/// Returns the nanoseconds of a duration; `i64::MAX` if there are more.
pub fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Returns the nanoseconds from one instant to another: negative ones if `to` is earlier.
pub fn nanos_between(from: Instant, to: Instant) -> i64 {
    // One of them is zero.
    nanos(to.saturating_duration_since(from)) - nanos(from.saturating_duration_since(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_rounded_to_the_nearest() {
        assert_eq!(MediaTime::from_millis(1000).ticks(90_000), 90_000);
        assert_eq!(MediaTime::from_millis(33).ticks(90_000), 2_970);
        assert_eq!(MediaTime::from_nanos(33_333_333).ticks(90_000), 3_000);
        assert_eq!(MediaTime::from_nanos(-33_333_333).ticks(90_000), -3_000);
    }

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "an origin for the simulated clock"
    )]
    fn nanoseconds_between_instants_have_a_sign() {
        let from = Instant::now();
        let to = from + Duration::from_millis(1);
        assert_eq!(nanos_between(from, to), 1_000_000);
        assert_eq!(nanos_between(to, from), -1_000_000);
        assert_eq!(nanos(Duration::MAX), i64::MAX);
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(MediaTime::from_millis(i64::MAX).as_nanos(), i64::MAX);
        let late = MediaTime::from_nanos(i64::MAX) + Duration::from_secs(1);
        assert_eq!(late.as_nanos(), i64::MAX);
        assert_eq!(MediaTime::ZERO.saturating_since(late), Duration::ZERO);
    }
}
