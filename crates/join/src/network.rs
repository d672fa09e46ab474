//! The network of a measurement: this process, with the browser, is the viewer's machine; two other
//! network namespaces are the gateway's and the publisher's. A [`Line`] connects the publisher with the
//! gateway, and another one the gateway with the viewer.
//!
//! `cargo xtask join` starts this program in namespaces of its own. They have no names: the system
//! removes them, and kills everything that runs there, when this program ends.

use std::io;
use std::process::Command;

use distributary_tests::machine::{Machine, run};
use tun_rs::SyncDevice;

use crate::line::{BACKLOG, Line, device};

/// An address at each end of the viewer's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Of TEST-NET-1 (RFC 5737).
    V4,
    /// Of the prefix for documentation (RFC 3849).
    V6,
}

impl Family {
    /// Returns the gateway's address, as a URL has it.
    pub(crate) fn gateway(self) -> &'static str {
        match self {
            Self::V4 => "192.0.2.1",
            Self::V6 => "[2001:db8::1]",
        }
    }
}

/// The gateway's address for its publisher: one of TEST-NET-2 (RFC 5737).
pub(crate) const INGEST: &str = "198.51.100.1";

/// Addresses of the devices, with the lengths of their prefixes.
const GATEWAY: &[&str] = &["192.0.2.1/24", "2001:db8::1/64"];
const VIEWER: &[&str] = &["192.0.2.2/24", "2001:db8::2/64"];
const INGEST_DEVICE: &[&str] = &["198.51.100.1/24"];
const PUBLISHER: &[&str] = &["198.51.100.2/24"];

/// MTU of a device where nothing else is asked for.
pub(crate) const ETHERNET: u16 = 1500;

/// The three machines and the paths between them.
pub(crate) struct Network {
    gateway: Machine,
    publisher: Machine,
    /// The path from the publisher to the gateway.
    pub(crate) uplink: Line,
    /// The path from the gateway to the viewer.
    pub(crate) downlink: Line,
}

impl Network {
    /// Makes the network.
    ///
    /// # Errors
    /// When the system refuses a device.
    pub(crate) fn new() -> io::Result<Self> {
        let gateway = Machine::start("the gateway's namespace");
        let publisher = Machine::start("the publisher's namespace");
        let uplink = Line::new(
            device_at(&publisher, "publisher", PUBLISHER)?,
            device_at(&gateway, "ingest", INGEST_DEVICE)?,
        );
        let to_gateway = device_at(&gateway, "gateway", GATEWAY)?;
        let to_viewer = device("viewer")?;
        bring_up("viewer", VIEWER, || Command::new("ip"))?;
        let downlink = Line::new(to_gateway, to_viewer);
        Ok(Self {
            gateway,
            publisher,
            uplink,
            downlink,
        })
    }

    /// Makes both paths perfect.
    pub(crate) fn clear(&self) {
        self.uplink.change(Default::default());
        self.downlink.change(Default::default());
    }

    /// Sets the MTU of the viewer's device.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn set_viewer_mtu(&self, mtu: u16) -> io::Result<()> {
        run(Command::new("ip").args(["link", "set", "viewer", "mtu", &mtu.to_string()]))
    }

    /// Returns a command that runs `program` on the gateway's machine.
    pub(crate) fn at_gateway(&self, program: &str) -> Command {
        self.gateway.command(program)
    }

    /// Returns a command that runs `program` on the publisher's machine.
    pub(crate) fn at_publisher(&self, program: &str) -> Command {
        self.publisher.command(program)
    }
}

/// Makes a device of another machine.
fn device_at(machine: &Machine, name: &str, addresses: &[&str]) -> io::Result<SyncDevice> {
    let device = device(name)?;
    machine.take_device(name)?;
    bring_up(name, addresses, || machine.command("ip"))?;
    Ok(device)
}

/// Sets up a device and loopback with the `ip` of its machine.
fn bring_up(name: &str, addresses: &[&str], ip: impl Fn() -> Command) -> io::Result<()> {
    let backlog = BACKLOG.to_string();
    for address in addresses {
        run(ip().args(["address", "add", address, "dev", name]))?;
    }
    run(ip().args(["link", "set", name, "txqueuelen", &backlog, "up"]))?;
    run(ip().args(["link", "set", "lo", "up"]))
}
