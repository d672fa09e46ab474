//! The thread of a shard and its loop.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use distributary_hub::{Delivery, Sink};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::{Command, SLOW_TICK, Shard};
use crate::engine::Shared;
use crate::udp::{ReceiveBuffers, Received, ShardSocket};

/// Deliveries of the hub that may wait, all streams together: each stream has its own share.
const QUEUE: usize = 8192;

/// Most deliveries and most commands of one turn, so that the socket is not forgotten.
const TURN: usize = 64;

/// Starts the thread of shard `index` and waits until it runs.
///
/// # Errors
/// When the thread or its socket cannot be set up.
pub(crate) fn spawn(
    index: usize,
    socket: std::net::UdpSocket,
    inbox: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
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
                let (sink, deliveries) = Sink::channel(QUEUE);
                Shard::new(index, shared, socket, sink, clock())
                    .run(inbox, deliveries)
                    .await;
            };
            failures.failures.watch(&name, || runtime.block_on(serve));
        })?;
    result
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("the thread did not start")))?;
    Ok(thread)
}

/// The one place where a shard reads the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the shard's loop is the driver of its viewers"
)]
fn clock() -> Instant {
    Instant::now()
}

impl Shard {
    /// Serves until it is told to end.
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut deliveries: mpsc::Receiver<Delivery>,
    ) {
        let mut buffers = ReceiveBuffers::new();
        let timer = tokio::time::sleep(SLOW_TICK);
        tokio::pin!(timer);
        loop {
            tokio::select! {
                command = inbox.recv() => {
                    if !self.handle_commands(command, &mut inbox) {
                        break;
                    }
                }
                Some(delivery) = deliveries.recv() => {
                    let now = clock();
                    self.deliver(&delivery, now);
                    for _ in 0..TURN {
                        let Ok(delivery) = deliveries.try_recv() else { break };
                        self.deliver(&delivery, now);
                    }
                }
                ready = self.socket.readable() => {
                    if ready.is_ok() {
                        self.receive(&mut buffers, clock());
                    }
                }
                ready = self.socket.writable(), if !self.unsent.is_empty() => {
                    if ready.is_ok() {
                        self.send_unsent(clock());
                    }
                }
                () = timer.as_mut() => {}
            }
            self.tick(clock());
            self.set_timer(timer.as_mut());
        }
        self.close_all(clock());
    }

    /// Sends what the hub delivered, and notes how long that took in all.
    fn deliver(&mut self, delivery: &Delivery, now: Instant) {
        self.handle_delivery(delivery, now);
        if let Some(arrived) = delivery.arrived {
            let took = clock().saturating_duration_since(arrived);
            self.shared.fan_out.record(took);
        }
    }

    /// Arms the timer for the next tick, if it is not armed for it already.
    fn set_timer(&self, timer: Pin<&mut Sleep>) {
        let slow = self.next_slow_tick;
        let next = if self.behind.is_empty() {
            slow
        } else {
            slow.min(self.next_fast_tick)
        };
        let next = self.sound_due().map_or(next, |due| due.min(next));
        let deadline = next.into();
        if timer.is_elapsed() || deadline < timer.deadline() {
            timer.reset(deadline);
        }
    }

    /// Handles a command and those behind it. `false`: the shard ends.
    fn handle_commands(
        &mut self,
        command: Option<Command>,
        inbox: &mut mpsc::Receiver<Command>,
    ) -> bool {
        let mut next = command;
        for _ in 0..TURN {
            match next {
                // Without an engine there is nobody to serve for.
                None | Some(Command::Shutdown) => return false,
                #[cfg(any(test, debug_assertions))]
                Some(Command::Panic) => panic!("as it was told"),
                Some(Command::Frame {
                    connection,
                    mut bytes,
                }) => self.handle_frame(&connection, &mut bytes, clock()),
                Some(Command::Restart { id, local, remote }) => {
                    self.restart_ice(&id, local, remote);
                }
                Some(Command::Close(id)) => self.close_session(&id, clock()),
                Some(Command::Datagram {
                    source,
                    local,
                    mut bytes,
                }) => {
                    let datagram = Received {
                        source,
                        local,
                        bytes: &mut bytes,
                    };
                    self.handle_datagram(datagram, clock());
                }
            }
            match inbox.try_recv() {
                Ok(command) => next = Some(command),
                Err(_) => break,
            }
        }
        true
    }

    fn receive(&mut self, buffers: &mut ReceiveBuffers, now: Instant) {
        match self.socket.receive(buffers) {
            Ok(datagrams) => datagrams.for_each(|datagram| self.handle_datagram(datagram, now)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // An ICMP error of an earlier send: its viewer will fall silent.
            Err(error) => tracing::debug!(shard = self.index, %error, "receive failed"),
        }
    }
}
