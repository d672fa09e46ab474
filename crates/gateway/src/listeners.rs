//! Rules for the listen addresses of a configuration. Host names are not resolved.

use std::net::{IpAddr, Ipv4Addr};

use distributary_net::ListenAddress;

use crate::config::Config;
use crate::error::{Listener, StartError};

/// Returns every reason why the addresses cannot be used together.
pub(crate) fn check(config: &Config) -> Vec<StartError> {
    let listeners = tcp(config);
    let mut errors = Vec::new();
    for (at, (second, address)) in listeners.iter().enumerate() {
        errors.extend(
            listeners[..at]
                .iter()
                .filter(|(_, other)| collide(other, address))
                .map(|(first, other)| StartError::SamePort {
                    first: *first,
                    first_address: (*other).clone(),
                    second: *second,
                    second_address: (*address).clone(),
                }),
        );
    }
    if config.admin_token.is_empty() {
        errors.extend(
            listeners
                .iter()
                .filter(|(listener, _)| matches!(listener, Listener::Admin | Listener::AdminHttps))
                .filter(|(_, address)| is_reachable(address))
                .map(|(listener, address)| StartError::OpenAdmin {
                    listener: *listener,
                    address: (*address).clone(),
                }),
        );
    }
    errors
}

/// Returns what works only in part.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    if !config.viewers.tcp {
        return Vec::new();
    }
    let listeners = tcp(config).into_iter();
    listeners
        .filter(|(_, address)| collide(address, &config.webrtc))
        .map(|(listener, address)| {
            format!(
                "{} = \"{address}\" takes the TCP port of webrtc = \"{}\": viewers cannot connect over \
                 TCP, only over UDP",
                listener.key(),
                config.webrtc
            )
        })
        .collect()
}

/// Returns the TCP listeners that are on.
pub(crate) fn tcp(config: &Config) -> Vec<(Listener, &ListenAddress)> {
    [
        (Listener::Rtmp, Some(&config.rtmp)),
        (Listener::Rtmps, config.rtmps.listen.0.as_ref()),
        (Listener::Http, Some(&config.http)),
        (Listener::Https, config.https.listen.0.as_ref()),
        (Listener::Admin, config.admin.0.as_ref()),
        (Listener::AdminHttps, config.admin_https.listen.0.as_ref()),
    ]
    .into_iter()
    .filter_map(|(listener, address)| Some((listener, address?)))
    .collect()
}

/// Returns whether two listeners cannot have these addresses.
fn collide(a: &ListenAddress, b: &ListenAddress) -> bool {
    a.port() != 0
        && a.port() == b.port()
        && (a.host().eq_ignore_ascii_case(b.host()) || covers(a, b) || covers(b, a))
}

/// Returns whether `outer` includes `inner`. `[::]` includes IPv4 too.
fn covers(outer: &ListenAddress, inner: &ListenAddress) -> bool {
    match outer.host().parse() {
        Ok(IpAddr::V6(ip)) => ip.is_unspecified(),
        Ok(IpAddr::V4(ip)) => ip.is_unspecified() && inner.host().parse::<Ipv4Addr>().is_ok(),
        Err(_) => false,
    }
}

/// Returns whether other machines can reach an address. A name other than `localhost` is unknown
/// until the start, which checks its address.
fn is_reachable(address: &ListenAddress) -> bool {
    let ip = address.host().parse::<IpAddr>();
    ip.is_ok_and(|ip| !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn addresses_with_the_same_port_collide_where_they_overlap() {
        for (a, b, expected) in [
            ("[::]:80", "[::]:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("[::]:80", "gateway:80", true),
            ("gateway:80", "Gateway:80", true),
            ("[::]:80", "[::]:81", false),
            ("[::]:0", "[::]:0", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "[::1]:80", false),
            ("0.0.0.0:80", "gateway:80", false),
        ] {
            let (a, b): (ListenAddress, ListenAddress) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(collide(&a, &b), expected, "{a} {b}");
            assert_eq!(collide(&b, &a), expected, "{b} {a}");
        }
    }

    #[test]
    fn every_collision_and_every_open_admin_api_is_found() {
        let errors = check(&config(
            "http = 1935\nadmin = 8443\nhttps.listen = \"8443\"\nadmin_https.listen = \"[::]:1935\"",
        ));
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "RTMP (key rtmp, [::]:1935) and HTTP (key http, [::]:1935) have the same TCP port: choose \
                 another for one of them",
                "HTTPS (key https.listen, [::]:8443) and Admin API (key admin, [::]:8443) have the same \
                 TCP port: choose another for one of them",
                "RTMP (key rtmp, [::]:1935) and Admin API over HTTPS (key admin_https.listen, \
                 [::]:1935) have the same TCP port: choose another for one of them",
                "HTTP (key http, [::]:1935) and Admin API over HTTPS (key admin_https.listen, \
                 [::]:1935) have the same TCP port: choose another for one of them",
                "the admin API on [::]:8443 could be used by others than this machine: set admin_token \
                 in the configuration or DISTRIBUTARY_ADMIN_TOKEN, or choose a loopback address such as \
                 127.0.0.1:8443 with --admin HOST:PORT or the key admin",
                "the admin API on [::]:1935 could be used by others than this machine: set admin_token \
                 in the configuration or DISTRIBUTARY_ADMIN_TOKEN, or choose a loopback address such as \
                 127.0.0.1:1935 with the key admin_https.listen",
            ]
        );
        for fine in [
            "",
            "admin = \"localhost:1\"",
            "admin = 1\nadmin_token = \"a\"",
        ] {
            assert!(check(&config(fine)).is_empty(), "{fine}");
        }
    }

    #[test]
    fn taken_tcp_port_of_webrtc_is_a_warning() {
        assert_eq!(
            warnings(&config("webrtc = 8080")),
            [
                "http = \"[::]:8080\" takes the TCP port of webrtc = \"[::]:8080\": viewers cannot connect \
              over TCP, only over UDP"
            ]
        );
        assert!(warnings(&config("webrtc = 8080\nviewers.tcp = false")).is_empty());
        assert!(warnings(&Config::default()).is_empty());
    }
}
