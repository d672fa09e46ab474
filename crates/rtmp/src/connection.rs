//! Drives one connection: a socket on one side, the hub on the other.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use distributary_auth::{AccessRequest, Action, Denied};
use distributary_hub::{
    DemandError, Dismissal, PublishError, Publisher, Refusal, StreamEvent, StreamName,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tracing::{Instrument, debug, error_span, info, warn};

use crate::ingest::Ingest;
use crate::name::Query;
use crate::playback::Playback;
use crate::server::{OnDuplicate, Shared};
use crate::session::{PlayRequest, PublishRequest, ServerSession, SessionError, SessionEvent};

/// Bytes read at once. It bounds the work of one turn, too.
const READ_SIZE: usize = 32 << 10;

/// How long a client may leave our answers lying.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that was refused may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// One client.
pub(crate) struct Connection<S> {
    stream: S,
    peer: SocketAddr,
    session: ServerSession,
    shared: Arc<Shared>,
    /// What is published now.
    ingest: Option<Ingest>,
    /// What is played now.
    playback: Option<Playback>,
    /// Whether the client got as far as `connect`.
    connected: bool,
    /// What the client calls itself.
    client: Option<String>,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client closed it.
    Closed,
    /// The client was told that it cannot publish.
    Refused,
    /// The stream that was played has ended.
    StreamEnded,
    /// Another publisher has taken the stream over.
    Replaced,
    /// The client was told that a stream like this is not to be published.
    Unfit(Refusal),
    /// Whoever runs the server wants the publisher gone.
    Removed,
    /// The server is being shut down.
    Shutdown,
    /// The client broke the protocol, a limit or a time.
    Session(SessionError),
    /// The socket failed.
    Io(io::Error),
    /// The client does not read.
    WriteTimeout,
}

impl End {
    /// Whether a connection that publishes nothing may end so without anybody having to know.
    fn is_ordinary(&self) -> bool {
        match self {
            Self::Closed
            | Self::Refused
            | Self::StreamEnded
            | Self::Replaced
            | Self::Removed
            | Self::Shutdown => true,
            // ffmpeg closes without reading our answer to its last command: that resets.
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ),
            Self::Unfit(_) | Self::Session(_) | Self::WriteTimeout => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the client"),
            Self::Refused => f.write_str("refused"),
            Self::StreamEnded => f.write_str("the stream has ended"),
            Self::Replaced => f.write_str("another publisher has taken the stream over"),
            Self::Unfit(refusal) => refusal.fmt(f),
            Self::Removed => f.write_str("removed by whoever runs the gateway"),
            Self::Shutdown => f.write_str("shutdown"),
            Self::Session(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::WriteTimeout => write!(f, "the client took nothing for {WRITE_TIMEOUT:?}"),
        }
    }
}

impl From<SessionError> for End {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
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
            stream,
            peer,
            session,
            shared,
            ingest: None,
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
        if let Some(ingest) = self.ingest.take() {
            ingest.end(&end);
        } else if let Some(playback) = self.playback.take() {
            playback.end(&end);
        } else if end.is_ordinary() {
            debug!(reason = %end, "disconnected");
        } else {
            warn!(reason = %end, connected = self.connected, "connection ended");
        }
        self.linger().await;
    }

    /// Reads and answers until the connection ends.
    async fn exchange(&mut self) -> End {
        let mut buffer = BytesMut::with_capacity(READ_SIZE);
        let mut draining = self.shared.config.draining.clone();
        let mut is_asked_to_go = false;
        loop {
            let deadline = self.session.deadline().into();
            let read = tokio::select! {
                read = timeout_at(deadline, self.stream.read_buf(&mut buffer)) => read,
                dismissal = dismissed(self.ingest.as_ref()) => return self.tell_dismissed(dismissal).await,
                () = drained(&mut draining), if !is_asked_to_go => {
                    is_asked_to_go = true;
                    if let Err(end) = self.ask_to_go().await {
                        return end;
                    }
                    continue;
                }
                event = next_event(self.playback.as_mut()) => {
                    match self.play_event(event).await {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
            };
            let now = now();
            let result = match read {
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(_)) => self.session.handle_bytes(&buffer, now),
                Ok(Err(error)) => return error.into(),
                Err(_) => self.session.handle_timeout(now),
            };
            buffer.clear();
            // What came before an error counts, and the client is told what there is to tell.
            let handled = self.handle_events(now).await;
            if let Err(end) = self.flush().await {
                return end;
            }
            if let Err(end) = result.map_err(End::from).and(handled) {
                return end;
            }
        }
    }

    /// Asks the client to connect anew, elsewhere: this server is about to end.
    async fn ask_to_go(&mut self) -> Result<(), End> {
        if self.session.request_reconnect() {
            info!("asked to connect anew");
        }
        self.flush().await
    }

    /// Tells a publisher that it may not go on.
    async fn tell_dismissed(&mut self, dismissal: Dismissal) -> End {
        let (description, end) = match dismissal {
            Dismissal::Replaced => (
                "Another publisher has taken the stream over.",
                End::Replaced,
            ),
            Dismissal::Removed => ("The server has ended the stream.", End::Removed),
        };
        self.session.end_publish(description);
        match self.flush().await {
            Ok(()) => end,
            Err(end) => end,
        }
    }

    async fn handle_events(&mut self, now: Instant) -> Result<(), End> {
        while let Some(event) = self.session.poll_event() {
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
                SessionEvent::PublishRequested(request) => self.decide(request, now).await?,
                SessionEvent::NameRefused(error) => {
                    warn!(%error, "refused: not a stream name");
                    return Err(End::Refused);
                }
                SessionEvent::PublishEnded(reason) => {
                    if let Some(ingest) = self.ingest.take() {
                        ingest.end(&reason);
                    }
                }
                SessionEvent::PlayRequested(request) => self.decide_play(request).await?,
                SessionEvent::PlayEnded => {
                    if let Some(playback) = self.playback.take() {
                        playback.end(&"the player has stopped");
                    }
                }
                SessionEvent::Media(media) => {
                    let Some(ingest) = &mut self.ingest else {
                        continue;
                    };
                    if let Err(refusal) = ingest.handle(media, now) {
                        self.session.end_publish(&refusal.to_string());
                        return Err(End::Unfit(refusal));
                    }
                }
            }
        }
        Ok(())
    }

    /// Grants or refuses a name.
    async fn decide(&mut self, request: PublishRequest, now: Instant) -> Result<(), End> {
        let name = request.target.name;
        tracing::Span::current().record("stream", name.as_str());
        let allowed = self.authorize(Action::Publish, &name, &request.target.query);
        if let Err(denied) = allowed.await {
            warn!(reason = %denied, "publisher refused");
            let refusal = format!("{name} cannot be published: {denied}.");
            self.session
                .reject_publish("NetStream.Publish.Denied", &refusal)?;
            return Err(End::Refused);
        }
        let limit = self.shared.config.max_publishers;
        let refusal = match Arc::clone(&self.shared.publishers).try_acquire_owned() {
            Err(_) => format!("The limit of {limit} publishers is reached."),
            Ok(permit) => match self.claim(&name, now) {
                Ok(publisher) => {
                    info!("publishing");
                    self.ingest = Some(Ingest::new(publisher, Some(self.peer), permit, now));
                    return Ok(self.session.accept_publish()?);
                }
                Err(PublishError::AlreadyLive) => format!(
                    "Somebody else is publishing {name} now: stop that one or choose another name."
                ),
                Err(error) => format!("{name} cannot be published: {error}."),
            },
        };
        warn!(reason = refusal, "publisher refused");
        self.session
            .reject_publish("NetStream.Publish.BadName", &refusal)?;
        Err(End::Refused)
    }

    /// Grants a stream that is live or can be had, and sends what is needed to begin with it.
    async fn decide_play(&mut self, request: PlayRequest) -> Result<(), End> {
        let name = request.target.name;
        tracing::Span::current().record("stream", name.as_str());
        let allowed = self.authorize(Action::Play, &name, &request.target.query);
        if let Err(denied) = allowed.await {
            warn!(reason = %denied, "player refused");
            let refusal = format!("{name} cannot be played: {denied}.");
            self.session
                .reject_play("NetStream.Play.Failed", &refusal)?;
            return Err(End::Refused);
        }
        let summoned = self.shared.hub.summon(&name).await;
        let playback = summoned
            .and_then(|()| Playback::begin(&self.shared.hub, &name).ok_or(DemandError::NoProvider));
        let (mut playback, cached) = match playback {
            Ok(begun) => begun,
            Err(error) => {
                warn!(%error, "player refused");
                let description = format!("{name} is not live: {error}.");
                self.session
                    .reject_play("NetStream.Play.StreamNotFound", &description)?;
                return Err(End::Refused);
            }
        };
        info!("playing");
        let accepted = self.session.accept_play();
        playback.describe(&mut self.session);
        for frame in cached {
            playback.send(&frame, &mut self.session);
        }
        self.playback = Some(playback);
        Ok(accepted?)
    }

    /// Asks whether the client may do this. It waits for its answer meanwhile, as everybody does who has
    /// asked for something.
    async fn authorize(
        &self,
        action: Action,
        name: &StreamName,
        query: &Query,
    ) -> Result<(), Refused> {
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
        self.shared.config.auth.authorize(&request).await?;
        Ok(())
    }

    /// Passes on what the hub has for the player.
    async fn play_event(&mut self, event: Option<StreamEvent>) -> Result<(), End> {
        let ended = match (event, &mut self.playback) {
            (Some(StreamEvent::Frame(frame)), Some(playback)) => {
                playback.send(&frame, &mut self.session);
                false
            }
            (Some(StreamEvent::Data(data)), Some(playback)) => {
                playback.say(&data, &mut self.session);
                false
            }
            (Some(StreamEvent::Offline) | None, _) => {
                self.session.end_play();
                true
            }
            _ => false,
        };
        self.flush().await?;
        if ended { Err(End::StreamEnded) } else { Ok(()) }
    }

    fn claim(&self, name: &StreamName, now: Instant) -> Result<Publisher, PublishError> {
        let hub = &self.shared.hub;
        match self.shared.config.on_duplicate {
            OnDuplicate::Refuse => hub.publish(name, now),
            OnDuplicate::Takeover => Ok(hub.take_over(name, now)),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        while let Some(bytes) = self.session.poll_output() {
            timeout(WRITE_TIMEOUT, self.stream.write_all(&bytes))
                .await
                .map_err(|_| End::WriteTimeout)??;
        }
        Ok(())
    }

    /// Closes so that the client can read our last words: a close with unread input would destroy
    /// them on their way.
    async fn linger(&mut self) {
        let drained = timeout(LINGER, async {
            self.stream.shutdown().await?;
            let mut discarded = [0; 4096];
            while self.stream.read(&mut discarded).await? > 0 {}
            io::Result::Ok(())
        });
        if let Ok(Err(error)) = drained.await {
            debug!(%error, "while closing");
        }
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

/// Completes when the server is about to end.
async fn drained(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        // Nobody is left who could say so.
        std::future::pending::<()>().await;
    }
}

/// Completes when what is published may not go on; never when nothing is.
async fn dismissed(ingest: Option<&Ingest>) -> Dismissal {
    match ingest {
        Some(ingest) => ingest.dismissed().await,
        None => std::future::pending().await,
    }
}

/// The next thing that happens to the stream that is played; waits forever when none is.
async fn next_event(playback: Option<&mut Playback>) -> Option<StreamEvent> {
    match playback {
        Some(playback) => playback.next().await,
        None => std::future::pending().await,
    }
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
    use tokio::io::duplex;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep};

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn shared() -> Arc<Shared> {
        Arc::new(Shared {
            hub: Hub::new(HubConfig::default()),
            config: RtmpConfig::default(),
            publishers: Arc::new(Semaphore::new(1)),
        })
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
        let bound = WRITE_TIMEOUT + LINGER;
        assert!(began.elapsed() <= bound, "{:?}", began.elapsed());
    }
}
