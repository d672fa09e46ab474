//! The addresses told to viewers: the host candidates of the answers (RFC 8445 section 5.1.1.1).

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Most addresses that are announced; each costs every viewer a pair to check.
const MAX_CANDIDATES: usize = 32;

/// Why there is no address to announce.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// A name to advertise cannot be resolved.
    #[error("--advertise or the key advertise: {host:?} cannot be resolved: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// The interfaces of the machine cannot be listed.
    #[error("the network interfaces cannot be listed: {0}; use --advertise")]
    Interfaces(io::Error),
    /// No interface has an address of the family that is listened on.
    #[error("no network interface has an address that fits {0}; use --advertise")]
    None(SocketAddr),
}

/// The addresses at which viewers reach a gateway that listens on `listen`: those in `advertise`, or
/// else all that the machine has.
///
/// # Errors
/// When a name cannot be resolved, or nothing is found.
pub fn candidates(listen: SocketAddr, advertise: &[String]) -> Result<Vec<IpAddr>, CandidateError> {
    if !advertise.is_empty() {
        let mut addresses = Vec::new();
        for host in advertise {
            addresses.extend(resolve(host)?);
        }
        return Ok(tidy(addresses));
    }
    if !listen.ip().is_unspecified() {
        return Ok(vec![listen.ip()]);
    }
    let interfaces = if_addrs::get_if_addrs().map_err(CandidateError::Interfaces)?;
    let addresses = local(listen.ip(), interfaces.iter().map(if_addrs::Interface::ip));
    if addresses.is_empty() {
        return Err(CandidateError::None(listen));
    }
    Ok(addresses)
}

/// An address, or all addresses of a name.
fn resolve(host: &str) -> Result<Vec<IpAddr>, CandidateError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let resolved = (host, 0).to_socket_addrs();
    let addresses: Vec<_> = resolved
        .map_err(|source| CandidateError::Resolve {
            host: host.to_owned(),
            source,
        })?
        .map(|address| address.ip())
        .collect();
    Ok(addresses)
}

/// The addresses of the machine that a socket on the unspecified address `listen` receives from:
/// one of IPv6 takes IPv4 too.
///
/// Link-local IPv6 addresses mean nothing without the name of an interface, and that is another one
/// at the viewer's end.
fn local(listen: IpAddr, addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let is_usable = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => listen.is_ipv6() && !v6.is_unicast_link_local(),
    };
    tidy(addresses.filter(is_usable).collect())
}

/// Each address once, those that others can reach before loopback, within the bound.
fn tidy(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.retain(|address| !address.is_unspecified() && !address.is_multicast());
    for address in &mut addresses {
        *address = address.to_canonical();
    }
    addresses.sort_by_key(|address| (address.is_loopback(), *address));
    addresses.dedup();
    addresses.truncate(MAX_CANDIDATES);
    addresses
}

/// Whether nobody but this machine can reach any of these addresses.
pub(crate) fn only_loopback(addresses: &[IpAddr]) -> bool {
    addresses.iter().all(IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    const MACHINE: [&str; 6] = [
        "127.0.0.1",
        "192.0.2.2",
        "172.17.0.1",
        "::1",
        "2001:db8::2",
        "fe80::1",
    ];

    #[test]
    fn a_dual_stack_socket_announces_every_address_but_link_local_ones() {
        let found = local(Ipv6Addr::UNSPECIFIED.into(), ips(&MACHINE).into_iter());
        assert_eq!(
            found,
            ips(&["172.17.0.1", "192.0.2.2", "2001:db8::2", "127.0.0.1", "::1"])
        );
    }

    #[test]
    fn an_ipv4_socket_announces_ipv4_alone() {
        let found = local("0.0.0.0".parse().unwrap(), ips(&MACHINE).into_iter());
        assert_eq!(found, ips(&["172.17.0.1", "192.0.2.2", "127.0.0.1"]));
    }

    #[test]
    fn a_socket_on_one_address_announces_that_one() {
        let listen = "192.0.2.2:8189".parse().unwrap();
        assert_eq!(candidates(listen, &[]).unwrap(), ips(&["192.0.2.2"]));
    }

    #[test]
    fn advertised_hosts_replace_what_the_machine_has() {
        let listen = "[::]:8189".parse().unwrap();
        let advertise = ["203.0.113.7", "localhost", "203.0.113.7"].map(str::to_owned);
        let found = candidates(listen, &advertise).unwrap();
        assert_eq!(found.first(), Some(&"203.0.113.7".parse().unwrap()));
        assert!(found.len() > 1 && only_loopback(&found[1..]), "{found:?}");
    }

    #[test]
    fn a_name_that_does_not_resolve_is_named_with_its_flag() {
        let listen = "[::]:8189".parse().unwrap();
        let error = candidates(listen, &["no such host".to_owned()]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("--advertise") && text.contains("no such host"),
            "{text}"
        );
    }

    #[test]
    fn the_number_is_bounded() {
        let many = (0..200).map(|n| IpAddr::from([10, 0, 0, n]));
        assert_eq!(local([0, 0, 0, 0].into(), many).len(), MAX_CANDIDATES);
    }
}
