//! The addresses announced to viewers: the host candidates of the answers (RFC 8445 section
//! 5.1.1.1).

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Maximum number of announced addresses. Each costs every viewer a candidate pair to check.
const MAX_CANDIDATES: usize = 32;

/// Stands for the machine's own addresses in the list of hosts to announce.
pub(crate) const AUTOMATIC: &str = "auto";

/// The hosts and interfaces to announce.
#[derive(Clone, Copy, Debug)]
pub struct Announce<'a> {
    /// Addresses and host names; empty or `auto` for the machine's own addresses.
    pub hosts: &'a [String],
    /// Interfaces whose addresses are announced, by patterns of their names; empty for all.
    pub interfaces: &'a [String],
    /// Interfaces whose addresses are not announced.
    pub exclude: &'a [String],
}

/// The gateway has no address to announce.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// A host to advertise is neither a name nor an address.
    #[error(
        "--advertise or the key advertise: {0:?} is not a host: expected a host name or an address, \
         without http:// and without a port"
    )]
    NoHost(String),
    /// A name to advertise cannot be resolved.
    #[error("--advertise or the key advertise: {host:?} cannot be resolved: {source}")]
    Resolve {
        /// The host name.
        host: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The interfaces of the machine cannot be listed.
    #[error("the network interfaces cannot be listed: {0}; use --advertise")]
    Interfaces(io::Error),
    /// No interface has an address of the family of the listener.
    #[error("no network interface has an address that fits {0}; use --advertise")]
    None(SocketAddr),
}

/// Returns the hosts that are neither names nor addresses. Names are not resolved.
pub(crate) fn check(hosts: &[String]) -> impl Iterator<Item = CandidateError> {
    let wrong = hosts.iter().filter(|host| !is_host(host));
    wrong.map(|host| CandidateError::NoHost(host.clone()))
}

/// Returns whether a text is an address, or could be a host name.
fn is_host(text: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || "-._".contains(c);
    text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.chars().all(is_letter))
}

/// Returns the addresses at which viewers reach a gateway that listens on `listen`: the configured
/// ones, or else those of the machine.
///
/// Behind a NAT that maps one address to another, `listen` is the inner address, and the outer one
/// is configured.
///
/// # Errors
/// Fails when a name cannot be resolved, or no address is found.
pub fn candidates(
    listen: SocketAddr,
    announce: &Announce<'_>,
) -> Result<Vec<IpAddr>, CandidateError> {
    if announce.hosts.is_empty() {
        return automatic(listen, announce);
    }
    let (mut addresses, mut own) = (Vec::new(), Vec::new());
    for host in announce.hosts {
        if host == AUTOMATIC {
            own = automatic(listen, announce)?;
        } else {
            addresses.extend(resolve(host)?);
        }
    }
    // Loopback is useless to viewers if there is any other address.
    own.retain(|address| addresses.is_empty() || !address.is_loopback());
    addresses.extend(own);
    Ok(tidy(addresses))
}

/// Returns the machine's own addresses.
fn automatic(listen: SocketAddr, announce: &Announce<'_>) -> Result<Vec<IpAddr>, CandidateError> {
    if !listen.ip().is_unspecified() {
        return Ok(vec![listen.ip()]);
    }
    let interfaces = if_addrs::get_if_addrs().map_err(CandidateError::Interfaces)?;
    let chosen = interfaces
        .iter()
        .filter(|interface| announce.includes(&interface.name));
    let addresses = local(listen.ip(), chosen.map(if_addrs::Interface::ip));
    if addresses.is_empty() {
        return Err(CandidateError::None(listen));
    }
    Ok(addresses)
}

impl Announce<'_> {
    /// Returns whether the addresses of an interface are announced.
    fn includes(&self, interface: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, interface));
        (self.interfaces.is_empty() || any(self.interfaces)) && !any(self.exclude)
    }
}

/// Returns whether `name` matches `pattern`, in which one `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| rest.ends_with(after)),
        None => pattern == name,
    }
}

/// Returns an address, or all addresses of a name.
fn resolve(host: &str) -> Result<Vec<IpAddr>, CandidateError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if !is_host(host) {
        return Err(CandidateError::NoHost(host.to_owned()));
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

/// Returns the addresses of the machine on which a socket bound to the unspecified address `listen`
/// receives. An IPv6 socket receives IPv4 too.
///
/// Link-local addresses are useless beyond the link: those of IPv6 need the name of an interface,
/// which differs at the viewer's end; those of IPv4 remain where DHCP has failed. Loopback is
/// announced only when there is no other address: viewers on this machine reach the others as well,
/// and for all other viewers it is their own machine, which they would check in vain.
fn local(listen: IpAddr, addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let is_usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => listen.is_ipv6() && !v6.is_unicast_link_local(),
    };
    let mut addresses = tidy(addresses.filter(is_usable).collect());
    if !addresses.iter().all(IpAddr::is_loopback) {
        addresses.retain(|address| !address.is_loopback());
    }
    addresses
}

/// Removes duplicates, puts loopback last, and limits the number.
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

/// The range in which addresses can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only this machine can reach them.
    Machine,
    /// Only nearby networks can reach them.
    Private,
    /// At least one is reachable from everywhere.
    Public,
}

/// Returns the range of the announced addresses.
pub(crate) fn reach(addresses: &[IpAddr]) -> Reach {
    if addresses.iter().all(IpAddr::is_loopback) {
        Reach::Machine
    } else if addresses.iter().all(|address| is_private(*address)) {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Returns whether an address is not routed in the internet: RFC 1918, RFC 6598 (carrier-grade
/// NAT), RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Announces these hosts, from all interfaces.
    fn hosts(hosts: &[String]) -> Announce<'_> {
        Announce {
            hosts,
            interfaces: &[],
            exclude: &[],
        }
    }

    const MACHINE: [&str; 7] = [
        "169.254.7.7",
        "127.0.0.1",
        "192.0.2.2",
        "172.17.0.1",
        "::1",
        "2001:db8::2",
        "fe80::1",
    ];

    #[test]
    fn dual_stack_socket_announces_all_but_link_local_addresses() {
        let found = local(Ipv6Addr::UNSPECIFIED.into(), ips(&MACHINE).into_iter());
        assert_eq!(found, ips(&["172.17.0.1", "192.0.2.2", "2001:db8::2"]));
    }

    #[test]
    fn loopback_is_announced_only_without_other_addresses() {
        let alone = ips(&["127.0.0.1", "::1", "fe80::1"]);
        let found = local(Ipv6Addr::UNSPECIFIED.into(), alone.into_iter());
        assert_eq!(found, ips(&["127.0.0.1", "::1"]));
        let listen = "127.0.0.1:8189".parse().unwrap();
        let found = candidates(listen, &hosts(&["auto", "203.0.113.7"].map(str::to_owned)));
        assert_eq!(found.unwrap(), ips(&["203.0.113.7"]));
    }

    #[test]
    fn ipv4_socket_announces_only_ipv4() {
        let found = local("0.0.0.0".parse().unwrap(), ips(&MACHINE).into_iter());
        assert_eq!(found, ips(&["172.17.0.1", "192.0.2.2"]));
    }

    #[test]
    fn socket_on_one_address_announces_that_one() {
        let listen = "192.0.2.2:8189".parse().unwrap();
        assert_eq!(
            candidates(listen, &hosts(&[])).unwrap(),
            ips(&["192.0.2.2"])
        );
    }

    #[test]
    fn advertised_hosts_replace_the_machines_addresses() {
        let listen = "[::]:8189".parse().unwrap();
        let advertise = ["203.0.113.7", "localhost", "203.0.113.7"].map(str::to_owned);
        let found = candidates(listen, &hosts(&advertise)).unwrap();
        assert_eq!(found.first(), Some(&"203.0.113.7".parse().unwrap()));
        assert!(
            found.len() > 1 && reach(&found[1..]) == Reach::Machine,
            "{found:?}"
        );
    }

    #[test]
    fn unresolvable_name_is_reported_with_its_flag() {
        let listen = "[::]:8189".parse().unwrap();
        let error = candidates(listen, &hosts(&["no such host".to_owned()])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("--advertise") && text.contains("no such host"),
            "{text}"
        );
    }

    #[test]
    fn auto_adds_the_machines_own_addresses() {
        let listen = "192.0.2.2:8189".parse().unwrap();
        let advertise = ["auto", "203.0.113.7"].map(str::to_owned);
        let found = candidates(listen, &hosts(&advertise)).unwrap();
        assert_eq!(found, ips(&["192.0.2.2", "203.0.113.7"]));
    }

    #[test]
    fn interfaces_are_included_and_excluded_by_name() {
        let (interfaces, exclude) = (["eth*", "wg0"], ["docker*", "br-*", "eth9"]);
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (interfaces, exclude): (Vec<_>, Vec<_>) = (owned(&interfaces), owned(&exclude));
        let mut announce = Announce {
            hosts: &[],
            interfaces: &interfaces,
            exclude: &exclude,
        };
        assert!(announce.includes("eth0") && announce.includes("wg0"));
        assert!(!announce.includes("eth9") && !announce.includes("wlan0"));
        announce.interfaces = &[];
        assert!(announce.includes("wlan0") && announce.includes("bridge"));
        assert!(!announce.includes("docker0") && !announce.includes("br-1a2b"));
    }

    #[test]
    fn reach_of_addresses_is_known() {
        assert_eq!(reach(&ips(&["127.0.0.1", "::1"])), Reach::Machine);
        let private = [
            "10.0.0.1",
            "172.17.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
        ];
        assert_eq!(reach(&ips(&private)), Reach::Private);
        assert_eq!(reach(&ips(&["10.0.0.1", "203.0.113.7"])), Reach::Public);
        assert_eq!(reach(&ips(&["100.128.0.1"])), Reach::Public);
        assert_eq!(reach(&ips(&["2001:db8::2"])), Reach::Public);
    }

    #[test]
    fn number_of_candidates_is_limited() {
        let many = (0..200).map(|n| IpAddr::from([10, 0, 0, n]));
        assert_eq!(local([0, 0, 0, 0].into(), many).len(), MAX_CANDIDATES);
    }
}
