//! Connections on which nobody has proved to be a viewer, of which there are only so many.

use std::net::IpAddr;
use std::time::Instant;

use distributary_net::{FairPermit, FairQuota, Held, PerAddress};

/// Connections without a valid check at the same time. Each may stay so for the first check and its proof.
/// When there are as many, a newcomer ends the oldest one of the address that has the most; one from the
/// address that has the most itself is closed as it comes. An eighth more can be about to end.
pub(super) const MAX_UNPROVEN: usize = 1024;

/// Those of them of one address, an IPv6 /64 network counting as one. Further ones are closed as they come.
pub(super) const MAX_UNPROVEN_PER_ADDRESS: usize = 64;

/// Counts the connections of each address.
pub(super) struct Admission {
    unproven: FairQuota,
    by_address: PerAddress,
}

/// What a connection counts as, until the parts are dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    /// One of those that are not proven.
    pub(super) unproven: FairPermit,
    /// One of its address.
    pub(super) of_address: Held<IpAddr>,
}

impl Admission {
    /// Allows `max_per_address` connections of one address, proven ones included.
    pub(super) fn new(max_per_address: usize) -> Self {
        Self {
            unproven: FairQuota::new(MAX_UNPROVEN, MAX_UNPROVEN_PER_ADDRESS),
            by_address: PerAddress::new(max_per_address),
        }
    }

    /// Lets a connection from `address` in, if there may be another.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> Option<Admitted> {
        Some(Admitted {
            of_address: self.by_address.take(address).ok()?,
            unproven: self.unproven.take(Some(address), now).ok()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    fn address(n: usize) -> IpAddr {
        IpAddr::from([10, 0, (n >> 8) as u8, n as u8])
    }

    #[test]
    fn silent_connections_of_few_addresses_are_bounded_and_lock_nobody_out() {
        let (admission, now) = (Admission::new(1000), Instant::now());
        let mut silent = Vec::new();
        for n in 0..MAX_UNPROVEN / MAX_UNPROVEN_PER_ADDRESS {
            for _ in 0..MAX_UNPROVEN_PER_ADDRESS {
                silent.push(admission.admit(address(n), now).unwrap());
            }
            assert!(admission.admit(address(n), now).is_none());
        }
        let newcomer = admission.admit(address(999), now).unwrap();
        let is_ended = |admitted: &Admitted| admitted.unproven.revocation().is_revoked();
        assert!(is_ended(&silent[0]) && !is_ended(&newcomer));
        assert_eq!(
            silent.iter().filter(|admitted| is_ended(admitted)).count(),
            1
        );
        assert_eq!(admission.unproven.taken(), MAX_UNPROVEN);
        drop((silent, newcomer));
        assert_eq!(admission.unproven.taken(), 0);
    }

    #[test]
    fn proven_connections_count_for_their_address() {
        let (admission, now) = (Admission::new(3), Instant::now());
        let proven: Vec<_> = (0..3)
            .map(|_| admission.admit(address(1), now).unwrap().of_address)
            .collect();
        assert!(admission.admit(address(1), now).is_none());
        assert!(admission.admit(address(2), now).is_some());
        drop(proven);
        assert!(admission.admit(address(1), now).is_some());
    }
}
