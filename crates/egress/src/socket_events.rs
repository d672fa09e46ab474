//! Waits until the socket of a shard is ready.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{Interest, Ready};

/// Time between two attempts where the kernel cannot tell when the socket is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits until a socket is ready.
///
/// The kernel wakes a thread for each event of a registered socket, even while nobody waits for it:
/// for each datagram that comes, and for each that has left. So the socket is registered only while
/// something is waited for.
pub(crate) struct SocketEvents {
    socket: Arc<UdpSocket>,
    /// The events that [`Self::ready`] waits for.
    interest: Option<Interest>,
    /// The registered socket; `None` while nothing is waited for, and if the kernel has no room for
    /// it.
    registered: Option<tokio::net::UdpSocket>,
}

/// The socket may be ready.
pub(crate) struct SocketReady<'a> {
    ready: Ready,
    registered: Option<&'a tokio::net::UdpSocket>,
}

impl SocketEvents {
    pub(crate) fn new(socket: Arc<UdpSocket>) -> Self {
        Self {
            socket,
            interest: None,
            registered: None,
        }
    }

    /// Sets what [`Self::ready`] waits for: datagrams, and room for datagrams. Must be called within a
    /// tokio runtime.
    pub(crate) fn wait_for(&mut self, datagrams: bool, room: bool) {
        self.interest = match (datagrams, room) {
            (false, false) => None,
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
        };
        if self.interest.is_none() {
            self.registered = None;
        } else if self.registered.is_none() {
            let socket = self.socket.try_clone();
            self.registered = socket.and_then(tokio::net::UdpSocket::from_std).ok();
        }
    }

    /// Waits until the socket is ready for what it waits for.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub(crate) async fn ready(&self) -> io::Result<SocketReady<'_>> {
        let ready = match (self.interest, &self.registered) {
            (None, _) => std::future::pending().await,
            (Some(interest), Some(socket)) => socket.ready(interest).await?,
            (Some(_), None) => {
                tokio::time::sleep(POLL_INTERVAL).await;
                Ready::READABLE | Ready::WRITABLE
            }
        };
        Ok(SocketReady {
            ready,
            registered: self.registered.as_ref(),
        })
    }
}

impl SocketReady<'_> {
    /// Returns whether datagrams may have come.
    pub(crate) fn has_datagrams(&self) -> bool {
        self.ready.is_readable() || self.ready.is_error()
    }

    /// Returns whether there may be room for datagrams.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.is_writable()
    }

    /// Records that all datagrams were received: the next one is news.
    pub(crate) fn note_empty(&self) {
        self.clear(Interest::READABLE);
    }

    /// Records that the room is used up: the next is news.
    pub(crate) fn note_full(&self) {
        self.clear(Interest::WRITABLE);
    }

    fn clear(&self, interest: Interest) {
        if let Some(socket) = self.registered {
            // An attempt that finds the socket blocked clears its readiness.
            let blocked = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = socket.try_io(interest, blocked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UdpSocket, Arc<UdpSocket>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(socket.local_addr().unwrap()).unwrap();
        (sender, Arc::new(socket))
    }

    /// Returns whether the socket is ready at once.
    async fn is_ready(events: &SocketEvents) -> bool {
        // Some turns of the runtime, in which it hears of events.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let ready = tokio::time::timeout(Duration::ZERO, events.ready()).await;
        ready.is_ok()
    }

    #[tokio::test]
    async fn socket_is_ready_for_what_is_waited_for() {
        let (sender, socket) = pair();
        let mut events = SocketEvents::new(Arc::clone(&socket));
        sender.send(b"one").unwrap();
        assert!(!is_ready(&events).await, "nothing is waited for");
        events.wait_for(true, false);
        let ready = events.ready().await.unwrap();
        assert!(ready.has_datagrams() && !ready.has_room());
        events.wait_for(false, true);
        let ready = events.ready().await.unwrap();
        assert!(ready.has_room() && !ready.has_datagrams());
        events.wait_for(false, false);
        assert!(!is_ready(&events).await);
    }

    #[tokio::test]
    async fn next_datagram_is_news_after_all_were_received() {
        let (sender, socket) = pair();
        let mut events = SocketEvents::new(Arc::clone(&socket));
        events.wait_for(true, false);
        let mut buffer = [0; 8];
        for _ in 0..3 {
            sender.send(b"one").unwrap();
            let ready = events.ready().await.unwrap();
            assert!(socket.recv(&mut buffer).is_ok());
            ready.note_empty();
            assert!(!is_ready(&events).await, "all were received");
        }
        // Those that came while nobody waited are seen, too.
        events.wait_for(false, false);
        sender.send(b"two").unwrap();
        events.wait_for(true, false);
        assert!(events.ready().await.unwrap().has_datagrams());
    }
}
