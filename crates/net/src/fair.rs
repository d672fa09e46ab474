//! A quota that one address cannot exhaust: the address with the most permits yields to those with
//! fewer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::{Mutex, MutexGuard};
use crate::{Full, network};

/// Age up to which a permit is not revoked for an address that would then have as many as the
/// loser. An honest holder is done by then, so that many newcomers wait for their turn instead of
/// ending each other.
pub const GRACE: Duration = Duration::from_secs(2);

/// Part of a quota that may be granted again before the holders of revoked permits have ended. When
/// as many are about to end, newcomers are refused until one has ended.
const ENDING_PART: usize = 8;

/// A limit of the total and of one address, with permits that can be revoked.
///
/// When the total is reached, a newcomer gets the oldest permit of the address that has the most,
/// if the newcomer's address has fewer. The [`Revocation`] tells the holder to end. So an address
/// that takes all it can get excludes nobody but itself.
#[derive(Debug)]
pub struct FairQuota {
    max: usize,
    max_per_address: usize,
    holders: Arc<Mutex<Holders>>,
}

/// A permit of a [`FairQuota`], returned when it is dropped.
#[derive(Debug)]
pub struct FairPermit {
    address: Option<IpAddr>,
    number: u64,
    revocation: Arc<Revocation>,
    displaces: Option<Displaced>,
    holders: Arc<Mutex<Holders>>,
}

/// The address that lost a permit to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Displaced {
    /// The address or network; `None` for all clients without a counted address.
    pub address: Option<IpAddr>,
    /// The number of permits that it had.
    pub had: usize,
}

/// Tells the holder of a permit that it was revoked.
#[derive(Debug, Default)]
pub struct Revocation {
    is_revoked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// The holders of permits. Addresses without one take no memory.
#[derive(Debug, Default)]
struct Holders {
    by_address: HashMap<Option<IpAddr>, BTreeMap<u64, Holder>>,
    /// All addresses, ordered by their number of permits and their oldest permit: the last one
    /// loses the next permit.
    ranking: BTreeSet<Rank>,
    /// Permits in `by_address`.
    total: usize,
    /// Permits that are revoked and not dropped yet.
    ending: usize,
    next_number: u64,
}

/// The number of permits of an address, the id of the oldest, and the address.
type Rank = (usize, Reverse<u64>, Option<IpAddr>);

#[derive(Debug)]
struct Holder {
    since: Instant,
    revocation: Arc<Revocation>,
}

impl FairQuota {
    /// Creates a quota of `max` permits in all and `max_per_address` for one address. An eighth
    /// more can exist for the moment until revoked holders end.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self {
            max,
            max_per_address,
            holders: Arc::default(),
        }
    }

    /// Returns the number of permits, with those that are revoked and not dropped yet.
    pub fn count(&self) -> usize {
        let holders = lock(&self.holders);
        holders.total + holders.ending
    }

    /// Takes a permit for an address (an IPv6 /64 network counts as one), or for no address.
    ///
    /// # Errors
    /// When the address has its maximum; when the total is reached and no address has more; or when
    /// too many holders are about to end.
    pub fn take(&self, ip: Option<IpAddr>, now: Instant) -> Result<FairPermit, Full> {
        let address = ip.map(network);
        let mut holders = lock(&self.holders);
        let has = holders.count(address);
        if address.is_some() && has >= self.max_per_address {
            return Err(Full::Address(self.max_per_address));
        }
        let mut displaces = None;
        if holders.total >= self.max {
            let may_displace = holders.ending < (self.max / ENDING_PART).max(1);
            let displaced = may_displace.then(|| holders.displace(has, now)).flatten();
            displaces = Some(displaced.ok_or(Full::Total(self.max))?);
        }
        let revocation = Arc::<Revocation>::default();
        let holder = Holder {
            since: now,
            revocation: Arc::clone(&revocation),
        };
        Ok(FairPermit {
            address,
            number: holders.insert(address, holder),
            revocation,
            displaces,
            holders: Arc::clone(&self.holders),
        })
    }

    /// Returns the number of permits, without the revoked ones.
    pub fn taken(&self) -> usize {
        lock(&self.holders).total
    }
}

impl FairPermit {
    /// Returns the revocation of this permit.
    pub fn revocation(&self) -> &Arc<Revocation> {
        &self.revocation
    }

    /// Returns the address that lost a permit for this one.
    pub fn displaces(&self) -> Option<Displaced> {
        self.displaces
    }
}

impl Drop for FairPermit {
    fn drop(&mut self) {
        let mut holders = lock(&self.holders);
        if holders.remove(self.address, self.number).is_none() {
            holders.ending -= 1;
        }
    }
}

impl Revocation {
    /// Returns whether the permit was revoked, so that its holder must end.
    pub fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    /// Waits until the permit is revoked. One task may wait at a time.
    pub async fn revoked(&self) {
        poll_fn(|context| {
            self.wake_when_revoked(context.waker());
            if self.is_revoked() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Wakes the holder when the permit is revoked, or at once if it is already. The waker of an
    /// earlier call is forgotten. It must not use the quota: it is woken under the quota's lock.
    pub fn wake_when_revoked(&self, waker: &Waker) {
        lock(&self.waker).replace(waker.clone());
        if self.is_revoked() {
            self.wake();
        }
    }

    fn revoke(&self) {
        self.is_revoked.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Holders {
    fn count(&self, address: Option<IpAddr>) -> usize {
        self.by_address.get(&address).map_or(0, BTreeMap::len)
    }

    /// Revokes the oldest permit of the address that has the most, for one that has `newcomer`.
    fn displace(&mut self, newcomer: usize, now: Instant) -> Option<Displaced> {
        let (had, Reverse(number), address) = *self.ranking.last()?;
        let oldest = self.by_address.get(&address)?.get(&number)?;
        let is_old = now.saturating_duration_since(oldest.since) >= GRACE;
        let difference = had.saturating_sub(newcomer);
        if difference < if is_old { 1 } else { 2 } {
            return None;
        }
        let holder = self.remove(address, number)?;
        self.ending += 1;
        holder.revocation.revoke();
        Some(Displaced { address, had })
    }

    /// Adds a holder and returns its id.
    fn insert(&mut self, address: Option<IpAddr>, holder: Holder) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.change(address, |holders| holders.insert(number, holder));
        self.total += 1;
        number
    }

    fn remove(&mut self, address: Option<IpAddr>, number: u64) -> Option<Holder> {
        let removed = self.change(address, |holders| holders.remove(&number))?;
        self.total -= 1;
        Some(removed)
    }

    /// Changes the permits of an address, and its rank with them.
    fn change<T>(
        &mut self,
        address: Option<IpAddr>,
        change: impl FnOnce(&mut BTreeMap<u64, Holder>) -> T,
    ) -> T {
        let holders = self.by_address.entry(address).or_default();
        if let Some(rank) = rank(address, holders) {
            self.ranking.remove(&rank);
        }
        let result = change(holders);
        if let Some(rank) = rank(address, holders) {
            self.ranking.insert(rank);
        } else {
            self.by_address.remove(&address);
        }
        result
    }
}

fn rank(address: Option<IpAddr>, holders: &BTreeMap<u64, Holder>) -> Option<Rank> {
    let (oldest, _) = holders.first_key_value()?;
    Some((holders.len(), Reverse(*oldest), address))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an origin for driven time")]
mod tests {
    use super::*;

    fn address(n: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, n]))
    }

    fn is_revoked(permit: &FairPermit) -> bool {
        permit.revocation().is_revoked()
    }

    #[test]
    fn newcomer_gets_the_oldest_permit_of_the_address_with_the_most() {
        let (quota, now) = (FairQuota::new(40, 30), Instant::now());
        let few: Vec<_> = (0..10)
            .map(|_| quota.take(address(1), now).unwrap())
            .collect();
        let most: Vec<_> = (0..30)
            .map(|_| quota.take(address(2), now).unwrap())
            .collect();
        let newcomer = quota.take(address(3), now).unwrap();
        let displaced = Displaced {
            address: address(2),
            had: 30,
        };
        assert_eq!(newcomer.displaces(), Some(displaced));
        assert!(is_revoked(&most[0]));
        assert!(
            few.iter()
                .chain(&most[1..])
                .all(|permit| !is_revoked(permit))
        );
        assert_eq!(quota.taken(), 40);
        // The loser gets nothing back while the others have their shares.
        drop(most);
        drop(newcomer);
        assert_eq!(quota.taken(), 10);
        drop(few);
        let holders = lock(&quota.holders);
        assert_eq!((holders.total, holders.ending), (0, 0));
        assert!(holders.by_address.is_empty() && holders.ranking.is_empty());
    }

    #[test]
    fn address_with_the_most_permits_displaces_nobody() {
        let (quota, now) = (FairQuota::new(10, 10), Instant::now());
        let most: Vec<_> = (0..6)
            .map(|_| quota.take(address(1), now).unwrap())
            .collect();
        let less: Vec<_> = (0..4)
            .map(|_| quota.take(address(2), now).unwrap())
            .collect();
        let late = now + 100 * GRACE;
        assert_eq!(quota.take(address(1), late).unwrap_err(), Full::Total(10));
        assert!(most.iter().chain(&less).all(|permit| !is_revoked(permit)));
        // The other one gets permits until both have the same number.
        let fifth = quota.take(address(2), now).unwrap();
        drop(most);
        drop((less, fifth));
    }

    #[test]
    fn equal_addresses_wait_until_the_oldest_permit_is_past_its_grace() {
        let (quota, now) = (FairQuota::new(8, 2), Instant::now());
        let crowd: Vec<_> = (0..8)
            .map(|n| quota.take(address(n), now).unwrap())
            .collect();
        assert_eq!(quota.take(address(99), now).unwrap_err(), Full::Total(8));
        let later = now + GRACE;
        let newcomer = quota.take(address(99), later).unwrap();
        let first = newcomer.displaces().unwrap();
        assert_eq!(
            first,
            Displaced {
                address: address(0),
                had: 1
            }
        );
        assert!(is_revoked(&crowd[0]) && !is_revoked(&crowd[1]));
    }

    #[test]
    fn number_of_revoked_permits_still_held_is_limited() {
        let (quota, now) = (FairQuota::new(80, 40), Instant::now());
        let mut held: Vec<_> = (0..80)
            .map(|n| quota.take(address(n / 40), now).unwrap())
            .collect();
        for n in 0..10 {
            held.push(quota.take(address(100 + n), now).unwrap());
        }
        assert_eq!(quota.take(address(200), now).unwrap_err(), Full::Total(80));
        let ending = held.iter().position(is_revoked).unwrap();
        held.remove(ending);
        held.push(quota.take(address(200), now).unwrap());
        assert_eq!((held.len(), quota.taken()), (90, 80));
    }

    #[test]
    fn shares_count_networks_and_clients_without_address_are_one_group() {
        let (quota, now) = (FairQuota::new(6, 2), Instant::now());
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let _first = quota.take(ip("2001:db8::1"), now).unwrap();
        let _second = quota.take(ip("2001:db8::2"), now).unwrap();
        let third = quota.take(ip("2001:db8::3"), now);
        assert_eq!(third.unwrap_err(), Full::Address(2));
        let _unknown: Vec<_> = (0..4).map(|_| quota.take(None, now).unwrap()).collect();
        assert_eq!(quota.take(None, now).unwrap_err(), Full::Total(6));
        let newcomer = quota.take(ip("2001:db8:0:1::1"), now).unwrap();
        let displaced = newcomer.displaces().unwrap();
        assert_eq!(
            displaced,
            Displaced {
                address: None,
                had: 4
            }
        );
    }

    #[tokio::test]
    async fn waiting_holder_is_notified_of_the_revocation() {
        let (quota, now) = (FairQuota::new(2, 2), Instant::now());
        let first = quota.take(address(1), now).unwrap();
        let _second = quota.take(address(1), now).unwrap();
        let revocation = Arc::clone(first.revocation());
        let waiting = tokio::spawn(async move { revocation.revoked().await });
        let _newcomer = quota.take(address(2), now).unwrap();
        waiting.await.unwrap();
    }
}
