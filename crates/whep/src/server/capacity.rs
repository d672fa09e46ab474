//! The maximum number of connections, and the choice of the idle connection that a new one
//! replaces.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use distributary_net::{Full, Held, PerAddress, TrustedProxies, network};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::config::RequestsConfig;

/// Connections beyond `max_connections`, which get 503, or an answer to a health check. Each may
/// stay for a moment only; when all are in use, further connections are closed at once.
const RESERVE: usize = 64;

/// Maximum number of these for one address.
const RESERVE_PER_ADDRESS: usize = 4;

/// Further connections for clients on this machine, such as a container's health check.
const LOCAL_RESERVE: usize = 16;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Capacity {
    permits: Arc<Semaphore>,
    by_address: PerAddress,
    reserve: Arc<Semaphore>,
    reserve_by_address: PerAddress,
    local_reserve: Arc<Semaphore>,
    idle: Arc<Idle>,
    freed: Arc<Notify>,
    proxies: TrustedProxies,
}

/// The permits of a connection. Dropping it returns them.
#[derive(Debug)]
pub(super) struct Taken {
    /// It is a reserve connection.
    pub(super) is_reserve: bool,
    _permit: OwnedSemaphorePermit,
    _of_address: Option<Held<IpAddr>>,
    /// Dropped last: all permits are free by then.
    _freed: Freed,
}

/// Notifies when it is dropped.
#[derive(Debug)]
struct Freed(Arc<Notify>);

impl Drop for Freed {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The limit that leaves no regular permit for a connection.
#[derive(Clone, Copy, Debug)]
enum LimitReached {
    /// The limit of all connections.
    Total,
    /// The limit of this address.
    Address(IpAddr),
}

impl Capacity {
    pub(super) fn new(config: &RequestsConfig) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self {
            permits: permits(config.max_connections),
            by_address: PerAddress::new(config.max_connections_per_ip),
            reserve: permits(RESERVE),
            reserve_by_address: PerAddress::new(RESERVE_PER_ADDRESS),
            local_reserve: permits(LOCAL_RESERVE),
            idle: Arc::default(),
            freed: Arc::default(),
            proxies: config.trusted_proxies.clone(),
        }
    }

    /// Takes a permit for a connection of `peer`. When a limit is reached, the connection that has
    /// been idle for longest, of all or of this address, is closed for the new one. When none is
    /// idle, the new one gets a reserve permit. `None` if it has to be closed.
    ///
    /// Exclusive access ensures that a permit that became free for one connection cannot go to
    /// another.
    /// It has `self` for itself: what gave way for one newcomer cannot go to another.
    pub(super) async fn take(&mut self, peer: SocketAddr) -> Option<Taken> {
        let ip = peer.ip().to_canonical();
        match self.regular(ip) {
            Ok(taken) => return Some(taken),
            Err(full) if self.idle.give_way(full) => {}
            Err(_) => return self.reserve(ip),
        }
        // Closing needs no I/O: the task of the connection closes it when it runs next.
        loop {
            self.freed.notified().await;
            if let Ok(taken) = self.regular(ip) {
                return Some(taken);
            }
        }
    }

    /// Returns the table in which idle connections register.
    pub(super) fn idle(&self) -> Arc<Idle> {
        Arc::clone(&self.idle)
    }

    fn regular(&self, ip: IpAddr) -> Result<Taken, LimitReached> {
        let of_address = self.take_of_address(ip, &self.by_address);
        let of_address = of_address.map_err(|_| LimitReached::Address(ip))?;
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| LimitReached::Total)?;
        Ok(self.taken(false, permit, of_address))
    }

    fn reserve(&self, ip: IpAddr) -> Option<Taken> {
        let (reserve, of_address) = if ip.is_loopback() {
            (&self.local_reserve, None)
        } else {
            let of_address = self.take_of_address(ip, &self.reserve_by_address).ok()?;
            (&self.reserve, of_address)
        };
        let permit = Arc::clone(reserve).try_acquire_owned().ok()?;
        Some(self.taken(true, permit, of_address))
    }

    fn taken(
        &self,
        is_reserve: bool,
        permit: OwnedSemaphorePermit,
        of_address: Option<Held<IpAddr>>,
    ) -> Taken {
        Taken {
            is_reserve,
            _permit: permit,
            _of_address: of_address,
            _freed: Freed(Arc::clone(&self.freed)),
        }
    }

    /// Counts a connection for its address. Loopback and proxies are not counted.
    fn take_of_address(
        &self,
        ip: IpAddr,
        permits: &PerAddress,
    ) -> Result<Option<Held<IpAddr>>, Full> {
        let is_counted = !ip.is_loopback() && !self.proxies.trusts(ip);
        is_counted.then(|| permits.take(ip)).transpose()
    }
}

/// The regular connections without a request in progress.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Sorted by idle time, the longest first.
    connections: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    /// Their numbers, by the network of their address.
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

impl Waiting {
    fn remove(&mut self, number: u64) -> Option<Arc<Notify>> {
        let (address, connection) = self.connections.remove(&number)?;
        if let Some(numbers) = self.by_address.get_mut(&address) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(connection)
    }
}

impl Idle {
    /// Closes the connection that has been idle for longest among those that free the needed
    /// permit. Returns `false` if none is idle.
    fn give_way(&self, full: LimitReached) -> bool {
        let mut waiting = self.waiting();
        let oldest = match full {
            LimitReached::Total => waiting.connections.keys().next(),
            LimitReached::Address(ip) => {
                let numbers = waiting.by_address.get(&network(ip));
                numbers.and_then(BTreeSet::first)
            }
        };
        let Some(connection) = oldest.copied().and_then(|number| waiting.remove(number)) else {
            return false;
        };
        connection.notify_one();
        true
    }

    /// Registers an idle connection of `peer`, and returns its number.
    pub(super) fn enter(&self, peer: SocketAddr, connection: &Arc<Notify>) -> u64 {
        let address = network(peer.ip().to_canonical());
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        let entry = (address, Arc::clone(connection));
        waiting.connections.insert(number, entry);
        waiting
            .by_address
            .entry(address)
            .or_default()
            .insert(number);
        number
    }

    /// Removes a connection that is no longer idle, or closed.
    pub(super) fn leave(&self, number: u64) {
        self.waiting().remove(number);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinHandle;

    fn capacity(max_connections: usize, max_connections_per_ip: usize) -> Capacity {
        let proxy = distributary_net::parse_network("198.51.100.0/24").unwrap();
        Capacity::new(&RequestsConfig {
            max_connections,
            max_connections_per_ip,
            trusted_proxies: TrustedProxies(vec![proxy]),
            ..RequestsConfig::default()
        })
    }

    async fn take(capacity: &mut Capacity, ip: &str) -> Option<Taken> {
        capacity
            .take(SocketAddr::new(ip.parse().unwrap(), 4000))
            .await
    }

    #[tokio::test]
    async fn one_address_cannot_take_all_connections() {
        let mut capacity = capacity(100, 1);
        let first = take(&mut capacity, "2001:db8::1").await.unwrap();
        let second = take(&mut capacity, "2001:db8::2").await.unwrap();
        assert!(second.is_reserve, "one network");
        let _other = take(&mut capacity, "2001:db8:0:1::1").await.unwrap();
        drop(first);
        let again = take(&mut capacity, "2001:db8::2").await.unwrap();
        assert!(!again.is_reserve);
        let mut uncounted = Vec::new();
        for ip in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "198.51.100.7"] {
            for _ in 0..2 {
                let taken = take(&mut capacity, ip).await.expect(ip);
                assert!(!taken.is_reserve, "{ip}");
                uncounted.push(taken);
            }
        }
    }

    #[tokio::test]
    async fn reserve_is_limited_per_address_and_separate_for_this_machine() {
        let mut capacity = capacity(1, 1000);
        let _regular = take(&mut capacity, "192.0.2.1").await.unwrap();
        let mut reserve = Vec::new();
        for host in 1..=RESERVE / RESERVE_PER_ADDRESS {
            let ip = format!("192.0.2.{host}");
            for _ in 0..RESERVE_PER_ADDRESS {
                let taken = take(&mut capacity, &ip).await.unwrap();
                assert!(taken.is_reserve);
                reserve.push(taken);
            }
            assert!(
                take(&mut capacity, &ip).await.is_none(),
                "{ip} has reached its limit"
            );
        }
        assert!(
            take(&mut capacity, "203.0.113.1").await.is_none(),
            "all are in use"
        );
        for _ in 0..LOCAL_RESERVE {
            reserve.push(take(&mut capacity, "127.0.0.1").await.unwrap());
        }
        assert!(take(&mut capacity, "127.0.0.1").await.is_none());
        reserve.clear();
        assert!(take(&mut capacity, "203.0.113.1").await.is_some());
    }

    /// Registers a connection that is idle from now on, and that closes when it is told to.
    fn rest(capacity: &Capacity, ip: &str, taken: Taken) -> JoinHandle<()> {
        let told = Arc::new(Notify::new());
        let peer = SocketAddr::new(ip.parse().unwrap(), 4000);
        capacity.idle().enter(peer, &told);
        tokio::spawn(async move {
            told.notified().await;
            drop(taken);
        })
    }

    #[tokio::test]
    async fn longest_idle_connection_is_closed_for_a_new_one() {
        let mut capacity = capacity(2, 1000);
        let mut idle = Vec::new();
        for _ in 0..2 {
            let taken = take(&mut capacity, "192.0.2.1").await.unwrap();
            idle.push(rest(&capacity, "192.0.2.1", taken));
        }
        // A connection that closed by itself before does not cause a second one to close.
        capacity.freed.notify_one();
        let newcomer = take(&mut capacity, "192.0.2.2").await.unwrap();
        assert!(!newcomer.is_reserve);
        idle.remove(0).await.unwrap();
        assert_eq!(capacity.idle.waiting().connections.len(), 1);
    }

    #[tokio::test]
    async fn address_at_its_limit_replaces_its_own_idle_connections_or_uses_the_reserve() {
        let mut capacity = capacity(100, 2);
        let taken = take(&mut capacity, "192.0.2.9").await.unwrap();
        let other = rest(&capacity, "192.0.2.9", taken);
        // The two addresses are of one network.
        let busy = take(&mut capacity, "2001:db8::1").await.unwrap();
        let taken = take(&mut capacity, "2001:db8::2").await.unwrap();
        let idle = rest(&capacity, "2001:db8::2", taken);
        let newcomer = take(&mut capacity, "2001:db8::3").await.unwrap();
        assert!(!newcomer.is_reserve);
        idle.await.unwrap();
        // None of its own is idle now, and those of other addresses are not closed for it.
        let probe = take(&mut capacity, "2001:db8::4").await.unwrap();
        assert!(probe.is_reserve);
        assert!(!other.is_finished());
        drop((busy, newcomer));
        assert!(!take(&mut capacity, "2001:db8::5").await.unwrap().is_reserve);
        let waiting = capacity.idle.waiting();
        assert_eq!(
            (waiting.connections.len(), waiting.by_address.len()),
            (1, 1)
        );
    }
}
