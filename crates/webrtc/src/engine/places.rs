//! Places by the address they are taken from, so that one address does not have all there are.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};

/// What counts as one address: an IPv6 host has a /64 network to itself.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Counts the places that each address has.
#[derive(Debug)]
pub struct Places {
    by_address: DashMap<IpAddr, usize>,
    max_per_address: AtomicUsize,
}

/// A place, which is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    /// At most so many for each address.
    pub fn new(max_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            by_address: DashMap::new(),
            max_per_address: AtomicUsize::new(max_per_address),
        })
    }

    /// Changes the bound for those who come from now on.
    pub fn limit(&self, max_per_address: usize) {
        self.max_per_address
            .store(max_per_address, Ordering::Relaxed);
    }

    /// Takes a place for `address`.
    ///
    /// # Errors
    /// With how many it has, when it may have no more.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, usize> {
        let mut count = self.by_address.entry(address).or_insert(0);
        let taken = *count;
        if taken >= self.max_per_address.load(Ordering::Relaxed) {
            drop(count);
            // A bound of none leaves nothing behind.
            self.by_address.remove_if(&address, |_, count| *count == 0);
            return Err(taken);
        }
        *count += 1;
        Ok(Place {
            places: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.places.by_address.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_network_counts_as_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }

    #[test]
    fn an_address_has_so_many_places_and_others_have_theirs() {
        let places = Places::new(2);
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).err(), Some(2));
        assert!(places.take(other).is_ok());
        drop(first);
        assert!(places.take(one).is_ok());
        // Nothing is kept of an address without a place.
        assert_eq!(places.by_address.len(), 1);
    }
}
