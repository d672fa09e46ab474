//! The network link of this machine, as the system reports it (proc(5), sysfs(5)): the interface
//! of the default route. On other systems than Linux nothing is known.

use std::fs;

use serde::Serialize;

/// The link to the viewers, if it is the one of the default route.
#[derive(Serialize)]
pub(super) struct LinkStatus {
    interface: String,
    /// Bits per second that the whole machine has sent through it in the last second; `None` before
    /// the second sample.
    sent_bps: Option<u64>,
    /// Bits per second that it carries; `None` where the driver does not know, as in many virtual
    /// machines.
    capacity_bps: Option<u64>,
}

impl LinkStatus {
    /// Reads the link; its rate is measured elsewhere. Returns `None` without default route.
    pub(super) fn read(sent_bps: Option<u64>) -> Option<Self> {
        let interface = interface()?;
        let speed = fs::read_to_string(format!("/sys/class/net/{interface}/speed"));
        Some(Self {
            capacity_bps: speed.ok().as_deref().and_then(capacity),
            sent_bps,
            interface,
        })
    }
}

/// Returns the bytes sent so far through the interface of the default route.
pub(super) fn sent_bytes() -> Option<u64> {
    let path = format!("/sys/class/net/{}/statistics/tx_bytes", interface()?);
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Returns the interface of the default route, for IPv4 or else for IPv6.
fn interface() -> Option<String> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    default_v4(&read("/proc/net/route")).or_else(|| default_v6(&read("/proc/net/ipv6_route")))
}

/// Returns the interface of the default route with the lowest metric in the text of
/// `/proc/net/route`: interface, destination, gateway, flags, two counters, metric, mask.
fn default_v4(routes: &str) -> Option<String> {
    let routes = routes.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [name, "00000000", _, _, _, _, metric, "00000000", ..] => {
                Some((metric.parse::<u32>().ok()?, name))
            }
            _ => None,
        }
    });
    routes.min().map(|(_, name)| name.to_owned())
}

/// Returns the same in the text of `/proc/net/ipv6_route`: destination and its prefix length,
/// source and its, next hop, metric, two counters, flags, interface; all in hexadecimal.
fn default_v6(routes: &str) -> Option<String> {
    let routes = routes.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [destination, "00", _, _, _, metric, _, _, _, name]
                if name != "lo" && destination.bytes().all(|digit| digit == b'0') =>
            {
                Some((u32::from_str_radix(metric, 16).ok()?, name))
            }
            _ => None,
        }
    });
    routes.min().map(|(_, name)| name.to_owned())
}

/// Returns the capacity in the text of `speed`, which is in Mbit/s, and -1 if it is not known.
fn capacity(speed: &str) -> Option<u64> {
    let megabits: u64 = speed.trim().parse().ok()?;
    (megabits > 0).then_some(megabits * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_of_the_default_route_with_the_lowest_metric_is_found() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                      docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n\
                      wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\n\
                      eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\n";
        assert_eq!(default_v4(routes).as_deref(), Some("eth0"));
        assert_eq!(default_v4("Iface\tDestination\n"), None);
        let zeros = "00000000000000000000000000000000";
        let routes = format!(
            "{zeros} 00 {zeros} 00 {zeros} ffffffff 00000001 00000000 00200200 lo\n\
             20010db8000000000000000000000000 40 {zeros} 00 {zeros} 00000100 0 0 00000001 eth1\n\
             {zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 0 0 00000003 eth1\n"
        );
        assert_eq!(default_v6(&routes).as_deref(), Some("eth1"));
    }

    #[test]
    fn capacity_is_known_if_the_driver_knows_it() {
        assert_eq!(capacity("10000\n"), Some(10_000_000_000));
        assert_eq!(capacity("-1\n"), None);
        assert_eq!(capacity(""), None);
    }
}
