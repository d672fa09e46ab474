//! Handshakes that are not complete, of which there are only so many.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use distributary_net::{Full, Permit, Quota};

/// Handshakes under way at the same time. OpenSSL holds some 71 KiB for each, so that all together have
/// 71 MiB at most. A session that would make it more waits: the checks of its viewer, who repeats them
/// several times a second, go unanswered until another handshake is complete or given up.
pub(crate) const MAX_HANDSHAKES: usize = 1000;

/// Those of them of one address, an IPv6 /64 network counting as one, by where the offer came from: a
/// check can have a forged source.
pub(crate) const MAX_HANDSHAKES_PER_ADDRESS: usize = 250;

/// Least time between two warnings that handshakes wait.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Counts the handshakes under way.
pub(crate) struct Handshakes {
    quota: Quota,
    warned: Mutex<Option<Instant>>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            quota: Quota::new(MAX_HANDSHAKES, MAX_HANDSHAKES_PER_ADDRESS),
            warned: Mutex::default(),
        }
    }
}

impl Handshakes {
    /// Begins a handshake of a session whose offer came from `address`, if there may be another. It counts until
    /// the permit is dropped.
    pub(crate) fn begin(&self, address: Option<IpAddr>, now: Instant) -> Option<Permit> {
        self.quota
            .take(address)
            .map_err(|full| self.warn(full, now))
            .ok()
    }

    fn warn(&self, full: Full, now: Instant) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < WARNING_INTERVAL;
        if !warned.is_some_and(is_recent) {
            *warned = Some(now);
            let under_way = self.quota.taken();
            tracing::warn!(under_way, "viewers wait for their DTLS handshake: {full}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_bounded_in_all_and_for_each_address() {
        let (handshakes, now) = (Handshakes::default(), Instant::now());
        let address = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let mut under_way = Vec::new();
        let addresses = MAX_HANDSHAKES / MAX_HANDSHAKES_PER_ADDRESS;
        for n in 0..addresses as u8 {
            for _ in 0..MAX_HANDSHAKES_PER_ADDRESS {
                under_way.push(handshakes.begin(address(n), now).unwrap());
            }
            assert!(handshakes.begin(address(n), now).is_none());
        }
        assert!(handshakes.begin(address(99), now).is_none(), "all together");
        assert!(handshakes.begin(None, now).is_none());
        // One that is over makes room, for its address and for others.
        under_way.pop();
        let other = handshakes.begin(address(99), now).unwrap();
        drop(other);
        assert!(
            handshakes
                .begin(address(addresses as u8 - 1), now)
                .is_some()
        );
        drop(under_way);
        assert_eq!(handshakes.quota.taken(), 0);
    }
}
