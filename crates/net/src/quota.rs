//! Quotas: limits in all and per address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use crate::network;
use crate::sync::Mutex;

/// A limit of the total and of one address.
#[derive(Debug)]
pub struct Quota {
    max: usize,
    /// Held while a permit is taken or refused: a refusal counts for no address meanwhile.
    taking: Mutex<()>,
    total: Arc<Counts<()>>,
    per_address: PerAddress,
}

/// The limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The total is reached.
    #[error("the limit of {0} is reached")]
    Total(usize),
    /// The limit of the address is reached.
    #[error("the limit of {0} from one address is reached")]
    Address(usize),
}

/// A permit of a quota, returned when it is dropped.
#[derive(Debug)]
pub struct Permit {
    _total: Held<()>,
    _address: Option<Held<IpAddr>>,
}

impl Quota {
    /// Creates a quota of `max` permits in all and `max_per_address` for one address.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            max,
            taking: Mutex::default(),
            total: Arc::default(),
            per_address: PerAddress::new(max_per_address),
        }
    }

    /// Takes a permit for an address, or for no address.
    ///
    /// # Errors
    /// When the total or the limit of the address is reached.
    pub fn take(&self, ip: Option<IpAddr>) -> Result<Permit, Full> {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        // The address first: its limit is the more useful error.
        let address = ip.map(|ip| self.per_address.take(ip)).transpose()?;
        let total = self.total.take((), self.max);
        let total = total.ok_or(Full::Total(self.max))?;
        Ok(Permit {
            _total: total,
            _address: address,
        })
    }

    /// Returns the number of permits taken.
    pub fn taken(&self) -> usize {
        self.total.count(&())
    }
}

/// A limit per [address](network) that can be changed while it is in use.
#[derive(Debug)]
pub struct PerAddress {
    counts: Arc<Counts<IpAddr>>,
    max: AtomicUsize,
}

impl PerAddress {
    /// Creates a limit of `max` for each address.
    pub fn new(max: usize) -> Self {
        Self {
            counts: Arc::default(),
            max: AtomicUsize::new(max),
        }
    }

    /// Changes the limit for newcomers.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Counts one more of an address; an IPv6 /64 network counts as one.
    ///
    /// # Errors
    /// With [`Full::Address`] when its limit is reached.
    pub fn take(&self, ip: IpAddr) -> Result<Held<IpAddr>, Full> {
        let max = self.max.load(Ordering::Relaxed);
        let held = self.counts.take(network(ip), max);
        held.ok_or(Full::Address(max))
    }
}

/// Counts by key. Keys with a count of zero take no memory.
#[derive(Debug)]
pub struct Counts<K: Eq + Hash>(Mutex<HashMap<K, usize>>);

/// Counts as one of its key until it is dropped.
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
    /// Returns the count of a key.
    pub fn count(&self, key: &K) -> usize {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(key).copied().unwrap_or_default()
    }

    /// Counts one more of a key. Returns `None` if there are already `limit`.
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
    fn one_address_cannot_take_all_permits() {
        let quota = Quota::new(10, 2);
        let first = quota.take(ip("192.0.2.1")).unwrap();
        let _second = quota.take(ip("192.0.2.1")).unwrap();
        assert_eq!(quota.take(ip("192.0.2.1")).unwrap_err(), Full::Address(2));
        assert!(quota.take(ip("192.0.2.2")).is_ok());
        drop(first);
        assert!(quota.take(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn ipv6_network_counts_as_one_address() {
        let quota = Quota::new(10, 1);
        let _first = quota.take(ip("2001:db8::1")).unwrap();
        assert!(quota.take(ip("2001:db8::2")).is_err());
        assert!(quota.take(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn total_is_limited_and_unused_keys_take_no_memory() {
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
    fn changed_limit_applies_to_newcomers() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let places = PerAddress::new(1);
        let _first = places.take(address).unwrap();
        assert_eq!(places.take(address).unwrap_err(), Full::Address(1));
        places.set_max(2);
        let _second = places.take(address).unwrap();
        assert_eq!(places.take(address).unwrap_err(), Full::Address(2));
    }
}
