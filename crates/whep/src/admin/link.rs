//! The network link of this machine, as the system reports it (proc(5), sysfs(5)): the interface
//! of the default route. On other systems than Linux nothing is known.

use std::fs;
use std::time::Duration;

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

/// The bytes sent so far through an interface.
#[derive(Debug)]
pub(super) struct SentBytes {
    interface: String,
    bytes: u64,
}

impl SentBytes {
    /// Reads the count of the interface of the default route.
    pub(super) fn read() -> Option<Self> {
        let interface = interface()?;
        let path = format!("/sys/class/net/{interface}/statistics/tx_bytes");
        let bytes = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(Self { interface, bytes })
    }

    /// Returns the rate since an earlier count, in bits per second. `None` if that is of another
    /// interface: the default route has moved.
    pub(super) fn rate_since(&self, earlier: &Self, time: Duration) -> Option<u64> {
        if self.interface != earlier.interface {
            return None;
        }
        let sent = self.bytes.saturating_sub(earlier.bytes) as f64;
        Some((sent * 8.0 / time.as_secs_f64().max(0.1)) as u64)
    }
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
    fn rate_is_not_known_while_the_default_route_moves_to_another_interface() {
        let sent = |interface: &str, bytes| SentBytes {
            interface: interface.to_owned(),
            bytes,
        };
        let second = Duration::from_secs(1);
        let eth0 = sent("eth0", 1_000);
        let rate = |count: SentBytes| count.rate_since(&eth0, second);
        assert_eq!(rate(sent("eth0", 126_000)), Some(1_000_000));
        assert_eq!(rate(sent("wlan0", 9_000_000_000)), None);
        // The interface was made anew, and counts from zero.
        assert_eq!(rate(sent("eth0", 7)), Some(0));
    }

    #[test]
    fn capacity_is_known_if_the_driver_knows_it() {
        assert_eq!(capacity("10000\n"), Some(10_000_000_000));
        assert_eq!(capacity("-1\n"), None);
        assert_eq!(capacity(""), None);
    }
}
