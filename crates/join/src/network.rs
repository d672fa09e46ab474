//! The network of a measurement: this process, with the browser, is the viewer's machine; another
//! network namespace is the gateway's; a TUN device of each ends in this process, which carries the
//! packets between them over a [`Path`].
//!
//! `cargo xtask join` starts this program in namespaces of its own. They have no names: the system
//! removes them, and kills everything that runs there, when this program ends.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it delays packets in real time"
)]

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use distributary_tests::machine::{Machine, run};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::packet::is_rtp;
use crate::path::{Direction, Path, PathSettings};

/// Address of the gateway: one of TEST-NET-1 (RFC 5737).
pub(crate) const GATEWAY: &str = "192.0.2.1";

/// Address of the viewer.
const VIEWER: &str = "192.0.2.2";

/// Packets that wait for this process at most, on each device and within it.
const BACKLOG: u16 = 10_000;

/// The longest packet.
const MTU: usize = 1500;

/// The two machines and the path between them.
pub(crate) struct Network {
    events: SyncSender<Event>,
    gateway: Machine,
}

/// Something for the thread that has the path.
enum Event {
    Packet(Instant, Direction, Vec<u8>),
    /// The path has other properties.
    Change(PathSettings),
    /// The arrival of the next media packet is wanted.
    Watch(Sender<Duration>),
}

impl Network {
    /// Makes the network.
    ///
    /// # Errors
    /// When the system refuses a device.
    pub(crate) fn new() -> io::Result<Self> {
        let gateway = Machine::start("the gateway's namespace");
        let (events, received) = sync_channel(BACKLOG.into());
        let network = Self { events, gateway };
        let to_gateway = network.gateway_device()?;
        let to_viewer = device("viewer")?;
        bring_up("viewer", VIEWER, || Command::new("ip"))?;
        read(&to_gateway, Direction::ToViewer, &network.events);
        read(&to_viewer, Direction::ToGateway, &network.events);
        thread::spawn(move || carry(&received, &to_gateway, &to_viewer));
        Ok(network)
    }

    /// Changes the path.
    pub(crate) fn change(&self, settings: PathSettings) {
        self.send(Event::Change(settings));
    }

    /// Returns a channel that gets the time, since 1970, at which the next media packet reaches the
    /// viewer.
    pub(crate) fn next_media(&self) -> Receiver<Duration> {
        let (sender, receiver) = channel();
        self.send(Event::Watch(sender));
        receiver
    }

    /// Returns a command that runs `program` on the gateway's machine.
    pub(crate) fn at_gateway(&self, program: &str) -> Command {
        self.gateway.command(program)
    }

    /// Makes the gateway's device, and moves it to the gateway's machine.
    fn gateway_device(&self) -> io::Result<Arc<SyncDevice>> {
        let device = device("gateway")?;
        self.gateway.take_device("gateway")?;
        bring_up("gateway", GATEWAY, || self.at_gateway("ip"))?;
        Ok(device)
    }

    fn send(&self, event: Event) {
        let sent = self.events.send(event);
        sent.unwrap_or_else(|_| panic!("the thread that carries packets has ended"));
    }
}

/// Makes a device on this machine.
fn device(name: &str) -> io::Result<Arc<SyncDevice>> {
    let device = DeviceBuilder::new().name(name).enable(false).build_sync();
    device.map(Arc::new).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("no TUN device can be made, is /dev/net/tun there? {error}"),
        )
    })
}

/// Sets up a device and loopback with the `ip` of its machine.
fn bring_up(name: &str, address: &str, ip: impl Fn() -> Command) -> io::Result<()> {
    let (address, backlog) = (format!("{address}/24"), BACKLOG.to_string());
    run(ip().args(["address", "add", &address, "dev", name]))?;
    run(ip().args(["link", "set", name, "txqueuelen", &backlog, "up"]))?;
    run(ip().args(["link", "set", "lo", "up"]))
}

/// Passes on all packets that a machine sends through its device.
fn read(device: &Arc<SyncDevice>, direction: Direction, events: &SyncSender<Event>) {
    let (device, events) = (Arc::clone(device), events.clone());
    thread::spawn(move || {
        let mut buffer = [0; MTU];
        while let Ok(length) = device.recv(&mut buffer) {
            let packet = buffer[..length].to_vec();
            if events
                .send(Event::Packet(Instant::now(), direction, packet))
                .is_err()
            {
                return;
            }
        }
    });
}

/// Carries packets from machine to machine until there is nobody to send any.
fn carry(events: &Receiver<Event>, gateway: &SyncDevice, viewer: &SyncDevice) {
    let mut path = Path::new(PathSettings::default());
    let mut watcher: Option<Sender<Duration>> = None;
    loop {
        let now = Instant::now();
        let event = match path.poll_timeout() {
            Some(due) => events.recv_timeout(due.saturating_duration_since(now)),
            None => events.recv().map_err(RecvTimeoutError::from),
        };
        match event {
            Ok(Event::Packet(now, direction, packet)) => path.handle_packet(now, direction, packet),
            Ok(Event::Change(settings)) => path.change(settings),
            Ok(Event::Watch(sender)) => watcher = Some(sender),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some((direction, packet)) = path.poll_packet(Instant::now()) {
            let device = match direction {
                Direction::ToViewer => viewer,
                Direction::ToGateway => gateway,
            };
            if direction == Direction::ToViewer
                && is_rtp(&packet)
                && let Some(watcher) = watcher.take()
            {
                // Nobody waits for it when the join has failed.
                let _ = watcher.send(since_epoch());
            }
            // A machine that takes no packet loses it.
            let _ = device.send(&packet);
        }
    }
}

/// Returns the time since 1970.
pub(crate) fn since_epoch() -> Duration {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.unwrap_or_default()
}
