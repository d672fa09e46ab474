//! Bounds: how many of something there may be in all, and from one address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::network;

/// A bound on the total and on the share of one address.
#[derive(Debug)]
pub struct Quota {
    max: usize,
    total: Arc<Counts<()>>,
    per_address: PerAddress,
}

/// Why a quota grants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The total is reached.
    #[error("the limit of {0} is reached")]
    Total(usize),
    /// The address has its share.
    #[error("the limit of {0} from one address is reached")]
    Address(usize),
}

/// One of a quota, given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    _total: Held<()>,
    _address: Option<Held<IpAddr>>,
}

impl Quota {
    /// Creates a quota of `max` in all, of which one address may have `max_per_address`.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            max,
            total: Arc::default(),
            per_address: PerAddress::new(max_per_address),
        }
    }

    /// Takes one for an address, or for nobody in particular.
    ///
    /// # Errors
    /// When the total or the address's share is reached.
    pub fn take(&self, ip: Option<IpAddr>) -> Result<Permit, Full> {
        // The address first: one that has its share is told so, whatever the total.
        let address = ip.map(|ip| self.per_address.take(ip)).transpose()?;
        let total = self.total.take((), self.max);
        let total = total.ok_or(Full::Total(self.max))?;
        Ok(Permit {
            _total: total,
            _address: address,
        })
    }

    /// Returns how many are taken.
    pub fn taken(&self) -> usize {
        self.total.count(&())
    }
}

/// A bound on what one [address](network) may have, which can be changed while it is in use.
#[derive(Debug)]
pub struct PerAddress {
    counts: Arc<Counts<IpAddr>>,
    max: AtomicUsize,
}

impl PerAddress {
    /// Creates a bound of `max` for each address.
    pub fn new(max: usize) -> Self {
        Self {
            counts: Arc::default(),
            max: AtomicUsize::new(max),
        }
    }

    /// Changes the bound for those who come from now on.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Takes one for an address; an IPv6 /64 network counts as one.
    ///
    /// # Errors
    /// With [`Full::Address`] when it may have no more.
    pub fn take(&self, ip: IpAddr) -> Result<Held<IpAddr>, Full> {
        let max = self.max.load(Ordering::Relaxed);
        let held = self.counts.take(network(ip), max);
        held.ok_or(Full::Address(max))
    }
}

/// How many there are of each key. Keys with a count of zero take no memory.
#[derive(Debug)]
pub struct Counts<K: Eq + Hash>(Mutex<HashMap<K, usize>>);

/// One of its key, until it is dropped.
#[derive(Debug)]
pub struct Held<K: Eq + Hash> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash> Default for Counts<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    /// Returns how many there are of a key.
    pub fn count(&self, key: &K) -> usize {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(key).copied().unwrap_or_default()
    }

    /// Counts one more of a key, unless there are `limit` already.
    pub fn take(self: &Arc<Self>, key: K, limit: usize) -> Option<Held<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&key).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        counts.insert(key.clone(), count + 1);
        Some(Held {
            counts: Arc::clone(self),
            key,
        })
    }
}

impl<K: Eq + Hash> Drop for Held<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let quota = Quota::new(10, 2);
        let first = quota.take(ip("192.0.2.1")).unwrap();
        let _second = quota.take(ip("192.0.2.1")).unwrap();
        assert_eq!(quota.take(ip("192.0.2.1")).unwrap_err(), Full::Address(2));
        assert!(quota.take(ip("192.0.2.2")).is_ok());
        drop(first);
        assert!(quota.take(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let quota = Quota::new(10, 1);
        let _first = quota.take(ip("2001:db8::1")).unwrap();
        assert!(quota.take(ip("2001:db8::2")).is_err());
        assert!(quota.take(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn places_are_bounded_in_total_and_nothing_is_kept_of_those_that_left() {
        let quota = Quota::new(2, 2);
        let places: Vec<_> = ["192.0.2.1", "192.0.2.2"]
            .into_iter()
            .map(|text| quota.take(ip(text)).unwrap())
            .collect();
        assert_eq!(quota.take(ip("192.0.2.3")).unwrap_err(), Full::Total(2));
        assert_eq!(quota.take(None).unwrap_err(), Full::Total(2));
        drop(places);
        assert!(quota.per_address.counts.0.lock().unwrap().is_empty());
        assert!(quota.take(ip("192.0.2.3")).is_ok());
    }

    #[test]
    fn a_changed_bound_applies_to_those_who_come_later() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let places = PerAddress::new(1);
        let _first = places.take(address).unwrap();
        assert_eq!(places.take(address).unwrap_err(), Full::Address(1));
        places.set_max(2);
        let _second = places.take(address).unwrap();
        assert_eq!(places.take(address).unwrap_err(), Full::Address(2));
    }
}
