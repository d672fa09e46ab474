//! Limits the number of incomplete DTLS handshakes.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use distributary_net::{Displaced, FairPermit, FairQuota, Full};

/// Maximum number of incomplete handshakes. OpenSSL holds some 71 KiB for each, so all together
/// have 80 MiB at most, with the eighth more that is about to end. At the limit, a newcomer ends
/// the oldest handshake of the address that has the most. A newcomer from that address itself
/// waits: the checks of its viewer, which repeats them several times a second, go unanswered until
/// another handshake completes or ends.
pub(crate) const MAX_HANDSHAKES: usize = 1000;

/// Maximum number of incomplete handshakes of one address, by the source of the offer: a check can
/// have a forged source. An IPv6 /64 network counts as one address. A session over the limit waits.
pub(crate) const MAX_HANDSHAKES_PER_ADDRESS: usize = 250;

/// Least time between two warnings of the same kind.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Counts the handshakes under way.
pub(crate) struct Handshakes {
    quota: FairQuota,
    waiting: Warning,
    displaced: Warning,
}

/// A warning that is logged at most once per interval.
#[derive(Default)]
struct Warning(Mutex<Option<Instant>>);

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            quota: FairQuota::new(MAX_HANDSHAKES, MAX_HANDSHAKES_PER_ADDRESS),
            waiting: Warning::default(),
            displaced: Warning::default(),
        }
    }
}

impl Handshakes {
    /// Returns the number of incomplete handshakes.
    pub(crate) fn count(&self) -> usize {
        self.quota.count()
    }

    /// Starts a handshake of a session whose offer came from `address`, if the limits admit
    /// another. It counts until the permit is dropped, and must end when the permit is revoked.
    pub(crate) fn begin(&self, address: Option<IpAddr>, now: Instant) -> Option<FairPermit> {
        match self.quota.take(address, now) {
            Ok(permit) => {
                if let Some(displaced) = permit.displaces() {
                    self.warn_of_displaced(displaced, now);
                }
                Some(permit)
            }
            Err(full) => {
                self.warn_of_waiting(full, now);
                None
            }
        }
    }

    /// Returns the number of incomplete handshakes.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn taken(&self) -> usize {
        self.quota.taken()
    }

    fn warn_of_displaced(&self, Displaced { address, had }: Displaced, now: Instant) {
        if self.displaced.is_due(now) {
            let address = address.map(tracing::field::display);
            tracing::warn!(
                address,
                had,
                "{MAX_HANDSHAKES} DTLS handshakes are incomplete: the oldest of the address that has the most \
                 ends for each newcomer"
            );
        }
    }

    fn warn_of_waiting(&self, full: Full, now: Instant) {
        if self.waiting.is_due(now) {
            let under_way = self.quota.taken();
            tracing::warn!(under_way, "viewers wait for their DTLS handshake: {full}");
        }
    }
}

impl Warning {
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < WARNING_INTERVAL;
        let is_due = !last.is_some_and(is_recent);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    #[test]
    fn handshakes_of_few_addresses_do_not_lock_out_others() {
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
        // Others are admitted, each in place of the oldest of the address that has the most.
        let first = handshakes.begin(address(99), now).unwrap();
        let second = handshakes.begin(None, now).unwrap();
        for newcomer in [&first, &second] {
            assert!(!newcomer.revocation().is_revoked());
        }
        let is_revoked = |at: usize| under_way[at].revocation().is_revoked();
        let revoked: Vec<usize> = (0..MAX_HANDSHAKES).filter(|at| is_revoked(*at)).collect();
        assert_eq!(revoked, [0, MAX_HANDSHAKES_PER_ADDRESS]);
        assert_eq!(handshakes.quota.taken(), MAX_HANDSHAKES);
        drop((first, second, under_way));
        assert_eq!(handshakes.quota.taken(), 0);
    }

    #[test]
    fn warnings_are_rare() {
        let (warning, now) = (Warning::default(), Instant::now());
        assert!(warning.is_due(now));
        assert!(!warning.is_due(now + WARNING_INTERVAL / 2));
        assert!(warning.is_due(now + WARNING_INTERVAL));
    }
}
