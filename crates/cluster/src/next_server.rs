//! The choice of the NATS server that is connected next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::{Server, ServerAddr};
use rand::Rng;

/// Chooses the NATS server that is connected next.
///
/// The servers are tried in rounds, each one once, so that none is forgotten. A round begins with
/// each connection and after all were tried. Within a round those come first that failed least.
///
/// The connection to a server that stands still is lost first, and then its system still accepts
/// another one, in which nothing arrives: it must not be the next that is tried.
#[derive(Debug, Default)]
pub(crate) struct NextServer(Mutex<Tried>);

/// The servers that were tried.
#[derive(Debug, Default)]
struct Tried {
    /// In earlier rounds, the one that was tried longest ago first.
    earlier: Vec<ServerAddr>,
    /// In this round. The last one is the server that was tried last.
    round: Vec<ServerAddr>,
    /// The number of servers at the last choice.
    count: usize,
}

impl NextServer {
    /// Returns the server to connect. `None` if there is no server.
    pub(crate) fn choose(&self, servers: &[Server], random: &mut impl Rng) -> Option<ServerAddr> {
        let mut tried = self.lock();
        tried.count = servers.len();
        let is_there = |address: &ServerAddr| servers.iter().any(|server| server.addr == *address);
        tried.earlier.retain(is_there);
        tried.round.retain(is_there);
        let mut next = tried.best(servers, random);
        if next.is_none() {
            tried.begin_round();
            next = tried.best(servers, random);
        }
        // There may be no server but the one that was tried last.
        let next = next.or_else(|| tried.round.pop())?;
        tried.earlier.retain(|address| *address != next);
        tried.round.push(next.clone());
        Some(next)
    }

    /// Notes that the server that was tried last is connected.
    pub(crate) fn connected(&self) {
        self.lock().begin_round();
    }

    /// Returns the number of servers, with those that other servers have told of.
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    fn lock(&self) -> MutexGuard<'_, Tried> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tried {
    /// Returns the server of this round that failed least, and of several the one that was tried
    /// longest ago, or never.
    fn best(&self, servers: &[Server], random: &mut impl Rng) -> Option<ServerAddr> {
        let left = servers
            .iter()
            .filter(|server| !self.round.contains(&server.addr));
        let best = left.min_by_key(|server| {
            let position = self.earlier.iter().position(|tried| *tried == server.addr);
            (server.failed_attempts, position, random.next_u32())
        });
        best.map(|server| server.addr.clone())
    }

    /// Begins another round. The server that was tried last waits for the round after it.
    fn begin_round(&mut self) {
        let last = self.round.pop();
        self.earlier.append(&mut self.round);
        self.round.extend(last);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn pool(hosts: &[&str]) -> Vec<Server> {
        let server = |host: &&str| Server {
            addr: host.parse().unwrap(),
            failed_attempts: 0,
            did_connect: false,
            is_discovered: false,
            last_error: None,
        };
        hosts.iter().map(server).collect()
    }

    #[test]
    fn server_that_was_tried_comes_last() {
        let servers = pool(&["nats1", "nats2", "nats3"]);
        let mut first = Vec::new();
        for seed in 0..100 {
            let (next, mut random) = (NextServer::default(), StdRng::seed_from_u64(seed));
            let mut choose = || next.choose(&servers, &mut random).unwrap();
            let round = [choose(), choose(), choose()];
            for server in &servers {
                assert!(round.contains(&server.addr), "{round:?}");
            }
            assert_eq!([choose(), choose(), choose()], round, "and in turn");
            first.push(round[0].clone());
        }
        for server in &servers {
            assert!(first.contains(&server.addr), "nodes spread");
        }
    }

    /// Returns the same servers, of which some failed so many times.
    fn failed(hosts: &[(&str, usize)]) -> Vec<Server> {
        let mut servers = pool(&hosts.iter().map(|(host, _)| *host).collect::<Vec<_>>());
        for (server, (_, failed)) in servers.iter_mut().zip(hosts) {
            server.failed_attempts = *failed;
        }
        servers
    }

    #[test]
    fn server_that_failed_comes_after_those_that_did_not() {
        for seed in 0..100 {
            let (next, mut random) = (NextServer::default(), StdRng::seed_from_u64(seed));
            let servers = failed(&[("nats1", 0), ("dead", 1), ("nats3", 0)]);
            let dead = &servers[1].addr;
            let mut last = None;
            for lost in 0..20 {
                let server = next.choose(&servers, &mut random);
                assert_ne!(server.as_ref(), Some(dead), "{lost}");
                assert_ne!(server, last, "{lost}: the one that was lost");
                next.connected();
                last = server;
            }
        }
    }

    #[test]
    fn server_that_failed_often_is_tried_once_in_each_round() {
        let (next, mut random) = (NextServer::default(), StdRng::seed_from_u64(1));
        // Names without an address do not count as failed.
        let servers = failed(&[("gone1", 0), ("gone2", 0), ("back", 1000)]);
        for round in 0..20 {
            let tried = [(); 4].map(|()| next.choose(&servers, &mut random));
            let back = Some(servers[2].addr.clone());
            assert!(tried.contains(&back), "{round}: {tried:?}");
        }
        assert_eq!(next.count(), 3);
    }

    #[test]
    fn servers_that_come_and_go_are_followed() {
        let (next, mut random) = (NextServer::default(), StdRng::seed_from_u64(1));
        let mut choose = |hosts: &[&str]| next.choose(&pool(hosts), &mut random);
        assert_eq!(choose(&[]), None);
        let one = choose(&["nats1"]);
        assert_eq!(one, choose(&["nats1"]), "there is no other");
        assert_eq!(choose(&["nats1", "nats2"]), "nats2".parse().ok());
        assert_eq!(choose(&["nats2"]), "nats2".parse().ok());
    }
}
