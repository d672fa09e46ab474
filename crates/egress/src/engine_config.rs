//! Configuration of the engine.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::config::ViewersConfig;

/// Configuration of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Address of the UDP port. An IPv6 wildcard accepts IPv4 too; port 0 chooses a free port.
    pub listen: SocketAddr,
    /// Addresses announced to viewers, the best first. The port is the one that is bound.
    pub candidates: Vec<IpAddr>,
    /// Maximum number of TCP connections; further ones wait in the kernel's queue.
    pub max_tcp_connections: usize,
    /// Maximum number of TCP connections of one address, an IPv6 /64 network counting as one;
    /// further ones are closed.
    pub max_tcp_connections_per_address: usize,
    /// Time that viewers of a stream wait for its publisher to come, or to come back, before they
    /// are closed; `None` is for ever.
    pub offline_grace: Option<Duration>,
    /// True if viewers get sender reports several times a second while their publisher is silent.
    pub reports_silence: bool,
    /// Configuration of viewers.
    pub viewers: ViewersConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let viewers = ViewersConfig::default();
        Self {
            listen: (Ipv6Addr::UNSPECIFIED, 8189).into(),
            candidates: Vec::new(),
            max_tcp_connections: 20_000,
            max_tcp_connections_per_address: 5_000,
            offline_grace: Some(viewers.offline_grace),
            reports_silence: false,
            viewers,
        }
    }
}
