//! Connections on which nobody has proved to be a viewer, of which there are only so many.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::{Place, Places, network};

/// Connections without a valid check at the same time. Each may stay so for the first check and its proof;
/// further ones are closed as they come.
pub(super) const MAX_UNPROVEN: usize = 1024;

/// Those of them of one address, an IPv6 /64 network counting as one.
pub(super) const MAX_UNPROVEN_PER_ADDRESS: usize = 64;

/// Counts the connections of each address.
pub(super) struct Admission {
    unproven: Arc<AtomicUsize>,
    unproven_by_address: Arc<Places>,
    by_address: Arc<Places>,
}

/// What a connection counts as.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) unproven: Unproven,
    pub(super) place: Place,
}

/// A connection that is not proven, until this is dropped.
#[derive(Debug)]
pub(super) struct Unproven {
    count: Arc<AtomicUsize>,
    _place: Place,
}

impl Admission {
    /// At most so many connections of one address, proven ones included.
    pub(super) fn new(max_per_address: usize) -> Self {
        Self {
            unproven: Arc::default(),
            unproven_by_address: Places::new(MAX_UNPROVEN_PER_ADDRESS),
            by_address: Places::new(max_per_address),
        }
    }

    /// Lets a connection from `address` in, if there may be another.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        let address = network(address);
        let place = self.by_address.take(address).ok()?;
        let unproven = self.unproven_by_address.take(address).ok()?;
        let unproven = Unproven {
            count: Arc::clone(&self.unproven),
            _place: unproven,
        };
        // Counted in any case, and counted out where it is too many.
        if self.unproven.fetch_add(1, Ordering::Relaxed) >= MAX_UNPROVEN {
            return None;
        }
        Some(Admitted { unproven, place })
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8])
    }

    #[test]
    fn silent_connections_are_bounded_for_each_address_and_in_all() {
        let admission = Admission::new(1000);
        let mut silent = Vec::new();
        for n in 0..MAX_UNPROVEN / MAX_UNPROVEN_PER_ADDRESS {
            for _ in 0..MAX_UNPROVEN_PER_ADDRESS {
                silent.push(admission.admit(address(n)).unwrap());
            }
            assert!(admission.admit(address(n)).is_none());
        }
        assert!(admission.admit(address(999)).is_none(), "all together");
        silent.truncate(MAX_UNPROVEN - 1);
        assert!(admission.admit(address(999)).is_some());
        drop(silent);
        assert_eq!(admission.unproven.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn proven_connections_count_for_their_address() {
        let admission = Admission::new(3);
        let proven: Vec<Place> = (0..3)
            .map(|_| admission.admit(address(1)).unwrap().place)
            .collect();
        assert!(admission.admit(address(1)).is_none());
        assert!(admission.admit(address(2)).is_some());
        drop(proven);
        assert!(admission.admit(address(1)).is_some());
    }
}
