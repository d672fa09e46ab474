//! How many connections there may be, and which give way when there are as many.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use distributary_net::{Full, Held, PerAddress, TrustedProxies};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::HttpConfig;

/// Connections beyond `max_connections` that are told so, and answered when they ask for health. Each may stay
/// for a moment only; when these are taken as well, further ones are closed at once.
const RESERVE: usize = 64;

/// Those among them that one address may have.
const RESERVE_PER_ADDRESS: usize = 4;

/// A reserve of their own for those who ask from this machine, as a container's health check does.
const LOCAL_RESERVE: usize = 16;

/// How long a newcomer waits for a connection that was told to give way. Closing it takes no I/O.
const GIVE_WAY_TIMEOUT: Duration = Duration::from_millis(100);

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Capacity {
    places: Arc<Semaphore>,
    by_address: PerAddress,
    reserve: Arc<Semaphore>,
    reserve_by_address: PerAddress,
    local_reserve: Arc<Semaphore>,
    idle: Arc<Idle>,
    proxies: TrustedProxies,
}

/// What a connection takes, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    /// Whether it is one of the reserve.
    pub(super) is_reserve: bool,
    _place: OwnedSemaphorePermit,
    _of_address: Option<Held<IpAddr>>,
}

impl Capacity {
    pub(super) fn new(config: &HttpConfig) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            places: places(config.max_connections),
            by_address: PerAddress::new(config.max_connections_per_ip),
            reserve: places(RESERVE),
            reserve_by_address: PerAddress::new(RESERVE_PER_ADDRESS),
            local_reserve: places(LOCAL_RESERVE),
            idle: Arc::default(),
            proxies: config.proxies.clone(),
        }
    }

    /// Takes a place for a connection of `peer`. When all are taken, the connection that has been idle for the
    /// longest time gives way; when none is idle, the newcomer gets one of the reserve. `None`: it is to be
    /// closed.
    pub(super) async fn take(&self, peer: SocketAddr) -> Option<Taken> {
        let ip = peer.ip().to_canonical();
        let of_address = self.take_of_address(ip, &self.by_address).ok()?;
        if let Some(place) = self.regular().await {
            return Some(Taken {
                is_reserve: false,
                _place: place,
                _of_address: of_address,
            });
        }
        let (reserve, of_address) = if ip.is_loopback() {
            (&self.local_reserve, None)
        } else {
            let of_address = self.take_of_address(ip, &self.reserve_by_address).ok()?;
            (&self.reserve, of_address)
        };
        Some(Taken {
            is_reserve: true,
            _place: Arc::clone(reserve).try_acquire_owned().ok()?,
            _of_address: of_address,
        })
    }

    /// What a connection has to do to be told to give way.
    pub(super) fn idle(&self) -> Arc<Idle> {
        Arc::clone(&self.idle)
    }

    async fn regular(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        if !self.idle.give_way() {
            return None;
        }
        let freed = Arc::clone(&self.places).acquire_owned();
        tokio::time::timeout(GIVE_WAY_TIMEOUT, freed)
            .await
            .ok()?
            .ok()
    }

    /// Counts a connection among those of its address; this machine and proxies are not counted.
    fn take_of_address(
        &self,
        ip: IpAddr,
        places: &PerAddress,
    ) -> Result<Option<Held<IpAddr>>, Full> {
        let is_counted = !ip.is_loopback() && !self.proxies.trusts(ip);
        is_counted.then(|| places.take(ip)).transpose()
    }
}

/// The connections on which no request is under way, those first that have been so for longest.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    connections: BTreeMap<u64, Arc<Notify>>,
}

impl Idle {
    /// Tells the connection that has been idle for longest to close. `false`: none is idle.
    fn give_way(&self) -> bool {
        let Some((_, connection)) = self.waiting().connections.pop_first() else {
            return false;
        };
        connection.notify_one();
        true
    }

    /// Enters a connection, and returns the number under which it is found.
    pub(super) fn enter(&self, connection: &Arc<Notify>) -> u64 {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.connections.insert(number, Arc::clone(connection));
        number
    }

    /// Removes a connection that is idle no longer, or gone.
    pub(super) fn leave(&self, number: u64) {
        self.waiting().connections.remove(&number);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(max_connections: usize, max_connections_per_ip: usize) -> Capacity {
        let proxy = distributary_net::parse_network("198.51.100.0/24").unwrap();
        Capacity::new(&HttpConfig {
            max_connections,
            max_connections_per_ip,
            proxies: TrustedProxies(vec![proxy]),
            ..HttpConfig::default()
        })
    }

    async fn take(capacity: &Capacity, ip: &str) -> Option<Taken> {
        capacity
            .take(SocketAddr::new(ip.parse().unwrap(), 4000))
            .await
    }

    #[tokio::test]
    async fn one_address_cannot_take_all_connections() {
        let capacity = capacity(100, 1);
        let first = take(&capacity, "2001:db8::1").await.unwrap();
        assert!(
            take(&capacity, "2001:db8::2").await.is_none(),
            "one network"
        );
        let _other = take(&capacity, "2001:db8:0:1::1").await.unwrap();
        drop(first);
        let _again = take(&capacity, "2001:db8::2").await.unwrap();
        let mut uncounted = Vec::new();
        for ip in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "198.51.100.7"] {
            for _ in 0..2 {
                uncounted.push(take(&capacity, ip).await.expect(ip));
            }
        }
    }

    #[tokio::test]
    async fn the_reserve_has_room_for_this_machine_and_few_places_for_each_address() {
        let capacity = capacity(1, 1000);
        let _regular = take(&capacity, "192.0.2.1").await.unwrap();
        let mut reserve = Vec::new();
        for host in 1..=RESERVE / RESERVE_PER_ADDRESS {
            let ip = format!("192.0.2.{host}");
            for _ in 0..RESERVE_PER_ADDRESS {
                let taken = take(&capacity, &ip).await.unwrap();
                assert!(taken.is_reserve);
                reserve.push(taken);
            }
            assert!(take(&capacity, &ip).await.is_none(), "{ip} has its share");
        }
        assert!(
            take(&capacity, "203.0.113.1").await.is_none(),
            "all are taken"
        );
        for _ in 0..LOCAL_RESERVE {
            reserve.push(take(&capacity, "127.0.0.1").await.unwrap());
        }
        assert!(take(&capacity, "127.0.0.1").await.is_none());
        reserve.clear();
        assert!(take(&capacity, "203.0.113.1").await.is_some());
    }

    #[tokio::test]
    async fn the_connection_that_is_idle_for_longest_gives_way() {
        let capacity = capacity(2, 1000);
        let idle = capacity.idle();
        let (oldest, newest) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut places = Vec::new();
        for connection in [&oldest, &newest] {
            places.push(take(&capacity, "192.0.2.1").await.unwrap());
            idle.enter(connection);
        }
        let first = places.remove(0);
        let told = Arc::clone(&oldest);
        let closing = tokio::spawn(async move {
            told.notified().await;
            drop(first);
        });
        let newcomer = take(&capacity, "192.0.2.2").await.unwrap();
        assert!(!newcomer.is_reserve);
        closing.await.unwrap();
        assert_eq!(idle.waiting().connections.len(), 1);
    }
}
