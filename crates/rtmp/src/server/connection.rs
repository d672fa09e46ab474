//! Drives one connection: a socket on one side, the hub on the other.

mod end;
mod play;
mod publish;
mod socket;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use distributary_auth::{AccessRequest, Action, Denied};
use distributary_names::StreamName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout_at;
use tracing::{Instrument, debug, error_span, info, warn};

use crate::clock::{now, reached, wall_clock};
use crate::proto::name::Query;
use crate::proto::session::{MediaMessage, ServerSession, SessionEvent};
use crate::server::holders::LastHeard;
use crate::server::listener::Shared;
use crate::server::playback::Playback;
use end::End;
use publish::{Dismissed, Published};
use socket::{Progress, Socket};

/// Maximum bytes that are read and not handled yet: a request waits for its response, which may
/// take a while.
const MAX_INPUT: usize = 64 << 10;

/// Bytes after which the task yields, counted when read and again when handled as events: a client
/// that sends without end does not monopolize a thread.
const BYTES_PER_TURN: usize = 64 << 10;

/// Cost of an event in addition to the bytes of its frame: the shortest takes a few microseconds.
const BYTES_PER_EVENT: usize = 512;

/// The connection of one client.
pub(crate) struct Connection<S> {
    socket: Socket<S>,
    /// Bytes that are read and not handled yet.
    input: BytesMut,
    /// Bytes handled since the last yield.
    handled: usize,
    peer: SocketAddr,
    session: ServerSession,
    shared: Arc<Shared>,
    heard: LastHeard,
    /// The published streams, by message stream.
    published: BTreeMap<u32, Published>,
    /// The channel for dismissals of published streams.
    dismissals: (mpsc::Sender<Dismissed>, mpsc::Receiver<Dismissed>),
    /// The played stream.
    playback: Option<Playback>,
    /// True after `connect`.
    connected: bool,
    /// The client's `flashVer`.
    client: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Serves a client until one side closes.
    pub(crate) async fn serve(
        stream: S,
        peer: SocketAddr,
        shared: Arc<Shared>,
        stopped: watch::Receiver<bool>,
    ) {
        // Of the highest level, so that all log lines of a connection have it.
        let span = error_span!("rtmp", %peer, stream = tracing::field::Empty);
        Connection::new(stream, peer, shared)
            .run(stopped)
            .instrument(span)
            .await;
    }

    fn new(stream: S, peer: SocketAddr, shared: Arc<Shared>) -> Self {
        let session = ServerSession::new(shared.session.clone(), rand::random(), now());
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
            // Already logged.
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
                self.heard.note();
                self.handle_input().await?;
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
                self.end_if_unused(End::Refused)?;
            }
            SessionEvent::SwfRefused(reason) => {
                warn!(%reason, "request refused: SWF verification failed");
                self.end_if_unused(End::Refused)?;
            }
            SessionEvent::PublishEnded { stream_id, reason } => {
                if let Some(published) = self.published.remove(&stream_id) {
                    published.end(&reason);
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
    fn ask_to_go(&mut self) {
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

/// The identity of a client that sends a request.
struct Asker {
    shared: Arc<Shared>,
    peer: SocketAddr,
    client: Option<String>,
}

impl Asker {
    /// Asks whether the client may do this. Returns the expiry of the permission; `None` for no
    /// expiry.
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

/// The reason why a client may not publish or play.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("this server is shutting down; try another one, or try again later")]
    Draining,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::amf::{Value, object};
    use crate::proto::chunk::{ChunkWriter, Output, RawMessage};
    use crate::proto::message::{Command, Message, UserControl, type_id};
    use crate::server::config::PublishersConfig;
    use crate::server::listener::RtmpConfig;
    use bytes::Bytes;
    use distributary_hub::{Hub, HubConfig};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn shared() -> Arc<Shared> {
        let hub = Hub::new(HubConfig::default());
        Arc::new(Shared::new(RtmpConfig::default(), hub, None))
    }

    #[tokio::test(start_paused = true)]
    async fn client_with_a_slow_handshake_is_disconnected_in_time() {
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
    async fn client_that_never_reads_is_disconnected() {
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

    /// Returns how often others have their turn while a client is served that sends this.
    async fn turns(flood: &[u8]) -> usize {
        let (server, mut client) = duplex(8 << 20);
        let (_stop, stopped) = watch::channel(false);
        client.write_all(flood).await.unwrap();
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
        turns
    }

    #[tokio::test]
    async fn client_that_sends_without_end_yields_to_others() {
        // Acknowledgements, which cost least: 16 bytes each.
        let message = [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 1];
        let flood = [&HELLO[..], &message.repeat((4 << 20) / message.len())].concat();
        let turns = turns(&flood).await;
        let fewest = flood.len() / BYTES_PER_TURN / 2;
        assert!(
            turns >= fewest,
            "{turns} turns of others, at least {fewest}"
        );
    }

    #[tokio::test]
    async fn message_of_many_parts_yields_to_others() {
        const PARTS: usize = 1 << 16;
        // Audio of one byte: on the stream that is published, and on one that is not.
        let part = [8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xAF, 0, 0, 0, 12];
        for (stream_id, fewest) in [
            (1, PARTS * BYTES_PER_EVENT / BYTES_PER_TURN),
            (9, PARTS / 1024),
        ] {
            let aggregate = RawMessage {
                timestamp: 0,
                type_id: type_id::AGGREGATE,
                stream_id,
                payload: part.repeat(PARTS).into(),
            };
            let mut writer = Writer::new();
            let mut flood = HELLO.to_vec();
            flood.extend(writer.connect());
            flood.extend(writer.ask("publish", "test"));
            flood.extend(writer.write(&aggregate));
            let turns = turns(&flood).await;
            // For the bytes as they come, others have 17 turns.
            let fewest = fewest * 3 / 4;
            assert!(
                turns >= fewest,
                "{turns} turns of others, at least {fewest}"
            );
        }
    }

    /// Turns messages into what a client sends.
    struct Writer(ChunkWriter);

    impl Writer {
        fn new() -> Self {
            Self(ChunkWriter::new())
        }

        fn write(&mut self, raw: &RawMessage) -> Vec<u8> {
            let mut output = Output::default();
            self.0.write(3, raw, &mut output);
            let mut bytes = Vec::new();
            while let Some(piece) = output.pop() {
                bytes.extend(piece);
            }
            bytes
        }

        fn message(&mut self, time: u32, stream_id: u32, message: &Message) -> Vec<u8> {
            self.write(&message.encode(time, stream_id).unwrap())
        }

        fn connect(&mut self) -> Vec<u8> {
            let mut bytes = self.message(0, 0, &Message::SetChunkSize(65_536));
            self.0.set_chunk_size(65_536);
            let connect = Command::new("connect", 1.0, [object([("app", "live".into())])]);
            bytes.extend(self.message(0, 0, &Message::Command(connect)));
            bytes
        }

        /// Asks for `live/<name>` on message stream 1.
        fn ask(&mut self, command: &str, name: &str) -> Vec<u8> {
            let ask = Command::new(command, 2.0, [Value::Null, name.into()]);
            self.message(0, 1, &Message::Command(ask))
        }
    }

    /// A client over a pipe.
    struct Client {
        pipe: DuplexStream,
        writer: Writer,
        _stop: watch::Sender<bool>,
    }

    impl Client {
        /// Returns a client at this address that asks for `live/<name>`.
        async fn ask(shared: &Arc<Shared>, ip: [u8; 4], command: &str, name: &str) -> Self {
            let (server, mut pipe) = duplex(1 << 20);
            let (stop, stopped) = watch::channel(false);
            let peer = SocketAddr::from((ip, 1));
            tokio::spawn(Connection::new(server, peer, Arc::clone(shared)).run(stopped));
            let mut writer = Writer::new();
            pipe.write_all(&HELLO).await.unwrap();
            pipe.write_all(&writer.connect()).await.unwrap();
            pipe.write_all(&writer.ask(command, name)).await.unwrap();
            Self {
                pipe,
                writer,
                _stop: stop,
            }
        }

        /// Returns what the server says, until it has said this or closes.
        async fn hears(&mut self, words: &str) -> String {
            let mut said = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&said);
                if text.contains(words) || self.pipe.read_buf(&mut said).await.unwrap() == 0 {
                    return String::from_utf8_lossy(&said).into_owned();
                }
            }
        }

        async fn assert_hears(&mut self, words: &str) {
            let said = self.hears(words).await;
            assert!(said.contains(words), "{words:?} is missing in {said:?}");
        }

        async fn send(&mut self, message: &Message) {
            let bytes = self.writer.message(0, 1, message);
            self.pipe.write_all(&bytes).await.unwrap();
        }

        async fn send_frame(&mut self) {
            for body in [&[0xAF, 0, 0x11, 0x88][..], &[0xAF, 1, 0x01, 0x40, 0x20]] {
                self.send(&Message::Audio(Bytes::copy_from_slice(body)))
                    .await;
            }
        }

        /// Answers a ping that nobody has sent: the client is there.
        async fn pong(&mut self) {
            self.send(&Message::UserControl(UserControl::PingResponse(0)))
                .await;
        }
    }

    fn shared_with(config: RtmpConfig) -> Arc<Shared> {
        let hub = Hub::new(HubConfig::default());
        Arc::new(Shared::new(config, hub, None))
    }

    const STARTED: &str = "NetStream.Publish.Start";
    const ONE: [u8; 4] = [192, 0, 2, 1];
    const OTHER: [u8; 4] = [192, 0, 2, 2];
    const THIS_MACHINE: [u8; 4] = [127, 0, 0, 1];

    #[tokio::test(start_paused = true)]
    async fn silent_publisher_times_out() {
        let shared = shared_with(RtmpConfig {
            publishers: PublishersConfig {
                publish_timeout: None,
                ..PublishersConfig::default()
            },
            ..RtmpConfig::default()
        });
        let mut silent = Client::ask(&shared, ONE, "publish", "test").await;
        silent.assert_hears(STARTED).await;
        let began = Instant::now();
        silent.hears("the end").await;
        let times = Duration::from_secs(10)..Duration::from_secs(12);
        assert!(times.contains(&began.elapsed()), "{:?}", began.elapsed());
        let name = StreamName::parse("live/test").unwrap();
        let is_live = |stream: Arc<distributary_hub::Stream>| stream.is_live();
        assert!(!shared.hub.stream(&name).is_some_and(is_live));
    }

    #[tokio::test(start_paused = true)]
    async fn publisher_without_a_frame_loses_its_name() {
        let shared = shared_with(RtmpConfig {
            publishers: PublishersConfig {
                publish_timeout: Some(Duration::from_secs(3)),
                ..PublishersConfig::default()
            },
            ..RtmpConfig::default()
        });
        let mut without = Client::ask(&shared, ONE, "publish", "test").await;
        without.assert_hears("no frame arrived within 3s").await;
        // One frame is enough to stay, as long as nobody else wants the name.
        let mut with = Client::ask(&shared, ONE, "publish", "test").await;
        with.assert_hears(STARTED).await;
        with.send_frame().await;
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            with.pong().await;
        }
        let name = StreamName::parse("live/test").unwrap();
        assert!(shared.hub.stream(&name).unwrap().is_live());
    }

    #[tokio::test(start_paused = true)]
    async fn newcomer_gets_a_name_that_had_no_frames_for_long() {
        let shared = shared();
        let mut holder = Client::ask(&shared, ONE, "publish", "test").await;
        holder.assert_hears(STARTED).await;
        sleep(Duration::from_secs(5)).await;
        holder.send_frame().await;
        for _ in 0..8 {
            sleep(Duration::from_secs(1)).await;
            holder.pong().await;
        }
        let mut early = Client::ask(&shared, OTHER, "publish", "test").await;
        early.assert_hears("Somebody else is publishing").await;
        for _ in 0..3 {
            sleep(Duration::from_secs(1)).await;
            holder.pong().await;
        }
        let mut newcomer = Client::ask(&shared, OTHER, "publish", "test").await;
        newcomer.assert_hears(STARTED).await;
        holder
            .assert_hears("Another publisher has taken the stream over")
            .await;
        // Its frames count from now on.
        let mut next = Client::ask(&shared, ONE, "publish", "test").await;
        next.assert_hears("Somebody else is publishing").await;
    }

    #[tokio::test(start_paused = true)]
    async fn publisher_without_a_frame_for_longest_is_dismissed_at_the_limit() {
        let shared = shared_with(RtmpConfig {
            publishers: PublishersConfig {
                max: 3,
                ..PublishersConfig::default()
            },
            ..RtmpConfig::default()
        });
        let mut holders = Vec::new();
        for name in ["longest", "long", "alive"] {
            let mut holder = Client::ask(&shared, ONE, "publish", name).await;
            holder.assert_hears(STARTED).await;
            holder.send_frame().await;
            sleep(Duration::from_secs(1)).await;
            holders.push(holder);
        }
        let mut early = Client::ask(&shared, OTHER, "publish", "early").await;
        early.assert_hears("limit of 3 publishers is reached").await;
        for _ in 0..15 {
            sleep(Duration::from_secs(1)).await;
            holders[2].send_frame().await;
            holders[0].pong().await;
            holders[1].pong().await;
        }
        let mut newcomer = Client::ask(&shared, OTHER, "publish", "newcomer").await;
        newcomer.assert_hears(STARTED).await;
        newcomer.send_frame().await;
        holders[0]
            .assert_hears("the limit of publishers is reached")
            .await;
        // It may come back, and the next one gives way.
        let mut back = Client::ask(&shared, ONE, "publish", "longest").await;
        back.assert_hears(STARTED).await;
        back.send_frame().await;
        holders[1]
            .assert_hears("the limit of publishers is reached")
            .await;
        let mut late = Client::ask(&shared, OTHER, "publish", "late").await;
        late.assert_hears("limit of 3 publishers is reached").await;
        assert_eq!(shared.publishers.taken(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_per_address_does_not_apply_to_loopback() {
        let hub = Hub::new(HubConfig {
            viewers: distributary_hub::ViewerLimits {
                max_per_address: 1,
                ..Default::default()
            },
            ..HubConfig::default()
        });
        let config = RtmpConfig {
            publishers: PublishersConfig {
                max_per_ip: 1,
                ..PublishersConfig::default()
            },
            ..RtmpConfig::default()
        };
        let shared = Arc::new(Shared::new(config, hub, None));
        let mut others = Vec::new();
        for (ip, name) in [(ONE, "a"), (THIS_MACHINE, "b"), (THIS_MACHINE, "c")] {
            let mut publisher = Client::ask(&shared, ip, "publish", name).await;
            publisher.assert_hears(STARTED).await;
            others.push(publisher);
        }
        let mut second = Client::ask(&shared, ONE, "publish", "d").await;
        second
            .assert_hears("limit of 1 publishers from one address")
            .await;
        for ip in [ONE, THIS_MACHINE, THIS_MACHINE] {
            let mut player = Client::ask(&shared, ip, "play", "a").await;
            player.assert_hears("NetStream.Play.Start").await;
            others.push(player);
        }
        let mut second = Client::ask(&shared, ONE, "play", "b").await;
        second
            .assert_hears("limit of 1 viewers from one address")
            .await;
    }
}
