//! When a flight of the handshake is retransmitted.

use std::time::{Duration, Instant};

/// First retransmission timeout while the round trip is not known, and the longest one if it is.
/// RFC 6347 section 4.2.4.1 suggests a second and allows less if that suits the use: a viewer is
/// waiting, and a flight is some two kilobytes to an address that has proved itself.
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);

/// Least time that the peer has to answer after a round trip: a phone needs it to sign.
const MIN_MARGIN: Duration = Duration::from_millis(50);

/// Longest retransmission timeout.
const MAX_TIMEOUT: Duration = Duration::from_millis(3200);

/// Returns the first retransmission timeout of a flight: half a round trip more than the answer
/// takes.
pub(super) fn first_timeout(round_trip: Option<Duration>) -> Duration {
    round_trip.map_or(FIRST_TIMEOUT, |time| {
        let answered = time.saturating_add((time / 2).max(MIN_MARGIN));
        answered.min(FIRST_TIMEOUT)
    })
}

/// The retransmission timer of a flight; its timeout doubles each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResendTimer {
    sent: Instant,
    timeout: Duration,
    is_repeated: bool,
}

impl ResendTimer {
    /// Creates the timer of a flight that is sent now for the first time.
    pub(super) fn new(now: Instant, round_trip: Option<Duration>) -> Self {
        Self {
            sent: now,
            timeout: first_timeout(round_trip),
            is_repeated: false,
        }
    }

    /// Returns when the flight is to be retransmitted.
    pub(super) fn due(self) -> Instant {
        self.sent + self.timeout
    }

    /// Returns the timer after a retransmission now.
    pub(super) fn repeated(self, now: Instant) -> Self {
        Self {
            sent: now,
            timeout: (self.timeout * 2).min(MAX_TIMEOUT),
            is_repeated: true,
        }
    }

    /// Records the round trip, unless the flight has been retransmitted already.
    pub(super) fn note_round_trip(&mut self, round_trip: Duration) {
        if !self.is_repeated {
            self.timeout = first_timeout(Some(round_trip));
        }
    }

    /// Returns the round trip of a flight that is answered now; `None` if it was sent more than
    /// once, so that it is not known which one is answered (RFC 6298 section 3).
    pub(super) fn round_trip(&self, now: Instant) -> Option<Duration> {
        let is_known = !self.is_repeated;
        is_known.then(|| now.saturating_duration_since(self.sent))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    #[test]
    fn first_timeout_follows_the_round_trip_within_bounds() {
        let millis = Duration::from_millis;
        assert_eq!(first_timeout(None), millis(200));
        for (round_trip, timeout) in [(0, 50), (30, 80), (100, 150), (120, 180), (400, 200)] {
            let round_trip = Some(millis(round_trip));
            assert_eq!(first_timeout(round_trip), millis(timeout), "{round_trip:?}");
        }
        assert_eq!(first_timeout(Some(Duration::MAX)), millis(200));
    }

    #[test]
    fn timeout_doubles_and_a_round_trip_is_measured_on_the_first_transmission_only() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timer = ResendTimer::new(start, None);
        timer.note_round_trip(Duration::from_millis(20));
        assert_eq!(timer.due(), at(70));
        assert_eq!(timer.round_trip(at(30)), Some(Duration::from_millis(30)));

        let mut timer = timer.repeated(at(70));
        timer.note_round_trip(Duration::from_millis(20));
        assert_eq!(timer.due(), at(210), "140 ms after the second transmission");
        assert_eq!(timer.round_trip(at(100)), None);
        for _ in 0..10 {
            timer = timer.repeated(start);
        }
        assert_eq!(timer.due(), at(3200));
    }
}
