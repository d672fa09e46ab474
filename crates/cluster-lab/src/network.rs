//! The network: a machine for each node, and this process's machine with encoders and viewers.
//!
//! ```text
//!            lan 10.77.0.0/24: encoders, viewers, admin API
//!   this machine ──┬───────────────┬───────────────┬── ...
//!                node 1          node 2          node 3
//!                  └───────────────┴───────────────┴── ...
//!            core 10.78.0.0/24: NATS
//! ```
//!
//! A machine that is cut off from the core is still reached over the lan, with all its addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use distributary_tests::machine::{Machine, run};

/// The two networks: name of the bridge, third part of the addresses.
const NETWORKS: [(&str, u8); 2] = [("lan", 77), ("core", 78)];

/// Machines of the nodes.
pub(crate) struct Network {
    machines: Vec<Machine>,
}

impl Network {
    /// Makes the network for some nodes. There can be one at a time.
    ///
    /// # Errors
    /// When the system refuses a device.
    pub(crate) fn new(nodes: usize) -> io::Result<Self> {
        let mut network = Self {
            machines: Vec::new(),
        };
        ip(&["link", "set", "lo", "up"])?;
        for (bridge, third) in NETWORKS {
            ip(&["link", "add", bridge, "type", "bridge"])?;
            let address = format!("10.{third}.0.254/24");
            ip(&["address", "add", &address, "dev", bridge])?;
            ip(&["link", "set", bridge, "up"])?;
        }
        for node in 0..nodes {
            let machine = Machine::start(&format!("the network of node {}", node + 1));
            let at = |arguments: &[&str]| run(machine.command("ip").args(arguments));
            at(&["link", "set", "lo", "up"])?;
            for (bridge, third) in NETWORKS {
                let (port, device) = (port(bridge, node), format!("to-{bridge}"));
                ip(&[
                    "link", "add", &port, "type", "veth", "peer", "name", &device,
                ])?;
                machine.take_device(&device)?;
                let address = format!("10.{third}.0.{}/24", node + 1);
                at(&["address", "add", &address, "dev", &device])?;
                at(&["link", "set", &device, "up"])?;
                ip(&["link", "set", &port, "master", bridge, "up"])?;
            }
            let route = [core(node), lan(node)].map(|address| address.to_string());
            ip(&["route", "add", &route[0], "via", &route[1]])?;
            network.machines.push(machine);
        }
        Ok(network)
    }

    /// Returns the machine of a node.
    pub(crate) fn machine(&self, node: usize) -> &Machine {
        &self.machines[node]
    }

    /// Cuts a node off from the core: its packets are lost, as those to it.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn cut(&self, node: usize) -> io::Result<()> {
        ip(&["link", "set", &port("core", node), "nomaster"])
    }

    /// Connects it again.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn heal(&self, node: usize) -> io::Result<()> {
        ip(&["link", "set", &port("core", node), "master", "core"])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The devices of the machines' ends go with the machines.
        for (bridge, _) in NETWORKS {
            for node in 0..self.machines.len() {
                let _ = ip(&["link", "delete", &port(bridge, node)]);
            }
            let _ = ip(&["link", "delete", bridge]);
        }
    }
}

/// Returns a node's address for encoders, viewers and the admin API.
pub(crate) fn lan(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, number(node)).into()
}

/// Returns a node's address for NATS.
pub(crate) fn core(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 78, 0, number(node)).into()
}

fn number(node: usize) -> u8 {
    u8::try_from(node + 1).unwrap_or(u8::MAX)
}

/// Returns the name of a bridge's port.
fn port(bridge: &str, node: usize) -> String {
    format!("{bridge}{}", node + 1)
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    run(Command::new("ip").args(arguments))
}
