//! Drives one connection between its socket and the hub.
//!
//! * [`ServerConnection`]: the task of the connection, which drives its session.
//! * `publish`, `play`: requests to publish and play. `published`: a published stream.
//! * `advice`: advice to publishers.
//! * `requester`: asks for permission on behalf of the client.
//! * `socket`: a socket that is read and written concurrently.
//! * `end`: the reasons for the end.

mod advice;
mod end;
mod play;
mod publish;
mod published;
mod requester;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use distributary_hub::IngestMemory;
use distributary_net::reached;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout_at;
use tracing::{Instrument, debug, error_span, info, warn};

use crate::clock::now;
use crate::proto::session::{MediaMessage, ServerSession, SessionEvent};
use crate::server::context::ServerContext;
use crate::server::holders::LastActivity;
use crate::server::playback::Playback;
use end::End;
use published::{Notice, Published};
use socket::{Progress, Socket};

/// Maximum bytes that are read and not handled yet: input waits while a request is authorized.
const MAX_INPUT: usize = 64 << 10;

/// Bytes after which the task yields, so that a client cannot monopolize a thread. Bytes count when
/// they are read and again when they are handled as events.
const BYTES_PER_TURN: usize = 64 << 10;

/// Cost of an event in addition to the bytes of its frame: even the cheapest takes microseconds.
const BYTES_PER_EVENT: usize = 512;

/// The connection of one client.
pub(crate) struct ServerConnection<S> {
    socket: Socket<S>,
    /// Bytes that are read and not handled yet.
    input: BytesMut,
    /// Bytes handled since the last yield.
    handled: usize,
    peer: SocketAddr,
    session: ServerSession,
    /// The memory of its incomplete messages.
    incomplete: IngestMemory,
    context: Arc<ServerContext>,
    last_received: LastActivity,
    /// The published streams, by message stream.
    published: BTreeMap<u32, Published>,
    /// The channel for news about published streams.
    notices: (mpsc::Sender<Notice>, mpsc::Receiver<Notice>),
    /// The played stream.
    playback: Option<Playback>,
    /// True after `connect`.
    connected: bool,
    /// The client's `flashVer`.
    client: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerConnection<S> {
    /// Serves a client until one side closes.
    pub(crate) async fn serve(
        stream: S,
        peer: SocketAddr,
        context: Arc<ServerContext>,
        stopped: watch::Receiver<bool>,
    ) {
        // At the level of errors, so that all log lines of the connection have the span.
        let span = error_span!("rtmp", %peer, stream = tracing::field::Empty);
        ServerConnection::new(stream, peer, context)
            .run(stopped)
            .instrument(span)
            .await;
    }

    fn new(stream: S, peer: SocketAddr, context: Arc<ServerContext>) -> Self {
        let session = ServerSession::new(context.session.clone(), rand::random(), now());
        Self {
            socket: Socket::new(stream),
            input: BytesMut::new(),
            handled: 0,
            peer,
            session,
            incomplete: context.hub.memory().count_ingest(),
            context,
            last_received: LastActivity::new(),
            published: BTreeMap::new(),
            notices: mpsc::channel(1),
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
        let has_streams = !self.published.is_empty() || self.playback.is_some();
        for (_, published) in std::mem::take(&mut self.published) {
            published.end(&end);
        }
        if let Some(playback) = self.playback.take() {
            playback.end(&end);
        }
        if has_streams {
            // The end of the streams is logged.
        } else if end.is_ordinary() {
            debug!(reason = %end, "disconnected");
        } else {
            warn!(reason = %end, connected = self.connected, "connection ended");
        }
        self.answer();
        self.socket.linger().await;
    }

    /// Reads and responds until the connection ends.
    async fn exchange(&mut self) -> End {
        let mut draining = self.context.config.draining.clone();
        let mut asked_to_reconnect = false;
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
                Some(notice) = self.notices.1.recv() => self.handle_notice(notice),
                () = drained(&mut draining), if !asked_to_reconnect => {
                    asked_to_reconnect = true;
                    self.ask_to_reconnect();
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

    /// Sends and reads. Returns `None` when a deadline of the session has passed.
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
                self.last_received.note();
                self.handle_input().await?;
                self.incomplete.set(self.session.under_way());
                self.count_work(len).await;
                Ok(())
            }
        }
    }

    /// Counts work of this many bytes, and yields when the limit is reached.
    async fn count_work(&mut self, bytes: usize) {
        self.handled = self.handled.saturating_add(bytes);
        if self.handled >= BYTES_PER_TURN {
            self.handled = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Handles the read bytes, one event after another.
    async fn handle_input(&mut self) -> Result<(), End> {
        loop {
            let now = now();
            let mut input = &self.input[..];
            let event = self.session.poll_event(&mut input, now);
            let left = input.len();
            self.input.advance(self.input.len() - left);
            let Some(event) = event? else {
                return Ok(());
            };
            let work = work(&event);
            self.handle_event(event, now).await?;
            self.count_work(work).await;
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
                warn!(%error, "request refused: not a stream name");
                self.note_refusal(None, &error);
                self.end_if_unused(End::Refused)?;
            }
            SessionEvent::SwfRefused(reason) => {
                warn!(%reason, "request refused: SWF verification failed");
                self.note_refusal(None, &reason);
                self.end_if_unused(End::Refused)?;
            }
            SessionEvent::PublishEnded { stream_id, reason } => {
                if let Some(published) = self.published.remove(&stream_id) {
                    published.finish(&reason);
                }
            }
            SessionEvent::PlayRequested(request) => self.decide_play(request).await?,
            SessionEvent::Busy => {}
            SessionEvent::PlayEnded => {
                if let Some(playback) = self.playback.take() {
                    playback.end(&"the player has stopped");
                }
            }
            SessionEvent::Media { stream_id, message } => {
                let Some(published) = self.published.get_mut(&stream_id) else {
                    return Ok(());
                };
                if let Err(refusal) = published.handle(message, now) {
                    let description = refusal.to_string();
                    self.end_publish(stream_id, &description, End::Unfit(refusal))?;
                } else if let Some(advice) = published.advice(now) {
                    self.session.advise(stream_id, &advice);
                }
            }
        }
        Ok(())
    }

    /// Handles passed deadlines of the session and of the published streams.
    fn handle_deadline(&mut self) -> Result<(), End> {
        let now = now();
        self.session.handle_timeout(now)?;
        for stream_id in self.published.keys().copied().collect::<Vec<_>>() {
            if let Some(published) = self.published.get_mut(&stream_id)
                && let Err(refusal) = published.handle_deadline(now)
            {
                let description = refusal.to_string();
                self.end_publish(stream_id, &description, End::Unfit(refusal))?;
            }
        }
        self.end_without_frames(now)
    }

    /// Asks the client to reconnect, because this server is shutting down.
    fn ask_to_reconnect(&mut self) {
        if self.session.request_reconnect() {
            info!("client asked to reconnect");
        }
    }

    /// Ends the connection, unless it has other streams.
    fn end_if_unused(&self, end: End) -> Result<(), End> {
        if self.session.is_active() {
            Ok(())
        } else {
            Err(end)
        }
    }

    /// Queues the session's output.
    fn answer(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            self.socket.answer(bytes);
        }
    }

    /// Waits for the response to a request, while the client may continue to send, or disconnect.
    async fn wait_for<T>(
        socket: &mut Socket<S>,
        input: &mut BytesMut,
        last_received: &LastActivity,
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
                    last_received.note();
                }
                () = reached(unsent) => return Err(End::WriteTimeout),
            }
        }
    }
}

/// Returns the cost of an event in bytes.
fn work(event: &SessionEvent) -> usize {
    match event {
        SessionEvent::Media {
            message: MediaMessage::Video { body, .. } | MediaMessage::Audio { body, .. },
            ..
        } => BYTES_PER_EVENT + body.len(),
        SessionEvent::Busy => BYTES_PER_TURN,
        _ => BYTES_PER_EVENT,
    }
}

/// Returns the earliest deadline.
fn deadline(session: &ServerSession, published: &BTreeMap<u32, Published>) -> Instant {
    let published = published.values().filter_map(Published::deadline);
    published.fold(session.deadline(), Instant::min)
}

/// Completes when the server is shutting down.
async fn drained(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        // The sender is gone.
        std::future::pending::<()>().await;
    }
}

/// Completes when there is an event of the played stream; never if there is none.
async fn receive(playback: Option<&mut Playback>) {
    match playback {
        Some(playback) => playback.receive().await,
        None => std::future::pending().await,
    }
}
