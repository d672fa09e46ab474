//! The choice of the NATS server that is connected next.

use std::sync::{Mutex, PoisonError};

use async_nats::{Server, ServerAddr};
use rand::Rng;
use rand::seq::IndexedRandom;

/// The servers that were tried, the last one at the end.
///
/// The connection to a server that stands still is lost first, and then its system still accepts
/// another one, in which nothing arrives: it must not be the next that is tried.
#[derive(Debug, Default)]
pub(crate) struct NextServer(Mutex<Vec<ServerAddr>>);

impl NextServer {
    /// Returns the server to connect: one of those that were not tried yet, or the one that was tried
    /// longest ago. `None` if there is no server.
    pub(crate) fn choose(&self, servers: &[Server], random: &mut impl Rng) -> Option<ServerAddr> {
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tried.retain(|tried| servers.iter().any(|server| server.addr == *tried));
        let fresh: Vec<&ServerAddr> = servers
            .iter()
            .map(|server| &server.addr)
            .filter(|address| !tried.contains(address))
            .collect();
        let next = match fresh.choose(random) {
            Some(address) => (*address).clone(),
            None if tried.is_empty() => return None,
            None => tried.remove(0),
        };
        tried.push(next.clone());
        Some(next)
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
