//! One TCP connection, shared between its task and the shard of its viewer.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use distributary_net::FairPermit;
use tokio::sync::{Notify, mpsc};

use super::limits::{LOW_WATER, MAX_QUEUED};
use distributary_webrtc::framing::write_frame;
use distributary_webrtc::ice::{CandidatePair, Transport};

/// Maximum number of queued pieces, of any length.
const MAX_PIECES: usize = 1024;

/// A viewer's TCP connection.
///
/// The shard queues packets and never waits; the task writes them when the socket is writable.
pub(crate) struct Connection {
    id: u64,
    local: IpAddr,
    remote: SocketAddr,
    /// The shard to which its frames go.
    shard: AtomicUsize,
    /// A check on it was valid.
    is_proven: AtomicBool,
    /// The permit of an unproven connection, held until then.
    unproven: Mutex<Option<FairPermit>>,
    outbound: mpsc::Sender<Outbound>,
    /// Bytes queued and not yet written.
    queued: Arc<AtomicUsize>,
    /// Tells the task to end.
    closed: Notify,
}

/// An item of the task's queue.
pub(super) enum Outbound {
    Bytes(Vec<u8>),
    /// The end; nothing follows.
    End,
}

/// The task's end of the queue.
pub(super) struct OutboundQueue {
    receiver: mpsc::Receiver<Outbound>,
    queued: Arc<AtomicUsize>,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        local: IpAddr,
        remote: SocketAddr,
        shard: usize,
    ) -> (Arc<Self>, OutboundQueue) {
        let (outbound, receiver) = mpsc::channel(MAX_PIECES);
        let queued = Arc::new(AtomicUsize::new(0));
        let queue = OutboundQueue {
            receiver,
            queued: Arc::clone(&queued),
        };
        let connection = Self {
            id,
            local,
            remote,
            shard: AtomicUsize::new(shard),
            is_proven: AtomicBool::new(false),
            unproven: Mutex::new(None),
            outbound,
            queued,
            closed: Notify::new(),
        };
        (Arc::new(connection), queue)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the pair that this connection is.
    pub(crate) fn pair(&self) -> CandidatePair {
        CandidatePair {
            local: Some(self.local),
            remote: self.remote,
            transport: Transport::Tcp(self.id),
        }
    }

    pub(crate) fn shard(&self) -> usize {
        self.shard.load(Ordering::Relaxed)
    }

    /// Directs the frames that are received from here on to another shard.
    pub(crate) fn set_shard(&self, shard: usize) {
        self.shard.store(shard, Ordering::Relaxed);
    }

    /// Holds the permit until a check on the connection is valid.
    pub(super) fn prove_later(&self, unproven: FairPermit) {
        *self.unproven() = Some(unproven);
    }

    fn unproven(&self) -> MutexGuard<'_, Option<FairPermit>> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a check on the connection was valid.
    pub(crate) fn prove(&self) {
        *self.unproven() = None;
        self.is_proven.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    /// Returns whether media may be sent: at most [`LOW_WATER`] bytes are queued.
    pub(crate) fn has_room(&self) -> bool {
        self.queued.load(Ordering::Relaxed) < LOW_WATER
    }

    /// Queues a packet. Drops it if the queue is full.
    pub(crate) fn send(&self, packet: &[u8]) {
        let mut frame = Vec::with_capacity(2 + packet.len());
        write_frame(&mut frame, packet);
        self.send_frames(frame);
    }

    /// Queues frames. Drops them if the queue is full.
    pub(crate) fn send_frames(&self, frames: Vec<u8>) {
        let length = frames.len();
        if length == 0 || self.queued.load(Ordering::Relaxed) + length > MAX_QUEUED {
            return;
        }
        self.queued.fetch_add(length, Ordering::Relaxed);
        if self.outbound.try_send(Outbound::Bytes(frames)).is_err() {
            self.queued.fetch_sub(length, Ordering::Relaxed);
        }
    }

    /// Ends the connection once the queue is written.
    pub(crate) fn close(&self) {
        if self.outbound.try_send(Outbound::End).is_err() {
            self.closed.notify_one();
        }
    }

    /// Waits for an end that did not fit into the full queue.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }
}

impl OutboundQueue {
    /// Waits for something to write.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        match self.receiver.recv().await? {
            Outbound::Bytes(bytes) => Some(bytes),
            Outbound::End => None,
        }
    }

    /// Records that `len` bytes are written.
    pub(super) fn wrote(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> (Arc<Connection>, OutboundQueue) {
        let remote = "192.0.2.7:5000".parse().unwrap();
        Connection::new(3, "192.0.2.1".parse().unwrap(), remote, 0)
    }

    #[tokio::test]
    async fn queue_is_written_in_order_before_the_end() {
        let (connection, mut queue) = connection();
        connection.send(b"one");
        connection.send(b"three");
        connection.close();
        connection.send(b"too late");
        assert_eq!(queue.next().await.unwrap(), b"\0\x03one");
        assert_eq!(queue.next().await.unwrap(), b"\0\x05three");
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn connection_has_no_room_until_the_viewer_reads() {
        let (connection, mut queue) = connection();
        assert!(connection.has_room());
        connection.send_frames(vec![0; LOW_WATER]);
        assert!(!connection.has_room());
        for _ in 0..100 {
            connection.send_frames(vec![0; LOW_WATER]);
        }
        assert!(connection.queued.load(Ordering::Relaxed) <= MAX_QUEUED);
        while !connection.has_room() {
            let bytes = queue.next().await.unwrap();
            queue.wrote(bytes.len());
        }
        assert_eq!(connection.queued.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn pieces_beyond_the_limit_are_dropped_and_not_counted() {
        let (connection, _queue) = connection();
        for _ in 0..2 * MAX_PIECES {
            connection.send(b"x");
        }
        assert_eq!(connection.queued.load(Ordering::Relaxed), 3 * MAX_PIECES);
    }
}
