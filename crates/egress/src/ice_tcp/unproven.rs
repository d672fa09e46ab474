//! Limits the number of connections without a valid check.

use std::net::IpAddr;
use std::time::Instant;

use distributary_net::{FairPermit, FairQuota, Held, PerAddress};

/// Maximum number of connections without a valid check. Each may stay so for the timeouts of the
/// first check and its proof. At the limit, a newcomer ends the oldest one of the address that has
/// the most; a newcomer from that address itself is closed. An eighth more can be about to end.
pub(super) const MAX_UNPROVEN: usize = 1024;

/// Maximum number of them of one address, an IPv6 /64 network counting as one. Further ones are
/// closed.
pub(super) const MAX_UNPROVEN_PER_ADDRESS: usize = 64;

/// Counts the connections of each address.
pub(super) struct Admission {
    unproven: FairQuota,
    by_address: PerAddress,
}

/// The permits of a connection, which count until they are dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Counts among the unproven connections.
    pub(super) unproven: FairPermit,
    /// Counts among the connections of its address.
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

    /// Admits a connection from `address`, if the limits allow another.
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
    fn silent_connections_of_few_addresses_do_not_lock_out_others() {
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
