//! One path of the network as a thread: a TUN device at each end, and the packets between them.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it delays packets in real time"
)]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tun_rs::{DeviceBuilder, SyncDevice};

use crate::packet::is_rtp;
use crate::path::{Direction, Path, PathSettings};

/// Packets that wait for this process at most, on each device and within it.
pub(crate) const BACKLOG: u16 = 10_000;

/// The longest packet.
const MTU: usize = 1500;

/// A path in use, with the thread that carries its packets.
pub(crate) struct Line {
    events: SyncSender<Event>,
}

/// Something for the thread that has the path.
enum Event {
    Packet(Instant, Direction, Vec<u8>),
    /// The path has other properties.
    Change(PathSettings),
    /// The arrival of the next media packet is wanted.
    Watch(Sender<Duration>),
}

impl Line {
    /// Makes a line without delay between the device where media comes from and the one where it goes.
    pub(crate) fn new(source: SyncDevice, sink: SyncDevice) -> Self {
        let (events, received) = sync_channel(BACKLOG.into());
        let (source, sink) = (Arc::new(source), Arc::new(sink));
        read(&source, Direction::Downstream, &events);
        read(&sink, Direction::Upstream, &events);
        thread::spawn(move || carry(&received, &source, &sink));
        Self { events }
    }

    /// Changes the path.
    pub(crate) fn change(&self, settings: PathSettings) {
        self.send(Event::Change(settings));
    }

    /// Returns a channel that gets the time, since 1970, at which the next media packet arrives.
    pub(crate) fn next_media(&self) -> Receiver<Duration> {
        let (sender, receiver) = channel();
        self.send(Event::Watch(sender));
        receiver
    }

    fn send(&self, event: Event) {
        let sent = self.events.send(event);
        sent.unwrap_or_else(|_| panic!("the thread that carries packets has ended"));
    }
}

/// Makes a device on this machine.
///
/// # Errors
/// When the system refuses.
pub(crate) fn device(name: &str) -> io::Result<SyncDevice> {
    let device = DeviceBuilder::new().name(name).enable(false).build_sync();
    device.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("no TUN device can be made, is /dev/net/tun there? {error}"),
        )
    })
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
fn carry(events: &Receiver<Event>, source: &SyncDevice, sink: &SyncDevice) {
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
                Direction::Downstream => sink,
                Direction::Upstream => source,
            };
            if direction == Direction::Downstream
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
