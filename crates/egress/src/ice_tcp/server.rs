//! The thread that accepts, reads and writes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use distributary_net::{Listener, Revocation};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, OutboundQueue};
use super::limits::{FIRST_FRAME_TIMEOUT, IDLE_TIMEOUT, PROOF_TIMEOUT};
use super::unproven::{Admission, Admitted};
use crate::command::Command;
use crate::engine_config::EngineConfig;
use crate::session::Location;
use crate::state::EngineState;
use distributary_webrtc::framing::FrameDecoder;
use distributary_webrtc::stun::local_ufrag;

/// Size of the kernel's send buffer of a connection in bytes. Its content cannot be revoked and
/// delays what follows on a slow network.
const SEND_BUFFER: usize = 128 * 1024;

/// Time for the goodbyes to the viewers at shutdown.
const LINGER: Duration = Duration::from_millis(300);

/// The running thread.
pub(crate) struct TcpServer {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl TcpServer {
    /// Starts the thread.
    ///
    /// # Errors
    /// Returns the system's error if it has no threads or sockets left.
    pub(crate) fn start(
        listener: std::net::TcpListener,
        shared: Arc<EngineState>,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _within = runtime.enter();
            Listener::from_std("ICE-TCP", listener)?
        };
        let thread = std::thread::Builder::new()
            .name("ice tcp".to_owned())
            .spawn(move || {
                let failures = Arc::clone(&shared);
                failures.failures.watch("ice tcp", || {
                    runtime.block_on(serve(listener, shared, stopped));
                });
            })?;
        Ok(Self { thread, stop })
    }

    /// Ends the thread once the queues are written. Call it after the shards have ended.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the ICE-TCP thread ended by a panic");
        }
    }
}

async fn serve(listener: Listener, shared: Arc<EngineState>, stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(&listener, &shared, &mut connections) => {}
        _ = stopped => {}
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Connections that do not end by then are cut.
    let _ = timeout(LINGER, all).await;
}

/// Accepts connections forever. Takes a permit before each; further ones wait in the kernel's
/// queue.
async fn accept(listener: &Listener, shared: &Arc<EngineState>, connections: &mut JoinSet<()>) {
    let permits = Arc::new(Semaphore::new(shared.config.max_tcp_connections));
    let acceptor = TcpAcceptor::new(&shared.config);
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (stream, remote) = listener.accept().await;
        let Some(accepted) = acceptor.accept(remote, Instant::now().into_std()) else {
            tracing::debug!(%remote, "too many ICE-TCP connections of this address");
            continue;
        };
        let shared = Arc::clone(shared);
        connections.spawn(async move {
            if let Err(error) = drive(stream, accepted, &shared).await {
                tracing::debug!(%remote, %error, "ICE-TCP connection ended");
            }
            drop(permit);
        });
    }
}

/// Accepts connections within the limits, and gives them their numbers.
pub(crate) struct TcpAcceptor {
    admission: Admission,
    next_id: AtomicU64,
}

/// A connection that was accepted.
pub(crate) struct Accepted {
    id: u64,
    admitted: Admitted,
}

impl TcpAcceptor {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            admission: Admission::new(config.max_tcp_connections_per_address),
            next_id: AtomicU64::new(0),
        }
    }

    /// Accepts a connection, if the limits of its address allow another.
    pub(crate) fn accept(&self, remote: SocketAddr, now: std::time::Instant) -> Option<Accepted> {
        Some(Accepted {
            admitted: self.admission.admit(remote.ip(), now)?,
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// The reason why the gateway ended a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] distributary_webrtc::framing::FrameTooLong),
    #[error("it was silent for too long")]
    Silent,
    #[error("its first frame is no check of a session")]
    Stranger,
    #[error("no check on it was valid")]
    Unproven,
    #[error("no check on it was valid, and a newcomer displaced it at the limit of connections")]
    Displaced,
    #[error("the gateway shuts down")]
    Shutdown,
}

/// One connection, from its first byte to its last.
async fn drive(stream: TcpStream, accepted: Accepted, shared: &EngineState) -> Result<(), Ended> {
    let ends = (stream.local_addr()?, stream.peer_addr()?);
    // Each write is complete; waiting for more data would only delay it.
    stream.set_nodelay(true)?;
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    serve_stream(stream.into_split(), ends, accepted, shared).await
}

/// Serves a stream between the `local` and the `remote` address.
pub(crate) async fn serve_stream(
    (mut reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (local, remote): (SocketAddr, SocketAddr),
    Accepted { id, admitted }: Accepted,
    shared: &EngineState,
) -> Result<(), Ended> {
    let Admitted {
        unproven,
        of_address: _of_address,
    } = admitted;
    let mut decoder = FrameDecoder::default();
    let revocation = Arc::clone(unproven.revocation());
    let first = tokio::select! {
        first = frame_within(FIRST_FRAME_TIMEOUT, &mut reader, &mut decoder) => first?,
        () = revocation.revoked() => return Err(Ended::Displaced),
    };
    let Some(first) = first else { return Ok(()) };
    let shard = shard_of(&first, id, shared).ok_or(Ended::Stranger)?;
    let (connection, queue) = Connection::new(id, local.ip(), remote, shard);
    connection.prove_later(unproven);
    deliver(&connection, &first, shared).await?;
    tokio::select! {
        result = read(reader, decoder, &connection, shared) => result,
        result = write(writer, queue) => result,
        result = watch(&connection, &revocation) => result,
    }
}

/// Returns the shard that owns the session named by a check, or any shard if the session waits.
fn shard_of(frame: &[u8], id: u64, shared: &EngineState) -> Option<usize> {
    let ufrag = local_ufrag(frame)?;
    match shared.registry.locate(ufrag)? {
        Location::Shard(shard) => Some(shard),
        Location::Waiting => {
            let shards = u64::try_from(shared.inboxes.len()).ok()?;
            usize::try_from(id.checked_rem(shards)?).ok()
        }
    }
}

/// Reads until the viewer ends the connection.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut decoder: FrameDecoder,
    connection: &Arc<Connection>,
    shared: &EngineState,
) -> Result<(), Ended> {
    while let Some(frame) = frame_within(IDLE_TIMEOUT, &mut reader, &mut decoder).await? {
        deliver(connection, &frame, shared).await?;
    }
    Ok(())
}

/// Returns the next frame if it is complete by the deadline; `None` at the end of the stream.
async fn frame_within(
    limit: Duration,
    reader: &mut (impl AsyncRead + Unpin),
    decoder: &mut FrameDecoder,
) -> Result<Option<BytesMut>, Ended> {
    let frame = timeout(limit, next_frame(reader, decoder)).await;
    frame.unwrap_or(Err(Ended::Silent))
}

/// Returns the next frame; `None` at the end of the stream.
async fn next_frame(
    reader: &mut (impl AsyncRead + Unpin),
    decoder: &mut FrameDecoder,
) -> Result<Option<BytesMut>, Ended> {
    loop {
        if let Some(frame) = decoder.next_packet()? {
            return Ok(Some(frame));
        }
        if reader.read_buf(decoder.buffer()).await? == 0 {
            return Ok(None);
        }
    }
}

/// Passes a frame to the shard. Waits for a shard that is behind, which slows the viewer's TCP
/// down.
async fn deliver(
    connection: &Arc<Connection>,
    frame: &[u8],
    shared: &EngineState,
) -> Result<(), Ended> {
    let inbox = shared.inboxes.get(connection.shard());
    let command = Command::Frame {
        connection: Arc::clone(connection),
        bytes: frame.into(),
    };
    let inbox = inbox.ok_or(Ended::Shutdown)?;
    inbox.send(command).await.map_err(|_| Ended::Shutdown)
}

/// Writes the packets that the shard queues, until it ends the connection.
async fn write(mut writer: impl AsyncWrite + Unpin, mut queue: OutboundQueue) -> Result<(), Ended> {
    while let Some(bytes) = queue.next().await {
        writer.write_all(&bytes).await?;
        queue.wrote(bytes.len());
    }
    writer.shutdown().await?;
    Ok(())
}

/// Ends a connection that has no valid check in time, that is displaced by a newcomer, or that the
/// shard no longer wants.
async fn watch(connection: &Connection, revocation: &Revocation) -> Result<(), Ended> {
    let ended = tokio::select! {
        () = connection.closed() => return Ok(()),
        () = sleep(PROOF_TIMEOUT) => Ended::Unproven,
        () = revocation.revoked() => Ended::Displaced,
    };
    if !connection.is_proven() {
        return Err(ended);
    }
    connection.closed().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use distributary_net::FairQuota;

    const HOUR: Duration = Duration::from_secs(3600);

    fn connection() -> (Arc<Connection>, OutboundQueue) {
        let remote = "192.0.2.7:5000".parse().unwrap();
        Connection::new(3, "192.0.2.1".parse().unwrap(), remote, 0)
    }

    #[tokio::test(start_paused = true)]
    async fn incomplete_frame_ends_the_connection_after_the_timeout() {
        for limit in [FIRST_FRAME_TIMEOUT, IDLE_TIMEOUT] {
            let (mut viewer, mut reader) = tokio::io::duplex(64);
            let begun = Instant::now();
            // One byte of a frame each second: it is no way to hold a connection open.
            let trickle = async {
                for byte in std::iter::once(0).chain(std::iter::repeat(60)) {
                    if viewer.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_secs(1)).await;
                }
            };
            let mut decoder = FrameDecoder::default();
            tokio::select! {
                () = trickle => panic!("the viewer ends"),
                frame = frame_within(limit, &mut reader, &mut decoder) => {
                    assert!(matches!(frame, Err(Ended::Silent)), "{frame:?}");
                }
            }
            assert_eq!(begun.elapsed().as_secs(), limit.as_secs());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn viewer_that_sends_checks_is_never_idle() {
        let (mut viewer, mut reader) = tokio::io::duplex(64);
        let mut decoder = FrameDecoder::default();
        for _ in 0..10 {
            sleep(IDLE_TIMEOUT - Duration::from_millis(1)).await;
            viewer.write_all(b"\0\x03abc").await.unwrap();
            let frame = frame_within(IDLE_TIMEOUT, &mut reader, &mut decoder).await;
            assert_eq!(frame.unwrap().unwrap(), &b"abc"[..]);
        }
        drop(viewer);
        let end = frame_within(IDLE_TIMEOUT, &mut reader, &mut decoder).await;
        assert!(matches!(end, Ok(None)), "{end:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn unproven_connection_ends_after_the_timeout_and_a_proven_one_stays() {
        let (connection, _queue) = connection();
        let begun = Instant::now();
        let ended = watch(&connection, &Revocation::default()).await;
        assert!(matches!(ended, Err(Ended::Unproven)), "{ended:?}");
        assert_eq!(begun.elapsed().as_secs(), PROOF_TIMEOUT.as_secs());

        connection.prove();
        assert!(
            timeout(HOUR, watch(&connection, &Revocation::default()))
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn unproven_connection_is_displaced_by_a_newcomer_at_once() {
        let (quota, now) = (FairQuota::new(2, 2), Instant::now());
        let address = |n: u8| Some([192, 0, 2, n].into());
        let take = |n: u8| quota.take(address(n), now.into_std()).unwrap();
        let (oldest, _next) = (take(1), take(1));
        let revocation = Arc::clone(oldest.revocation());
        let (connection, _queue) = connection();
        connection.prove_later(oldest);
        let _newcomer = take(2);
        let ended = watch(&connection, &revocation).await;
        assert!(matches!(ended, Err(Ended::Displaced)), "{ended:?}");
        assert_eq!(now.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn end_is_noticed_although_the_queue_is_full() {
        let (connection, _queue) = connection();
        connection.prove();
        for _ in 0..10_000 {
            connection.send(b"x");
        }
        connection.close();
        let ended = timeout(HOUR, watch(&connection, &Revocation::default())).await;
        assert!(matches!(ended, Ok(Ok(()))), "{ended:?}");
    }
}
