//! Handshakes that are not complete, of which there are only so many.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::places::{Place, Places};

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
    count: Arc<AtomicUsize>,
    by_address: Arc<Places>,
    warned: Mutex<Option<Instant>>,
}

/// A handshake under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    count: Arc<AtomicUsize>,
    _place: Option<Place>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self {
            count: Arc::default(),
            by_address: Places::new(MAX_HANDSHAKES_PER_ADDRESS),
            warned: Mutex::default(),
        }
    }
}

impl Handshakes {
    /// Begins a handshake of a session whose offer came from `address`, if there may be another.
    pub(crate) fn begin(&self, address: Option<IpAddr>, now: Instant) -> Option<Handshake> {
        let place = address.map(|address| self.by_address.take(address));
        let Ok(place) = place.transpose() else {
            self.warn(now);
            return None;
        };
        if self.count.fetch_add(1, Ordering::Relaxed) >= MAX_HANDSHAKES {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.warn(now);
            return None;
        }
        Some(Handshake {
            count: Arc::clone(&self.count),
            _place: place,
        })
    }

    fn warn(&self, now: Instant) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant| now.saturating_duration_since(at) < WARNING_INTERVAL;
        if !warned.is_some_and(is_recent) {
            *warned = Some(now);
            tracing::warn!(
                under_way = self.count.load(Ordering::Relaxed),
                "viewers wait: as many DTLS handshakes are under way as there may be in all \
                 ({MAX_HANDSHAKES}) or for one address ({MAX_HANDSHAKES_PER_ADDRESS})"
            );
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
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
        assert_eq!(handshakes.count.load(Ordering::Relaxed), 0);
    }
}
