//! The listeners: bound by the running gateway, or free for one.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use distributary_whep::admin::Finding;

use crate::banner::Addresses;
use crate::config::Config;
use crate::error::{Listener, StartError};
use crate::listeners;

const CHECK: &str = "ports";

/// Describes the listeners of a running gateway.
pub(super) fn bound(config: &Config, addresses: &Addresses) -> Vec<Finding> {
    let Addresses {
        rtmp,
        rtmps,
        http,
        https,
        admin,
        admin_https,
        webrtc,
        webrtc_tcp,
        ..
    } = addresses;
    let tcp = [
        (Listener::Rtmp, Some(rtmp)),
        (Listener::Rtmps, rtmps.as_ref()),
        (Listener::Http, Some(http)),
        (Listener::Https, https.as_ref()),
        (Listener::Admin, admin.as_ref()),
        (Listener::AdminHttps, admin_https.as_ref()),
    ];
    let tcp = tcp
        .into_iter()
        .filter_map(|(listener, address)| Some(format!("{listener} {}", address?)));
    let tcp: Vec<_> = tcp.collect();
    let media = if *webrtc_tcp { "UDP and TCP" } else { "UDP" };
    let mut findings = vec![Finding::ok(
        CHECK,
        format!("bound: {}, WebRTC {webrtc} ({media})", tcp.join(", ")),
    )];
    if config.viewers.tcp && !webrtc_tcp {
        findings.push(
            Finding::warning(
                CHECK,
                format!(
                    "TCP port {} is taken: viewers can connect only over UDP",
                    webrtc.port()
                ),
            )
            .advise("Choose another port with webrtc, for viewers whose network blocks UDP."),
        );
    }
    findings
}

/// Finds out whether the listeners of a configuration can be bound.
pub(super) fn free(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<_> = listeners::check(config)
        .iter()
        .map(|error| Finding::error(CHECK, error.to_string()))
        .collect();
    let mut free = Vec::new();
    for (listener, address) in listeners::tcp(config) {
        match address.resolve() {
            Ok(resolved) => match TcpListener::bind(resolved) {
                Ok(_) => free.push(format!("{listener} {address}")),
                Err(error) => findings.push(refused(listener, resolved, error)),
            },
            Err(source) => findings.push(Finding::error(
                CHECK,
                StartError::Resolve {
                    listener,
                    address: address.clone(),
                    source,
                }
                .to_string(),
            )),
        }
    }
    if let Ok(resolved) = config.webrtc.resolve() {
        match UdpSocket::bind(resolved) {
            Ok(_) => free.push(format!("{} {}", Listener::WebRtc, config.webrtc)),
            Err(error) => findings.push(refused(Listener::WebRtc, resolved, error)),
        }
    }
    if !free.is_empty() {
        findings.insert(0, Finding::ok(CHECK, format!("free: {}", free.join(", "))));
    }
    findings
}

fn refused(listener: Listener, address: SocketAddr, error: std::io::Error) -> Finding {
    let is_privileged = error.kind() == std::io::ErrorKind::PermissionDenied;
    let finding = Finding::error(
        CHECK,
        StartError::listen(listener, address, error).to_string(),
    );
    if is_privileged {
        return finding.advise(
            "Ports below 1024 need a capability: AmbientCapabilities=CAP_NET_BIND_SERVICE of systemd, or \
             sysctl -w net.ipv4.ip_unprivileged_port_start=0.",
        );
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::text;

    #[test]
    fn taken_port_is_an_error_with_the_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let config: Config = toml::from_str(&format!(
            "rtmp = \"127.0.0.1:0\"\nhttp = \"{address}\"\nadmin = \"\"\nwebrtc = \"127.0.0.1:0\"\n"
        ))
        .unwrap();
        let words: Vec<_> = text(&free(&config))
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let port = address.port();
        assert_eq!(
            words.join(" "),
            format!(
                "ok ports free: RTMP 127.0.0.1:0, WebRTC (UDP) 127.0.0.1:0 error ports HTTP port {port} is in \
                 use ({address}): choose another with --http HOST:PORT or the key http of the configuration"
            )
        );
    }

    #[test]
    fn running_gateway_without_its_tcp_port_is_a_warning() {
        let address = |text: &str| text.parse().unwrap();
        let addresses = Addresses {
            rtmp: address("[::]:1935"),
            rtmps: None,
            http: address("[::]:8080"),
            https: None,
            admin: Some(address("127.0.0.1:8180")),
            admin_https: None,
            webrtc: address("[::]:8189"),
            webrtc_tcp: false,
            candidates: Vec::new(),
            demo: false,
            access: crate::banner::AccessMethods::default(),
        };
        assert_eq!(
            text(&bound(&Config::default(), &addresses)),
            "ok       ports         bound: RTMP [::]:1935, HTTP [::]:8080, Admin API 127.0.0.1:8180, WebRTC\n\
             \x20                       [::]:8189 (UDP)\n\
             warning  ports         TCP port 8189 is taken: viewers can connect only over UDP\n\
             \x20                       Choose another port with webrtc, for viewers whose network blocks UDP.\n"
        );
    }
}
