//! The samples for containers are valid for compose, and do what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use distributary_tests::gateway;

const BASE: &str = "docker-compose.yml";
const PORTS: &str = "docker-compose.ports.yml";
const TURN: &str = "docker-compose.turn.yml";
const CLUSTER: &str = "docker-compose.cluster.yml";

/// Runs `docker-compose` on some of the files, with some variables.
fn compose(files: &[&str], variables: &[(&str, &str)], command: &[&str]) -> Output {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    Command::new("docker-compose")
        .current_dir(root)
        .env_remove("ADMIN_TOKEN")
        .env_remove("ADVERTISE")
        .env_remove("TURN_SECRET")
        .envs(variables.iter().copied())
        .args(files.iter().flat_map(|file| ["-f", file]))
        .args(command)
        .output()
        .expect("docker-compose can be run")
}

/// Returns what `docker-compose` prints if it accepts the files.
fn accepted(files: &[&str], variables: &[(&str, &str)], command: &[&str]) -> String {
    let output = compose(files, variables, command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn services(files: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    let listed = accepted(files, variables, &["config", "--services"]);
    let mut services: Vec<_> = listed.lines().map(str::to_owned).collect();
    services.sort_unstable();
    services
}

#[test]
fn every_combination_has_one_gateway() {
    let variables = [("ADVERTISE", "192.0.2.7"), ("TURN_SECRET", "text")];
    let without_turn = ["gateway", "grafana", "prometheus"];
    assert_eq!(services(&[BASE], &[]), without_turn);
    assert_eq!(services(&[BASE, PORTS], &variables[..1]), without_turn);
    let all = services(&[BASE, PORTS, TURN], &variables);
    assert_eq!(all, ["gateway", "grafana", "prometheus", "turn"]);
}

#[test]
fn published_ports_replace_the_network_of_the_host() {
    let variables = [("ADVERTISE", "192.0.2.7")];
    // Some versions print ports in quotes.
    let config = accepted(&[BASE, PORTS], &variables, &["config"]).replace('"', "");
    let gateway = config.split("  grafana:").next().unwrap_or_default();
    assert!(gateway.contains("network_mode: bridge"), "{gateway}");
    assert!(!gateway.contains("network_mode: host"), "{gateway}");
    for port in [1935, 1936, 8080, 8189, 8443] {
        let published = format!("published: {port}");
        assert!(gateway.contains(&published), "{published}: {gateway}");
    }
    assert!(gateway.contains("protocol: udp"), "{gateway}");
}

#[test]
fn turn_server_relays_to_the_gateway_alone() {
    let variables = [("ADVERTISE", "192.0.2.7"), ("TURN_SECRET", "text")];
    let config = accepted(&[BASE, TURN], &variables, &["config"]);
    for option in [
        "--no-tcp-relay",
        "--denied-peer-ip=0.0.0.0-255.255.255.255",
        "--denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "--allowed-peer-ip=192.0.2.7",
        "DISTRIBUTARY_ADVERTISE: 192.0.2.7",
    ] {
        assert!(config.contains(option), "{option}: {config}");
    }
    assert_eq!(config.matches("--allowed-peer-ip").count(), 1, "{config}");
}

#[test]
fn cluster_has_three_gateways_and_three_nats_servers() {
    let variables = [("ADVERTISE", "192.0.2.7"), ("ADMIN_TOKEN", "text")];
    let services = services(&[CLUSTER], &variables);
    let expected = [
        "gateway1", "gateway2", "gateway3", "nats1", "nats2", "nats3",
    ];
    assert_eq!(services, expected);
    let config = accepted(&[CLUSTER], &variables, &["config"]);
    let nats = "nats://nats1:4222,nats://nats2:4222,nats://nats3:4222";
    assert_eq!(config.matches(nats).count(), 3, "{config}");
    assert_eq!(
        config.matches("DISTRIBUTARY_ADVERTISE: 192.0.2.7").count(),
        3,
        "{config}"
    );
}

#[test]
fn variables_of_a_cluster_reach_the_gateway() {
    let variables = [
        ("DISTRIBUTARY_CLUSTER_NATS", "nats://192.0.2.7:4222"),
        ("DISTRIBUTARY_CLUSTER_NODE", "node-one"),
        ("DISTRIBUTARY_CLUSTER_PUBLIC_URL", "https://one.example"),
        ("DISTRIBUTARY_CLUSTER_USER", "somebody"),
        ("DISTRIBUTARY_CLUSTER_PASSWORD", "the password"),
        ("DISTRIBUTARY_CLUSTER_TOKEN", "the token"),
        ("DISTRIBUTARY_ADVERTISE", "192.0.2.8"),
    ];
    let config = accepted(&[BASE], &variables, &["config"]);
    for (name, value) in variables {
        assert!(config.contains(&format!("{name}: {value}")), "{config}");
    }
}

#[test]
fn variables_that_are_empty_are_no_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join(BASE)).expect("the sample can be read");
    // Those that are passed on have no value.
    let names = text.lines().filter_map(|line| {
        let name = line.trim().strip_suffix(':')?;
        name.starts_with("DISTRIBUTARY_").then(|| name.to_owned())
    });
    let environment: BTreeMap<_, _> = names.map(|name| (name, String::new())).collect();
    assert!(environment.contains_key("DISTRIBUTARY_CLUSTER_NATS"));
    let run = gateway::run_in(&environment, &["check"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let printed = format!("{}{}", run.stdout, run.stderr);
    assert!(!printed.contains("DISTRIBUTARY_"), "{printed}");
}

#[test]
fn gateways_of_the_cluster_share_no_port_of_the_host() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join(CLUSTER)).expect("the sample can be read");
    // Such as - "8199:8199/udp", with an address before it where only this machine may connect.
    let ports = text.lines().filter_map(|line| {
        let (mapping, protocol) = line.trim().strip_prefix("- \"")?.split_once('/')?;
        let (outside, inside) = mapping.rsplit_once(':')?;
        let outside = outside.rsplit(':').next()?;
        Some((outside, inside, protocol.trim_end_matches('"')))
    });
    let ports: Vec<_> = ports
        .filter(|(outside, ..)| outside.parse::<u16>().is_ok())
        .collect();
    assert_eq!(ports.len(), 15, "{ports:?}");
    let of_the_host: BTreeSet<_> = ports.iter().map(|port| (port.0, port.2)).collect();
    assert_eq!(of_the_host.len(), ports.len(), "{ports:?}");

    let media: Vec<_> = text
        .split("DISTRIBUTARY_WEBRTC: \"[::]:")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or_default())
        .collect();
    assert_eq!(media.len(), 3, "{media:?}");
    for port in media {
        for protocol in ["udp", "tcp"] {
            assert!(
                ports.contains(&(port, port, protocol)),
                "{port}/{protocol}: {ports:?}"
            );
        }
    }
}

#[test]
fn required_variables_have_no_default() {
    for (files, variables, missing) in [
        (&[BASE, PORTS][..], &[][..], "ADVERTISE"),
        (&[BASE, TURN], &[("ADVERTISE", "192.0.2.7")], "TURN_SECRET"),
        (&[BASE, TURN], &[("TURN_SECRET", "text")], "ADVERTISE"),
        (&[CLUSTER], &[("ADVERTISE", "192.0.2.7")], "ADMIN_TOKEN"),
        (&[CLUSTER], &[("ADMIN_TOKEN", "text")], "ADVERTISE"),
    ] {
        let output = compose(files, variables, &["config"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{missing} is required");
        assert!(errors.contains(missing), "{errors}");
    }
}
