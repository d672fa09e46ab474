//! Wall-clock time as RTCP has it.

use std::time::{Duration, Instant, SystemTime};

/// Seconds from 1900-01-01 to 1970-01-01.
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// A moment in NTP format (RFC 3550 section 4): seconds since 1900 in the upper 32 bits, fractions
/// of a second in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Returns the moment of a system clock. Moments before 1970 are taken as 1970.
    pub fn from_system(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let seconds = since.as_secs().wrapping_add(UNIX_EPOCH_IN_NTP);
        Self(seconds << 32).after(Duration::from_nanos(u64::from(since.subsec_nanos())))
    }

    /// Returns the moment `by` later.
    pub fn after(self, by: Duration) -> Self {
        let fraction = (u64::from(by.subsec_nanos()) << 32) / 1_000_000_000;
        Self(
            self.0
                .wrapping_add(by.as_secs() << 32)
                .wrapping_add(fraction),
        )
    }

    /// Returns the middle 32 bits, as reports quote a sender report (RFC 3550 section 6.4.1, LSR).
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// One reading of both clocks, which ties instants to the wall clock from then on. A step of the
/// system clock later does not reach the viewers.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    instant: Instant,
    ntp: NtpTime,
}

impl WallClock {
    /// Both clocks, read at the same moment.
    pub fn new(instant: Instant, system: SystemTime) -> Self {
        Self {
            instant,
            ntp: NtpTime::from_system(system),
        }
    }

    /// Returns the wall-clock time of an instant after the reading.
    pub fn at(&self, now: Instant) -> NtpTime {
        self.ntp.after(now.saturating_duration_since(self.instant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_epoch_is_seventy_years_after_the_ntp_epoch() {
        assert_eq!(
            NtpTime::from_system(SystemTime::UNIX_EPOCH).0,
            0x83aa_7e80_0000_0000
        );
        let half = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        assert_eq!(NtpTime::from_system(half).0, 0x83aa_7e81_8000_0000);
        assert_eq!(NtpTime(0x1234_5678_9abc_def0).middle(), 0x5678_9abc);
    }
}
