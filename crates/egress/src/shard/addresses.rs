//! The mapping from remote addresses to viewers.

use std::collections::HashMap;
use std::net::SocketAddr;

/// The viewers of an address.
///
/// Any viewer can send a valid check with the address of another one as its source. Then it is only
/// asked to prove that it is there; the address becomes its own when it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holders {
    /// The viewer that datagrams from there belong to.
    owner: usize,
    /// The newest other viewer that claims the address. It gets STUN responses from there as well.
    claimant: Option<usize>,
}

impl Holders {
    pub(super) fn owner(self) -> usize {
        self.owner
    }

    /// Returns owner and claimant.
    pub(super) fn all(self) -> impl Iterator<Item = usize> {
        std::iter::once(self.owner).chain(self.claimant)
    }
}

/// The addresses that viewers claim, each viewer by its key.
#[derive(Default)]
pub(super) struct Addresses {
    holders: HashMap<SocketAddr, Holders>,
}

impl Addresses {
    /// Returns the number of addresses.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn len(&self) -> usize {
        self.holders.len()
    }

    /// Returns the viewers of an address.
    pub(super) fn holders(&self, address: &SocketAddr) -> Option<Holders> {
        self.holders.get(address).copied()
    }

    /// Records that a viewer claims `address`. If another one has it, the address becomes its own
    /// only if `is_proven`. Returns whether this is new.
    pub(super) fn note(&mut self, key: usize, address: SocketAddr, is_proven: bool) -> bool {
        let next = match self.holders.get(&address).copied() {
            Some(holders) if holders.owner == key => return false,
            Some(holders) if !is_proven => Holders {
                claimant: Some(key),
                ..holders
            },
            _ => Holders {
                owner: key,
                claimant: None,
            },
        };
        self.holders.insert(address, next) != Some(next)
    }

    /// Removes a viewer's claim to `address`.
    pub(super) fn forget(&mut self, address: SocketAddr, key: usize) {
        let Some(holders) = self.holders.get_mut(&address) else {
            return;
        };
        if holders.owner != key {
            holders.claimant = holders.claimant.filter(|other| *other != key);
        } else if let Some(claimant) = holders.claimant.take() {
            holders.owner = claimant;
        } else {
            self.holders.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        "192.0.2.7:5000".parse().unwrap()
    }

    fn holders(addresses: &Addresses) -> Vec<usize> {
        let holders = addresses.holders(&address());
        holders.map_or(Vec::new(), |holders| holders.all().collect())
    }

    #[test]
    fn forged_check_does_not_take_the_address_of_another_viewer() {
        let mut addresses = Addresses::default();
        assert!(addresses.note(1, address(), false));
        assert!(!addresses.note(1, address(), true), "it is there already");
        for attacker in [2, 3] {
            assert!(addresses.note(attacker, address(), false));
            assert!(!addresses.note(attacker, address(), false));
            assert_eq!(holders(&addresses), [1, attacker]);
        }
        addresses.forget(address(), 3);
        assert_eq!(holders(&addresses), [1]);
    }

    #[test]
    fn viewer_that_has_proved_to_be_there_takes_the_address_over() {
        let mut addresses = Addresses::default();
        addresses.note(1, address(), true);
        addresses.note(2, address(), false);
        assert!(addresses.note(2, address(), true));
        assert_eq!(holders(&addresses), [2]);
    }

    #[test]
    fn address_of_a_viewer_that_has_left_is_that_of_the_one_that_is_there() {
        let mut addresses = Addresses::default();
        addresses.note(1, address(), true);
        addresses.note(2, address(), false);
        addresses.forget(address(), 1);
        assert_eq!(holders(&addresses), [2]);
        addresses.forget(address(), 2);
        assert!(addresses.holders.is_empty());
    }
}
