//! The network interfaces, and the addresses that are announced to viewers.

use std::net::{IpAddr, SocketAddr};

use distributary_whep::admin::Finding;

use super::listed;
use crate::candidates::{Reach, reach};

const CHECK: &str = "addresses";

/// Returns the addresses of the interfaces with their names; none if they cannot be listed.
pub(super) fn interfaces() -> Vec<(String, IpAddr)> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.into_iter();
    addresses
        .map(|interface| (interface.name.clone(), interface.ip()))
        .collect()
}

/// Judges the addresses that are announced for the media address `listen`.
pub(super) fn findings(
    listen: SocketAddr,
    interfaces: &[(String, IpAddr)],
    announced: &[IpAddr],
) -> Vec<Finding> {
    let port = listen.port();
    let shown = interfaces.iter().filter(|(_, ip)| !ip.is_loopback());
    let shown = listed(shown.map(|(name, ip)| format!("{name} {ip}")));
    let mut findings = vec![Finding::ok(
        CHECK,
        format!("interfaces besides loopback: {shown}"),
    )];
    let addresses = listed(announced);
    findings.push(match reach(announced) {
        Reach::Machine => Finding::warning(
            CHECK,
            format!("only loopback is announced to viewers: {addresses}"),
        )
        .advise(format!(
            "Viewers on other machines cannot connect. Listen on all interfaces (webrtc = \"[::]:{port}\"), or \
             set advertise to the address at which viewers reach this machine."
        )),
        Reach::Private => Finding::warning(
            CHECK,
            format!("only private addresses are announced to viewers: {addresses}"),
        )
        .advise(format!(
            "Viewers outside this network cannot connect. For them, set advertise to the public address, and \
             let the router or cloud forward UDP and TCP port {port} to this machine."
        )),
        Reach::Public => Finding::ok(CHECK, format!("announced to viewers: {addresses}")),
    });
    let is_own = |address: &IpAddr| interfaces.iter().any(|(_, ip)| ip == address);
    let foreign: Vec<_> = announced.iter().filter(|ip| !is_own(ip)).collect();
    if !foreign.is_empty() && !interfaces.is_empty() {
        findings.push(Finding::ok(
            CHECK,
            format!(
                "of no interface of this machine: {}; a router or cloud has to forward UDP and TCP port {port} to it",
                listed(foreign)
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::text;

    fn judged(announced: &[&str]) -> String {
        let own = |name: &str, ip: &str| (name.to_owned(), ip.parse().unwrap());
        let interfaces = [
            own("lo", "127.0.0.1"),
            own("eth0", "192.168.1.5"),
            own("eth0", "2001:db8::5"),
        ];
        let announced: Vec<IpAddr> = announced.iter().map(|ip| ip.parse().unwrap()).collect();
        let findings = findings("[::]:8189".parse().unwrap(), &interfaces, &announced);
        text(&findings[1..])
    }

    #[test]
    fn addresses_are_judged_by_who_can_reach_them() {
        assert_eq!(
            judged(&["2001:db8::5", "192.168.1.5"]),
            "ok       addresses     announced to viewers: 2001:db8::5 and 192.168.1.5\n"
        );
        assert_eq!(
            judged(&["192.168.1.5"]),
            "warning  addresses     only private addresses are announced to viewers: 192.168.1.5\n\
             \x20                       Viewers outside this network cannot connect. For them, set advertise to the\n\
             \x20                       public address, and let the router or cloud forward UDP and TCP port 8189 to\n\
             \x20                       this machine.\n"
        );
        assert_eq!(
            judged(&["127.0.0.1"]),
            "warning  addresses     only loopback is announced to viewers: 127.0.0.1\n\
             \x20                       Viewers on other machines cannot connect. Listen on all interfaces (webrtc =\n\
             \x20                       \"[::]:8189\"), or set advertise to the address at which viewers reach this\n\
             \x20                       machine.\n"
        );
        assert_eq!(
            judged(&["203.0.113.7"]),
            "ok       addresses     announced to viewers: 203.0.113.7\n\
             ok       addresses     of no interface of this machine: 203.0.113.7; a router or cloud has to\n\
             \x20                       forward UDP and TCP port 8189 to it\n"
        );
    }
}
