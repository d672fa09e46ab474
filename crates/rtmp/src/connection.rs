//! Drives one connection: a socket on one side, the hub on the other.

mod end;
mod play;
mod publish;
mod socket;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Buf, BytesMut};
use distributary_auth::{AccessRequest, Action, Denied};
use distributary_hub::StreamName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout_at};
use tracing::{Instrument, debug, error_span, info, warn};

use crate::holders::LastHeard;
use crate::name::Query;
use crate::playback::Playback;
use crate::server::Shared;
use crate::session::{ServerSession, SessionEvent};
use end::End;
use publish::{Dismissed, Published};
use socket::{Progress, Socket};

/// Most bytes that are read and not handled yet: a request waits for its answer, which may take a while.
const MAX_INPUT: usize = 64 << 10;

/// After so many bytes of input the others have their turn: a client that sends without end does not
/// keep a thread to itself.
const BYTES_PER_TURN: usize = 64 << 10;

/// One client.
pub(crate) struct Connection<S> {
    socket: Socket<S>,
    /// What has been read and is not handled yet.
    input: BytesMut,
    /// Bytes handled since the others had their turn.
    handled: usize,
    peer: SocketAddr,
    session: ServerSession,
    shared: Arc<Shared>,
    heard: LastHeard,
    /// What is published now, by message stream.
    published: BTreeMap<u32, Published>,
    /// Where it is told that something published may not go on.
    dismissals: (mpsc::Sender<Dismissed>, mpsc::Receiver<Dismissed>),
    /// What is played now.
    playback: Option<Playback>,
    /// Whether the client got as far as `connect`.
    connected: bool,
    /// What the client calls itself.
    client: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Serves a client until one side has enough.
    pub(crate) async fn serve(
        stream: S,
        peer: SocketAddr,
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) {
        // Of the highest level: whatever is logged of a connection says whose it is.
        let span = error_span!("rtmp", %peer, stream = tracing::field::Empty);
        Connection::new(stream, peer, shared)
            .run(stopped)
            .instrument(span)
            .await;
    }

    fn new(stream: S, peer: SocketAddr, shared: Arc<Shared>) -> Self {
        let session = ServerSession::new(shared.config.session.clone(), rand::random(), now());
        Self {
            socket: Socket::new(stream),
            input: BytesMut::new(),
            handled: 0,
            peer,
            session,
            shared,
            heard: LastHeard::new(),
            published: BTreeMap::new(),
            dismissals: mpsc::channel(1),
            playback: None,
            connected: false,
            client: None,
        }
    }

    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let end = tokio::select! {
            end = self.exchange() => end,
            _ = stopped.wait_for(|stopped| *stopped) => End::Shutdown,
        };
        let is_used = !self.published.is_empty() || self.playback.is_some();
        for (_, published) in std::mem::take(&mut self.published) {
            published.end(&end);
        }
        if let Some(playback) = self.playback.take() {
            playback.end(&end);
        }
        if is_used {
            // That has been said.
        } else if end.is_ordinary() {
            debug!(reason = %end, "disconnected");
        } else {
            warn!(reason = %end, connected = self.connected, "connection ended");
        }
        self.answer();
        self.socket.linger().await;
    }

    /// Reads and answers until the connection ends.
    async fn exchange(&mut self) -> End {
        let mut draining = self.shared.config.draining.clone();
        let mut is_asked_to_go = false;
        loop {
            self.feed_player();
            let turn = tokio::select! {
                turn = Self::transfer(&mut self.socket, &mut self.input, deadline(&self.session, &self.published)) => {
                    match turn {
                        Ok(Some(progress)) => self.progress(progress).await,
                        Ok(None) => self.handle_deadline(),
                        Err(end) => Err(end),
                    }
                }
                Some(dismissed) = self.dismissals.1.recv() => self.tell_dismissed(dismissed),
                () = drained(&mut draining), if !is_asked_to_go => {
                    is_asked_to_go = true;
                    self.ask_to_go();
                    Ok(())
                }
                () = receive(self.playback.as_mut()) => Ok(()),
            };
            if let Err(end) = turn.and_then(|()| self.end_of_play()) {
                return end;
            }
            self.answer();
        }
    }

    /// Sends and reads. Returns `None` when the session's time has come.
    async fn transfer(
        socket: &mut Socket<S>,
        input: &mut BytesMut,
        deadline: Instant,
    ) -> Result<Option<Progress>, End> {
        let deadline = tokio::time::Instant::from(deadline);
        let unsent = socket.deadline();
        let earliest = unsent.map_or(deadline, |unsent| unsent.min(deadline));
        match timeout_at(earliest, socket.exchange(input, MAX_INPUT)).await {
            Ok(progress) => Ok(Some(progress?)),
            Err(_) if unsent == Some(earliest) => Err(End::WriteTimeout),
            Err(_) => Ok(None),
        }
    }

    async fn progress(&mut self, progress: Progress) -> Result<(), End> {
        match progress {
            Progress::Sent => Ok(()),
            Progress::Read(0) => Err(End::Closed),
            Progress::Read(len) => {
                self.heard.note();
                self.handle_input().await?;
                self.handled += len;
                if self.handled >= BYTES_PER_TURN {
                    self.handled = 0;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        }
    }

    /// Handles what has been read, one event after another.
    async fn handle_input(&mut self) -> Result<(), End> {
        loop {
            let now = now();
            let mut input = &self.input[..];
            let event = self.session.poll_event(&mut input, now);
            let left = input.len();
            self.input.advance(self.input.len() - left);
            match event? {
                Some(event) => self.handle_event(event, now).await?,
                None => return Ok(()),
            }
        }
    }

    async fn handle_event(&mut self, event: SessionEvent, now: Instant) -> Result<(), End> {
        match event {
            SessionEvent::Connected(request) => {
                self.connected = true;
                info!(
                    client = request.client,
                    rtmpe = request.handshake.encrypted,
                    "connected"
                );
                self.client = request.client;
            }
            SessionEvent::PublishRequested(request) => self.decide(request).await?,
            SessionEvent::NameRefused(error) => {
                warn!(%error, "refused: not a stream name");
                self.end_if_unused(End::Refused)?;
            }
            SessionEvent::SwfRefused(reason) => {
                warn!(%reason, "refused: SWF verification");
                self.end_if_unused(End::Refused)?;
            }
            SessionEvent::PublishEnded { stream_id, reason } => {
                if let Some(published) = self.published.remove(&stream_id) {
                    published.end(&reason);
                }
            }
            SessionEvent::PlayRequested(request) => self.decide_play(request).await?,
            SessionEvent::PlayEnded => {
                if let Some(playback) = self.playback.take() {
                    playback.end(&"the player has stopped");
                }
            }
            SessionEvent::Media { stream_id, message } => {
                if let Some(published) = self.published.get_mut(&stream_id)
                    && let Err(refusal) = published.handle(message, now)
                {
                    let description = refusal.to_string();
                    self.end_publish(stream_id, &description, End::Unfit(refusal))?;
                }
            }
        }
        Ok(())
    }

    /// Does what is due: the session's own deadlines, and those of what is published.
    fn handle_deadline(&mut self) -> Result<(), End> {
        let now = now();
        self.session.handle_timeout(now)?;
        self.end_without_frames(now)
    }

    /// Asks the client to connect anew, elsewhere: this server is about to end.
    fn ask_to_go(&mut self) {
        if self.session.request_reconnect() {
            info!("asked to connect anew");
        }
    }

    /// Ends the connection, unless something else goes on over it.
    fn end_if_unused(&self, end: End) -> Result<(), End> {
        if self.session.is_active() {
            Ok(())
        } else {
            Err(end)
        }
    }

    /// Queues what the session has to say.
    fn answer(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            self.socket.answer(bytes);
        }
    }

    /// Waits for the answer to a request, while the client may go on sending, or go.
    async fn wait_for<T>(
        socket: &mut Socket<S>,
        input: &mut BytesMut,
        heard: &LastHeard,
        answer: impl Future<Output = T>,
    ) -> Result<T, End> {
        tokio::pin!(answer);
        loop {
            let unsent = socket.deadline();
            tokio::select! {
                answer = &mut answer => return Ok(answer),
                progress = socket.exchange(input, MAX_INPUT) => {
                    if progress? == Progress::Read(0) {
                        return Err(End::Closed);
                    }
                    heard.note();
                }
                () = reached(unsent) => return Err(End::WriteTimeout),
            }
        }
    }
}

/// A client that asks for something.
struct Asker {
    shared: Arc<Shared>,
    peer: SocketAddr,
    client: Option<String>,
}

impl Asker {
    /// Asks whether the client may do this. Returns until when: `None` for ever.
    async fn authorize(
        &self,
        action: Action,
        name: &StreamName,
        query: &Query,
    ) -> Result<Option<tokio::time::Instant>, Refused> {
        if *self.shared.config.draining.borrow() {
            return Err(Refused::Draining);
        }
        let request = AccessRequest {
            action,
            stream: name,
            ip: self.peer.ip(),
            bearer: None,
            query: query.as_str(),
            client: self.client.as_deref(),
        };
        let grant = self.shared.config.auth.authorize(&request).await?;
        let left = grant.left(wall_clock());
        Ok(left.and_then(|left| tokio::time::Instant::now().checked_add(left)))
    }
}

/// Why a client may not publish or play.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("this server is about to end, try another or later")]
    Draining,
}

/// When something is due, if nothing comes before.
fn deadline(session: &ServerSession, published: &BTreeMap<u32, Published>) -> Instant {
    let published = published.values().filter_map(Published::deadline);
    published.fold(session.deadline(), Instant::min)
}

/// Completes when the server is about to end.
async fn drained(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        // Nobody is left who could say so.
        std::future::pending::<()>().await;
    }
}

/// Completes when something has happened to the stream that is played; never when none is.
async fn receive(playback: Option<&mut Playback>) {
    match playback {
        Some(playback) => playback.receive().await,
        None => std::future::pending().await,
    }
}

/// Completes at this moment; never where there is none.
pub(crate) async fn reached(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The wall clock, by which tokens expire.
#[expect(
    clippy::disallowed_methods,
    reason = "clients are granted something the moment they ask"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The clock of this driver, which tests can stop.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::RtmpConfig;
    use distributary_hub::{Hub, HubConfig};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn shared() -> Arc<Shared> {
        let hub = Hub::new(HubConfig::default());
        Arc::new(Shared::new(RtmpConfig::default(), hub))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_drips_its_handshake_is_cut_off_in_time() {
        // Each byte comes well within the read timeout.
        for already_sent in [0, 1, 2, 1536, 1537, 1538, 3000] {
            let (server, mut client) = duplex(64 << 10);
            let (_stop, stopped) = watch::channel(false);
            let began = Instant::now();
            let task = tokio::spawn(Connection::new(server, PEER, shared()).run(stopped));
            client.write_all(&vec![3; already_sent]).await.unwrap();
            while client.write_all(&[3]).await.is_ok() {
                sleep(Duration::from_secs(3)).await;
            }
            task.await.unwrap();
            let took = began.elapsed();
            let bound = Duration::from_secs(10 + 1 + 3);
            assert!(took <= bound, "{already_sent} bytes: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_reads_is_cut_off() {
        // Too small a pipe for the answer to the handshake.
        let (server, mut client) = duplex(2000);
        let (_stop, stopped) = watch::channel(false);
        let began = Instant::now();
        let task = tokio::spawn(Connection::new(server, PEER, shared()).run(stopped));
        client.write_all(&[3; 1537]).await.unwrap();
        task.await.unwrap();
        let bound = socket::WRITE_TIMEOUT + socket::LINGER;
        assert!(began.elapsed() <= bound, "{:?}", began.elapsed());
    }

    /// The handshake of a client that checks nothing.
    const HELLO: [u8; 1 + 2 * 1536] = {
        let mut hello = [0; 1 + 2 * 1536];
        hello[0] = 3;
        hello
    };

    #[tokio::test]
    async fn a_client_that_sends_without_end_leaves_others_their_turn() {
        // Acknowledgements, which cost least: 16 bytes each.
        let message = [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 1];
        let flood = [&HELLO[..], &message.repeat((4 << 20) / message.len())].concat();
        let (server, mut client) = duplex(8 << 20);
        let (_stop, stopped) = watch::channel(false);
        client.write_all(&flood).await.unwrap();
        client.shutdown().await.unwrap();
        let mut flooded = tokio::spawn(Connection::new(server, PEER, shared()).run(stopped));
        let mut turns = 0;
        loop {
            tokio::select! {
                biased;
                ended = &mut flooded => break ended.unwrap(),
                () = tokio::task::yield_now() => turns += 1,
            }
        }
        let fewest = flood.len() / BYTES_PER_TURN / 2;
        assert!(
            turns >= fewest,
            "{turns} turns of others, at least {fewest}"
        );
    }
}
