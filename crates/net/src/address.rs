//! Client addresses: address units for limits, and trusted proxies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

pub use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Returns the unit for limits per address: an IPv4 address, or the /64 network of an IPv6 address,
/// because an IPv6 host usually has a /64 to itself.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip => ip,
    }
}

/// Returns the address that limits per address count; `None` for the loopback address, where
/// connections come from a local proxy (stunnel, nginx) of many clients, or from a test.
pub fn limited(ip: IpAddr) -> Option<IpAddr> {
    let ip = ip.to_canonical();
    (!ip.is_loopback()).then_some(ip)
}

/// Returns an address as people write it: the IPv4 address of a client that came over IPv4 to an
/// IPv6 socket.
pub fn canonical_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The proxies with a trusted `X-Forwarded-For` header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Network>", into = "Vec<Network>")]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Returns the address of the client. `forwarded` is the list in `X-Forwarded-For`. It is read
    /// from its end: the first address that is not a trusted proxy is the client. The client may
    /// have forged everything before it.
    pub fn client(&self, peer: IpAddr, forwarded: &str) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in forwarded.rsplit(',') {
            if !self.trusts(client) {
                break;
            }
            match address(hop.trim()) {
                Some(address) => client = address,
                None => break,
            }
        }
        client
    }

    /// Returns whether this is the address of a trusted proxy.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }
}

/// Parses an address as proxies write it, some with a port.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text
        .parse()
        .ok()
        .or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    ip.as_ref().map(IpAddr::to_canonical)
}

/// Parses a network (`10.0.0.0/8`), or an address as the network that contains only it.
///
/// # Errors
/// When it is neither.
pub fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    text.parse::<IpAddr>()
        .map(IpNet::from)
        .or_else(|_| text.parse())
        .map_err(|_| NetworkError(text.to_owned()))
}

/// The error for a text that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a network such as 10.0.0.0/8 instead of {0:?}")]
pub struct NetworkError(String);

/// A network as written in the configuration.
struct Network(IpNet);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        parse_network(text).map(Self)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

distributary_config::serde_as_text!(Network);

impl From<Vec<Network>> for TrustedProxies {
    fn from(networks: Vec<Network>) -> Self {
        Self(
            networks
                .into_iter()
                .map(|Network(network)| network)
                .collect(),
        )
    }
}

impl From<TrustedProxies> for Vec<Network> {
    fn from(proxies: TrustedProxies) -> Self {
        proxies.0.into_iter().map(Network).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ipv6_network_counts_as_one_address() {
        assert_eq!(network(ip("2001:db8::1")), network(ip("2001:db8::2")));
        assert_ne!(network(ip("2001:db8::1")), network(ip("2001:db8:0:1::1")));
        assert_ne!(network(ip("192.0.2.1")), network(ip("192.0.2.2")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn loopback_has_no_limit_per_address() {
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(limited(ip(local)), None, "{local}");
        }
        for other in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
            assert_eq!(limited(ip(other)), Some(ip(other)));
        }
    }

    #[test]
    fn only_trusted_proxies_set_the_client_address() {
        let networks = ["127.0.0.1", "10.0.0.0/8"].map(|text| parse_network(text).unwrap());
        let proxies = TrustedProxies(networks.to_vec());
        let client = |peer: &str, forwarded: &str| proxies.client(ip(peer), forwarded).to_string();
        assert_eq!(client("127.0.0.1", ""), "127.0.0.1");
        assert_eq!(client("127.0.0.1", "203.0.113.7"), "203.0.113.7");
        assert_eq!(
            client("::ffff:127.0.0.1", "203.0.113.7:40000"),
            "203.0.113.7"
        );
        // A client that forges the beginning of the list.
        assert_eq!(
            client("127.0.0.1", "1.1.1.1, 203.0.113.7, 10.1.2.3"),
            "203.0.113.7"
        );
        // A client that is not a proxy.
        assert_eq!(client("203.0.113.9", "127.0.0.1"), "203.0.113.9");
        assert_eq!(client("10.0.0.1", "unknown"), "10.0.0.1");
        assert_eq!(
            TrustedProxies::default().client(ip("127.0.0.1"), "1.1.1.1"),
            ip("127.0.0.1")
        );
    }
}
