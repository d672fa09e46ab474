//! The thread of a shard and the loop that drives it.

use std::io;
use std::panic;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use distributary_hub::{Delivery, Sink};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::command::Command;
use crate::receive_pace::{Receipt, ReceivePace};
use crate::shard::Shard;
use crate::socket_events::SocketEvents;
use crate::state::EngineState;
use crate::udp::{ReceiveBuffers, ShardSocket};

/// Deliveries of the hub that may wait, all streams together: each stream has its own share.
const QUEUE: usize = 8192;

/// Maximum number of deliveries and of commands per turn, so that the socket gets its turn.
const TURN: usize = 64;

/// Starts the thread of shard `index` and waits until it runs.
///
/// # Errors
/// Returns the system's error if the thread or its socket cannot be set up.
pub(crate) fn spawn(
    index: usize,
    socket: std::net::UdpSocket,
    inbox: mpsc::Receiver<Command>,
    shared: Arc<EngineState>,
) -> io::Result<JoinHandle<()>> {
    let (started, result) = std::sync::mpsc::sync_channel(1);
    let name = format!("egress {index}");
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let failures = Arc::clone(&shared);
            let serve = async move {
                let socket = match ShardSocket::new(socket) {
                    Ok(socket) => socket,
                    Err(error) => return drop(started.send(Err(error))),
                };
                drop(started.send(Ok(())));
                let events = socket.events();
                let (sink, deliveries) = Sink::channel(QUEUE);
                let driver = Driver {
                    shard: Shard::new(index, Arc::clone(&shared), socket, sink, clock()),
                    shared,
                    inbox,
                    deliveries,
                    events,
                    inlet: Inlet {
                        index,
                        pace: ReceivePace::default(),
                        buffers: ReceiveBuffers::new(),
                    },
                };
                driver.run().await;
            };
            let run = || {
                // As a task: what wakes the future of `block_on` itself does so through the kernel,
                // also on this thread.
                let served = runtime.block_on(runtime.spawn(serve));
                if let Err(error) = served {
                    panic::resume_unwind(error.into_panic());
                }
            };
            failures.failures.watch(&name, run);
        })?;
    result
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the thread did not start")))?;
    Ok(thread)
}

/// Returns the time. This is the only function of a shard that reads the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the shard's loop is the driver of its viewers"
)]
fn clock() -> Instant {
    Instant::now()
}

/// A shard and its inputs.
struct Driver {
    shared: Arc<EngineState>,
    shard: Shard<ShardSocket>,
    inbox: mpsc::Receiver<Command>,
    deliveries: mpsc::Receiver<Delivery>,
    events: SocketEvents,
    inlet: Inlet,
}

/// The way of datagrams from the socket to the shard.
struct Inlet {
    index: usize,
    pace: ReceivePace,
    buffers: ReceiveBuffers,
}

impl Driver {
    /// Serves until the shutdown command.
    async fn run(mut self) {
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut now = clock();
        loop {
            let receive = self.inlet.pace.poll_timeout();
            let deadline = self.shard.poll_timeout().into_iter().chain(receive).min();
            let is_due = deadline.is_some_and(|deadline| deadline <= now);
            if let Some(deadline) = deadline {
                arm(timer.as_mut(), deadline);
            }
            self.events
                .wait_for(receive.is_none(), self.shard.has_unsent());
            let mut had_deliveries = false;
            tokio::select! {
                command = self.inbox.recv() => {
                    if !self.handle_commands(command) {
                        break;
                    }
                }
                Some(delivery) = self.deliveries.recv() => {
                    self.handle_deliveries(&delivery);
                    had_deliveries = true;
                }
                Ok(ready) = self.events.ready() => {
                    if ready.has_datagrams() {
                        match self.inlet.receive(&mut self.shard) {
                            Receipt::Nothing | Receipt::All => ready.note_empty(),
                            Receipt::Batch | Receipt::Error => {}
                        }
                    }
                    if ready.has_room() {
                        self.shard.handle_writable(clock());
                        if self.shard.has_unsent() {
                            ready.note_full();
                        }
                    }
                }
                // The timer counts whole milliseconds.
                () = tokio::task::yield_now(), if is_due => {}
                () = timer.as_mut(), if deadline.is_some() && !is_due => {}
            }
            // Frames wait for no more than one of the others.
            if !had_deliveries && let Ok(delivery) = self.deliveries.try_recv() {
                self.handle_deliveries(&delivery);
            }
            now = clock();
            let receive = self.inlet.pace.poll_timeout();
            if receive.is_some_and(|due| due <= now) {
                self.inlet.receive(&mut self.shard);
            }
            if self
                .shard
                .poll_timeout()
                .is_some_and(|deadline| deadline <= now)
            {
                self.shard.handle_timeout(now);
            }
        }
        self.shard.close_all(clock());
    }

    /// Handles a delivery and those behind it.
    fn handle_deliveries(&mut self, delivery: &Delivery) {
        let now = clock();
        self.handle_delivery(delivery, now);
        for _ in 0..TURN {
            let Ok(delivery) = self.deliveries.try_recv() else {
                break;
            };
            self.handle_delivery(&delivery, now);
        }
    }

    /// Handles a delivery, and notes how long a frame took from its publisher to the last viewer.
    fn handle_delivery(&mut self, delivery: &Delivery, now: Instant) {
        self.shard.handle_delivery(delivery, now);
        if let Some(arrived) = delivery.arrived {
            let took = clock().saturating_duration_since(arrived);
            self.shared.fan_out.record(took);
        }
    }

    /// Handles a command and those behind it. Returns `false` when the shard is to end.
    fn handle_commands(&mut self, command: Option<Command>) -> bool {
        let mut next = command;
        for _ in 0..TURN {
            match next {
                // Without an engine there is nobody to serve.
                None | Some(Command::Shutdown) => return false,
                Some(command) => self.shard.handle_command(command, clock()),
            }
            match self.inbox.try_recv() {
                Ok(command) => next = Some(command),
                Err(_) => break,
            }
        }
        true
    }
}

impl Inlet {
    /// Receives datagrams that are waiting. Returns what came of it.
    fn receive(&mut self, shard: &mut Shard<ShardSocket>) -> Receipt {
        let now = clock();
        let result = shard.outlet().receive(&mut self.buffers);
        let receipt = match &result {
            Ok(batch) if batch.is_full() => Receipt::Batch,
            Ok(_) => Receipt::All,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Receipt::Nothing,
            Err(_) => Receipt::Error,
        };
        self.pace.note(now, receipt);
        match result {
            Ok(batch) => batch
                .datagrams()
                .for_each(|datagram| shard.handle_datagram(datagram, now)),
            // An ICMP error of an earlier send: its viewer will fall silent.
            Err(error) if receipt == Receipt::Error => {
                tracing::debug!(shard = self.index, %error, "receive failed");
            }
            Err(_) => {}
        }
        receipt
    }
}

/// Arms the timer for a deadline. One that is armed for an earlier time stays: waking up once too
/// often is cheaper than moving the timer for each packet.
fn arm(timer: Pin<&mut Sleep>, deadline: Instant) {
    let deadline = deadline.into();
    if timer.is_elapsed() || deadline < timer.deadline() {
        timer.reset(deadline);
    }
}
