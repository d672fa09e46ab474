//! The connection doctor: examines this machine's side of the gateway.
//!
//! Each part collects its facts from the system and judges them in a function of its own, so that
//! the messages can be tested without such a machine.
//!
//! * `addresses`: interfaces and announced addresses.
//! * `ports`: listeners that can be bound, or are.
//! * `reachability`: STUN to itself by each announced address.
//! * `clock`, `limits`, `ffmpeg`, `certificates`: what their names say.

mod addresses;
mod certificates;
mod clock;
mod ffmpeg;
mod limits;
mod ports;
mod reachability;

use std::net::IpAddr;

use distributary_egress::engine::Engine;
use distributary_whep::admin::Finding;

use crate::banner::Addresses;
use crate::candidates::{Announce, candidates};
use crate::config::Config;

/// A gateway that runs in this process.
pub(crate) struct Running {
    /// Its addresses.
    pub(crate) addresses: Addresses,
    /// Its engine.
    pub(crate) engine: Engine,
}

/// Examines a gateway that runs in this process. Takes up to some seconds, and blocks.
pub(crate) fn examine_running(config: &Config, running: &Running) -> Vec<Finding> {
    let Addresses {
        webrtc, candidates, ..
    } = &running.addresses;
    let mut findings = addresses::findings(*webrtc, &addresses::interfaces(), candidates);
    findings.extend(ports::bound(config, &running.addresses));
    findings.extend(reachability::of_engine(&running.engine, candidates));
    findings.extend(examine_machine(config));
    findings
}

/// Examines this machine without a running gateway. Takes up to some seconds, and blocks.
pub(crate) fn examine_alone(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match announced(config) {
        Ok((listen, announced)) => {
            let interfaces = addresses::interfaces();
            findings.extend(addresses::findings(listen, &interfaces, &announced));
            findings.extend(ports::free(config));
            findings.extend(reachability::of_port(listen, &announced));
        }
        Err(reason) => {
            let advice = "Set advertise to the address at which viewers reach this machine.";
            findings.push(Finding::error("addresses", reason).advise(advice));
            findings.extend(ports::free(config));
        }
    }
    findings.extend(examine_machine(config));
    findings
}

/// Examines what does not depend on whether the gateway runs.
fn examine_machine(config: &Config) -> Vec<Finding> {
    let mut findings = clock::findings(clock::state());
    findings.extend(limits::findings(&limits::facts(config)));
    findings.extend(ffmpeg::findings(&config.transcode));
    findings.extend(certificates::findings(config));
    findings
}

/// Returns the media address and the announced addresses.
fn announced(config: &Config) -> Result<(std::net::SocketAddr, Vec<IpAddr>), String> {
    let listen = config.webrtc.resolve();
    let listen = listen.map_err(|error| format!("webrtc = \"{}\": {error}", config.webrtc))?;
    let announce = Announce {
        hosts: &config.advertise,
        interfaces: &config.interfaces,
        exclude: &config.exclude_interfaces,
    };
    let announced = candidates(listen, &announce).map_err(|error| error.to_string())?;
    Ok((listen, announced))
}

/// Joins values as `a, b and c`.
fn listed<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let mut values: Vec<_> = values.into_iter().map(|value| value.to_string()).collect();
    let Some(last) = values.pop() else {
        return "none".to_owned();
    };
    match values.len() {
        0 => last,
        _ => format!("{} and {last}", values.join(", ")),
    }
}

/// Returns findings as the command prints them, for tests of the messages.
#[cfg(test)]
fn text(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect()
}
