//! Connections on which nobody has proved to be a viewer, of which there are only so many.

use std::net::IpAddr;

use distributary_net::{Held, PerAddress, Permit, Quota};

/// Connections without a valid check at the same time. Each may stay so for the first check and its proof;
/// further ones are closed as they come.
pub(super) const MAX_UNPROVEN: usize = 1024;

/// Those of them of one address, an IPv6 /64 network counting as one.
pub(super) const MAX_UNPROVEN_PER_ADDRESS: usize = 64;

/// Counts the connections of each address.
pub(super) struct Admission {
    unproven: Quota,
    by_address: PerAddress,
}

/// What a connection counts as, until the parts are dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    /// One of those that are not proven.
    pub(super) unproven: Permit,
    /// One of its address.
    pub(super) of_address: Held<IpAddr>,
}

impl Admission {
    /// Allows `max_per_address` connections of one address, proven ones included.
    pub(super) fn new(max_per_address: usize) -> Self {
        Self {
            unproven: Quota::new(MAX_UNPROVEN, MAX_UNPROVEN_PER_ADDRESS),
            by_address: PerAddress::new(max_per_address),
        }
    }

    /// Lets a connection from `address` in, if there may be another.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        Some(Admitted {
            of_address: self.by_address.take(address).ok()?,
            unproven: self.unproven.take(Some(address)).ok()?,
        })
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
        assert_eq!(admission.unproven.taken(), 0);
    }

    #[test]
    fn proven_connections_count_for_their_address() {
        let admission = Admission::new(3);
        let proven: Vec<_> = (0..3)
            .map(|_| admission.admit(address(1)).unwrap().of_address)
            .collect();
        assert!(admission.admit(address(1)).is_none());
        assert!(admission.admit(address(2)).is_some());
        drop(proven);
        assert!(admission.admit(address(1)).is_some());
    }
}
