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
    /// The owner has proved to be there.
    is_proven: bool,
    /// A check from there has named a viewer of another shard.
    is_contested: bool,
    /// The newest other viewer that claims the address. It gets STUN responses from there as well.
    claimant: Option<usize>,
}

impl Holders {
    pub(super) fn owner(self) -> usize {
        self.owner
    }

    /// Returns whether a viewer of another shard may be at the address.
    pub(super) fn may_be_elsewhere(self) -> bool {
        self.is_contested || !self.is_proven
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
        let next = match self.holders.get_mut(&address) {
            Some(holders) if holders.owner == key => {
                holders.is_proven |= is_proven;
                return false;
            }
            Some(holders) if !is_proven => Holders {
                claimant: Some(key),
                ..*holders
            },
            others => Holders {
                owner: key,
                is_proven,
                is_contested: others.is_some_and(|others| others.is_contested),
                claimant: None,
            },
        };
        self.holders.insert(address, next) != Some(next)
    }

    /// Records that a check from `address` has named a viewer of another shard.
    pub(super) fn contest(&mut self, address: &SocketAddr) {
        if let Some(holders) = self.holders.get_mut(address) {
            holders.is_contested = true;
        }
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
            holders.is_proven = false;
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
    fn viewer_of_another_shard_may_be_where_nobody_has_proved_to_be_or_where_its_check_came_from() {
        let mut addresses = Addresses::default();
        let may_be_elsewhere = |addresses: &Addresses| {
            let holders = addresses.holders(&address());
            holders.is_some_and(Holders::may_be_elsewhere)
        };
        addresses.note(1, address(), false);
        assert!(may_be_elsewhere(&addresses));
        addresses.note(1, address(), true);
        assert!(!may_be_elsewhere(&addresses));
        addresses.contest(&address());
        assert!(may_be_elsewhere(&addresses));
        addresses.note(2, address(), true);
        assert!(
            may_be_elsewhere(&addresses),
            "the other shard's viewer may still be there"
        );
        let mut addresses = Addresses::default();
        addresses.note(1, address(), true);
        addresses.note(2, address(), false);
        addresses.forget(address(), 1);
        assert!(
            may_be_elsewhere(&addresses),
            "the claimant has proved nothing"
        );
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
