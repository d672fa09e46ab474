//! How many of something there may be: in all, and from one address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use distributary_auth::network::network;

/// A number of places, of which one address has a share. An IPv6 /64 network counts as one address.
#[derive(Debug)]
pub(crate) struct Quota {
    max: usize,
    total: Arc<Counts<()>>,
    max_per_ip: usize,
    per_ip: Arc<Counts<IpAddr>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// All places are taken.
    #[error("the limit of {0} is reached")]
    Total(usize),
    /// The address has its share.
    #[error("the limit of {0} from one address is reached")]
    Address(usize),
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _total: Held<()>,
    _per_ip: Option<Held<IpAddr>>,
}

impl Quota {
    pub(crate) fn new(max: usize, max_per_ip: usize) -> Self {
        Self {
            max,
            total: Arc::default(),
            max_per_ip,
            per_ip: Arc::default(),
        }
    }

    /// Takes a place for an address, or for nobody in particular.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn take(&self, ip: Option<IpAddr>) -> Result<Place, Full> {
        let total = self.total.take((), self.max);
        let total = total.ok_or(Full::Total(self.max))?;
        let per_ip = match ip {
            Some(ip) => {
                let held = self.per_ip.take(network(ip), self.max_per_ip);
                Some(held.ok_or(Full::Address(self.max_per_ip))?)
            }
            None => None,
        };
        Ok(Place {
            _total: total,
            _per_ip: per_ip,
        })
    }
}

/// How many there are of each key. Nothing is kept of a key of which there are none.
#[derive(Debug)]
pub(crate) struct Counts<K: Eq + Hash>(Mutex<HashMap<K, usize>>);

/// One of its key, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<K: Eq + Hash> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash> Default for Counts<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    /// Counts one more, if there are fewer than `limit`.
    pub(crate) fn take(self: &Arc<Self>, key: K, limit: usize) -> Option<Held<K>> {
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
        assert!(quota.per_ip.0.lock().unwrap().is_empty());
        assert!(quota.take(ip("192.0.2.3")).is_ok());
    }
}
