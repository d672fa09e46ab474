//! The engine: all viewers of the gateway, on one UDP port and one thread per core.

mod close;
mod counter_offer;
mod enter;
#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
mod local;
mod memory;
mod open;
mod probe;
mod quality;
mod restart;

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use distributary_hub::Hub;
use distributary_names::{RenditionId, StreamName};

use crate::command::Command;
use crate::ice_tcp::TcpServer;
use crate::inbox::Inbox;
use crate::session::{Reported, SessionId, SessionWatch, ShortId};
use crate::shard_thread;
use crate::state::{Clocks, EngineAddress, EngineState};
use crate::udp::bind_shared;
use distributary_webrtc::quality::Preference;
use distributary_webrtc::sdp::{Answer, IceFragment, Offer};

pub use close::CloseError;
pub(crate) use close::close;
pub use counter_offer::CounterOffer;
pub use memory::EngineMemory;
pub(crate) use open::open;
pub use open::{MissingMedia, OpenedSession};
pub use probe::Probe;
pub use quality::QualityError;
pub(crate) use quality::set_quality;
pub(crate) use restart::patch;
pub use restart::{IcePatch, PatchError, RestartedIce};

pub use crate::engine_config::EngineConfig;
pub use crate::error::{AcceptError, OpenError, PrepareError};
pub use crate::session::{ViewerClient, ViewerOptions};
pub use crate::state::{
    CERTIFICATE_LIFETIME, DurationCounts, EngineFailure, FailedJoin, IdentityError, JoinCounts,
    JoinFailure, JoinHistogram, JoinStats, JoinStep, LatencyStats, OFFER_LIFETIME,
    PREPARED_LIFETIME, PreparedStats, RECENT, SessionInfo, SessionStats, Switches,
};

/// Commands that may wait for a shard; a shard that is so far behind loses datagrams anyway.
const INBOX_CAPACITY: usize = 1024;

/// The reason why the engine does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The UDP port cannot be bound.
    #[error("cannot bind UDP {address}: {source}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A thread or its socket cannot be set up.
    #[error("cannot start an egress shard: {0}")]
    Shard(#[from] io::Error),
    /// There is no certificate for DTLS.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The running engine. Cloning gives another handle to it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<EngineState>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    tcp: Arc<Mutex<Option<TcpServer>>>,
}

impl Engine {
    /// Returns the configuration that the engine was started with.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// Binds the port and starts the shards, which send the streams of `hub`.
    ///
    /// # Errors
    /// Returns [`EngineError`] if the port cannot be bound, or the system has no threads or sockets
    /// left.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn start(config: EngineConfig, hub: Hub) -> Result<Self, EngineError> {
        let shards = match config.viewers.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let sockets = bind_shared(config.listen, shards).map_err(|source| EngineError::Bind {
            address: config.listen,
            source,
        })?;
        let local = sockets
            .first()
            .map_or(Ok(config.listen), std::net::UdpSocket::local_addr)?;
        let listener = config.viewers.tcp.then(|| listen(local)).flatten();
        let (now, wall) = (Instant::now(), SystemTime::now());
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..shards)
            .map(|_| Inbox::with_capacity(INBOX_CAPACITY))
            .unzip();
        let address = EngineAddress {
            local,
            has_tcp: listener.is_some(),
        };
        let shared = EngineState::new(config, hub, address, inboxes, Clocks { now, wall })?;
        let shared = Arc::new(shared);
        let engine = Self {
            shared: Arc::clone(&shared),
            threads: Arc::default(),
            tcp: Arc::default(),
        };
        for (index, (socket, inbox)) in sockets.into_iter().zip(receivers).enumerate() {
            let thread = shard_thread::spawn(index, socket, inbox, Arc::clone(&shared))?;
            engine
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
        if let Some(listener) = listener {
            let server = TcpServer::start(listener, shared)?;
            *engine.tcp.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        }
        Ok(engine)
    }

    /// Makes the first shard panic, to test what happens then. Only builds with debug assertions
    /// can do this.
    #[cfg(any(test, debug_assertions))]
    pub async fn fail_shard(&self) {
        if let Some(inbox) = self.shared.inboxes.first() {
            // A shard that has ended has failed already.
            let _ = inbox.send(Command::Panic).await;
        }
    }

    /// Waits until a thread of the engine ends before [`Self::shutdown`]. The other threads
    /// continue; the caller should shut them down.
    pub async fn failed(&self) -> EngineFailure {
        self.shared.failures.next().await
    }

    /// Returns the UDP address that is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// Returns whether viewers may connect over TCP as well, on the port with the number of the UDP
    /// port.
    pub fn has_tcp(&self) -> bool {
        self.shared.has_tcp
    }

    /// Answers a viewer's offer for `stream` and waits for its first packet. While the stream is
    /// not live, the answer promises audio and video in the usual codecs.
    ///
    /// # Errors
    /// Returns [`OpenError`] if the offer cannot be answered, or the gateway is full.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn open(
        &self,
        stream: &StreamName,
        offer: &Offer,
        options: ViewerOptions,
    ) -> Result<OpenedSession, OpenError> {
        open(&self.shared, stream, offer, options, Instant::now())
    }

    /// Offers a viewer all tracks of `stream`, and waits for its answer.
    ///
    /// # Errors
    /// Returns [`OpenError`] if there is nothing to offer, or the gateway is full.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn counter_offer(
        &self,
        stream: &StreamName,
        options: ViewerOptions,
    ) -> Result<CounterOffer, OpenError> {
        counter_offer::offer(&self.shared, stream, options, Instant::now())
    }

    /// Offers all tracks of `stream` with a page that is about to be shown. Until the page answers,
    /// the offer is no viewer; it has [limits](PrepareError::Full) of its own and expires after
    /// [`PREPARED_LIFETIME`].
    ///
    /// # Errors
    /// Returns [`PrepareError`] if there is nothing to offer, or too many pages have not answered.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn prepare(
        &self,
        stream: &StreamName,
        options: ViewerOptions,
    ) -> Result<CounterOffer, PrepareError> {
        counter_offer::prepare(&self.shared, stream, options, Instant::now())
    }

    /// Returns the numbers of prepared sessions.
    pub fn prepared(&self) -> PreparedStats {
        self.shared.prepared.stats()
    }

    /// Accepts a viewer's answer to a counter-offer and waits for its first packet. Returns the
    /// options with which the offer was made.
    ///
    /// # Errors
    /// Returns [`AcceptError`] if there is no such offer, the answer accepts no track, or the
    /// gateway is full. After an unusable answer the offer waits for another.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn accept(&self, id: &SessionId, answer: &Answer) -> Result<ViewerOptions, AcceptError> {
        counter_offer::accept(&self.shared, id, answer, Instant::now())
    }

    /// Returns the latency of frames over the last complete window of 10 s: from their arrival
    /// until the kernel has them for the last viewer of a shard.
    pub fn fan_out(&self) -> LatencyStats {
        self.shared.fan_out.stats()
    }

    /// Sets what the viewer of a session asks for: a rendition, or a size.
    ///
    /// # Errors
    /// Returns [`QualityError`] if there is no such session, or its shard is too busy.
    pub fn set_quality(
        &self,
        id: &SessionId,
        preference: Preference<RenditionId>,
    ) -> Result<(), QualityError> {
        set_quality(&self.shared, id, preference)
    }

    /// Returns the rendition whose video a session gets; `None` before its first packet.
    pub fn rendition_of(&self, id: &SessionId) -> Option<RenditionId> {
        self.shared.stats.rendition_of(id)
    }

    /// Returns how many viewers have moved to another rendition since the start, by direction and
    /// reason.
    pub fn switches(&self) -> Vec<Switches> {
        self.shared.switches.all()
    }

    /// Returns how many clusters of packets have been sent since the start, to find out what paths
    /// carry.
    pub fn probes(&self) -> u64 {
        self.shared.switches.probes()
    }

    /// Returns the same latencies since the start, as a histogram.
    pub fn fan_out_total(&self) -> DurationCounts {
        self.shared.fan_out.total()
    }

    /// Returns the durations of the steps of all joins since the start, in order.
    pub fn joins(&self) -> [JoinHistogram; JoinStep::ALL.len()] {
        self.shared.joins.histograms()
    }

    /// Returns the outcomes of joins: how many viewers were answered, connected and failed.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn join_stats(&self) -> JoinStats {
        self.shared.outcomes.stats(Instant::now())
    }

    /// Records and logs what the player of a session reports of a connection that failed: a short
    /// text. Further reports of the session have no effect. Returns `false` if there is no such
    /// session.
    pub fn note_report(&self, id: &SessionId, report: &str) -> bool {
        match self.shared.registry.note_report(id, report) {
            Reported::First(span) => {
                tracing::info!(parent: &span, report, "the player reports that it cannot connect");
                true
            }
            Reported::Again => true,
            Reported::Unknown => false,
        }
    }

    /// Makes the engine answer a check, to find out whether the UDP port is reachable.
    ///
    /// # Errors
    /// When the system's random generator fails.
    pub fn probe(&self) -> io::Result<Probe> {
        probe::probe(&self.shared)
    }

    /// Handles a viewer's ICE fragment: candidates, or a restart (RFC 9725 section 4.3).
    ///
    /// # Errors
    /// Returns [`PatchError`] if there is no such session, or the restart fails.
    pub fn patch_ice(
        &self,
        id: &SessionId,
        fragment: &IceFragment,
    ) -> Result<IcePatch, PatchError> {
        patch(&self.shared, id, fragment)
    }

    /// Returns whether an ICE fragment of a viewer has new credentials. Some players (vdo.ninja)
    /// put ours into their fragments, which is no restart.
    pub fn is_restart(&self, id: &SessionId, fragment: &IceFragment) -> bool {
        let known = self.shared.registry.fragments(id);
        known.is_some_and(|(ours, theirs)| fragment.restarts(&theirs) && fragment.restarts(&ours))
    }

    /// Returns whether the handshake of this session is done.
    pub fn is_connected(&self, id: &SessionId) -> bool {
        self.shared.registry.is_connected(id)
    }

    /// Returns the tag of the ICE state of a session, as [`OpenedSession::etag`]; `None` if there
    /// is no session with this id.
    pub fn etag(&self, id: &SessionId) -> Option<String> {
        let (ufrag, _) = self.shared.registry.fragments(id)?;
        Some(ufrag.into())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Returns [`CloseError::UnknownSession`] if there is none with this id, and
    /// [`CloseError::Busy`] if its shard cannot be told now; the caller may retry.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn close(&self, id: &SessionId) -> Result<(), CloseError> {
        close(&self.shared, id, Instant::now())
    }

    /// Ends the session whose id begins with `id`, among those whose first packet has arrived.
    ///
    /// # Errors
    /// Returns [`CloseError`] as [`close`](Self::close).
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine is the driver that reads the clocks"
    )]
    pub fn kick(&self, id: ShortId) -> Result<(), CloseError> {
        close::kick(&self.shared, id, Instant::now())
    }

    /// Returns the sessions and counter-offers of viewers at such an address, whether or not their
    /// first packet has arrived: the address that asked, or the one that media goes to.
    pub fn of_viewers(&self, is_wanted: impl Fn(IpAddr) -> bool) -> HashSet<SessionId> {
        close::of_viewers(&self.shared, &is_wanted)
    }

    /// Returns whether the session is one of those that ended last; as many are remembered as there
    /// were at most at a time.
    pub fn has_ended(&self, id: &SessionId) -> bool {
        self.shared.registry.has_ended(id)
    }

    /// Returns whether there is a session or a counter-offer with this id.
    pub fn contains(&self, id: &SessionId) -> bool {
        self.is_offered(id) || self.shared.registry.contains(id)
    }

    /// Returns whether a counter-offer with this id waits for its answer.
    pub fn is_offered(&self, id: &SessionId) -> bool {
        self.shared.counter_offers.contains(id)
    }

    /// Returns a handle to wait for the end of a session; `None` if there is none with this id.
    pub fn watch(&self, id: &SessionId) -> Option<SessionWatch> {
        self.shared.registry.watch(id)
    }

    /// Returns the number of sessions, including those whose first packet has not arrived.
    pub fn sessions(&self) -> usize {
        self.shared.registry.len()
    }

    /// Returns the number of sessions of each shard, among those whose first packet has arrived:
    /// the kernel spreads viewers by their addresses.
    pub fn spread(&self) -> Vec<usize> {
        self.shared.stats.spread(self.shared.inboxes.len())
    }

    /// Returns the sessions that watch `stream`, or all, with their stats, among those whose first
    /// packet has arrived.
    pub fn session_infos(&self, stream: Option<&StreamName>) -> Vec<SessionInfo> {
        self.shared.stats.list(stream)
    }

    /// Closes every session, notifies its viewer, and waits for the threads.
    pub fn shutdown(&self) {
        for inbox in &self.shared.inboxes {
            // Blocking, because this command must not be lost; the shards empty their inboxes.
            inbox.blocking_send(Command::Shutdown);
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("an egress shard ended by a panic");
            }
        }
        // After the shards, whose goodbyes may go out over TCP.
        let server = self
            .tcp
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(server) = server {
            server.stop();
        }
    }
}

/// Binds the TCP port with the number of the UDP port; `None` if it is taken.
fn listen(address: SocketAddr) -> Option<std::net::TcpListener> {
    match distributary_net::bind(address) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%error, "viewers cannot connect over TCP, only over UDP");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ViewersConfig;
    use distributary_hub::HubConfig;
    use distributary_webrtc::certificate::Certificate;
    use distributary_webrtc::peer::HANDSHAKE_TIMEOUT;
    use distributary_webrtc::stun::{Class, IceRole, MessageWriter, Method, TransactionId};
    use std::net::IpAddr;

    #[tokio::test(flavor = "multi_thread")]
    async fn panic_of_a_shard_is_reported_and_the_rest_can_be_shut_down() {
        let config = EngineConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            viewers: ViewersConfig {
                shards: 2,
                ..ViewersConfig::default()
            },
            ..EngineConfig::default()
        };
        let engine = Engine::start(config, Hub::new(HubConfig::default())).unwrap();
        engine.fail_shard().await;
        let failure = engine.failed().await;
        assert_eq!(failure.thread, "egress 0");
        assert!(failure.reason.contains("panicked on command"), "{failure}");
        let stopping = engine.clone();
        tokio::task::spawn_blocking(move || stopping.shutdown())
            .await
            .unwrap();
        // A later call returns the same failure.
        assert_eq!(engine.failed().await, failure);
    }

    #[tokio::test(flavor = "multi_thread")]
    #[allow(clippy::disallowed_methods, reason = "a running engine")]
    async fn incomplete_handshake_ends_for_a_newcomer_when_there_are_too_many() {
        let config = EngineConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            viewers: ViewersConfig {
                shards: 1,
                tcp: false,
                ..ViewersConfig::default()
            },
            candidates: vec![[127, 0, 0, 1].into()],
            offline_grace: None,
            ..EngineConfig::default()
        };
        let engine = Engine::start(config, Hub::new(HubConfig::default())).unwrap();
        let address = |n: u8| Some(IpAddr::from([192, 0, 2, n]));
        let certificate = Certificate::generate(SystemTime::now()).unwrap();
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
             a=ice-ufrag:view\r\na=ice-pwd:thePasswordOfTheViewer\r\na=fingerprint:{}\r\n\
             a=setup:active\r\na=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n",
            certificate.fingerprint()
        );
        let options = ViewerOptions {
            counts_as: address(0),
            ..ViewerOptions::default()
        };
        let stream = StreamName::parse("live/test").unwrap();
        let offer = Offer::parse(&offer).unwrap();
        let session = engine.open(&stream, &offer, options).unwrap();
        let mut watch = engine.watch(&session.id).unwrap();

        // A viewer that sends checks and never starts its handshake.
        let value = |key: &str| {
            let mut lines = session.answer.lines();
            lines.find_map(|line| line.strip_prefix(key)).unwrap()
        };
        let mut check = Vec::new();
        MessageWriter::new(
            &mut check,
            Class::Request,
            Method::BINDING,
            TransactionId([7; 12]),
        )
        .username(&format!("{}:view", value("a=ice-ufrag:")))
        .ice_role(IceRole::Controlling(1))
        .use_candidate()
        .message_integrity(value("a=ice-pwd:").as_bytes())
        .finish();
        let viewer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // The answer to the check leaves after the viewer has been added.
        viewer.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).unwrap();
        viewer.send_to(&check, engine.local_addr()).unwrap();
        viewer.recv(&mut [0; 1500]).unwrap();
        assert_eq!(engine.spread(), [1]);

        let (handshakes, now) = (&engine.shared.handshakes, Instant::now());
        let mut others = Vec::new();
        for n in 0..4 {
            while let Some(permit) = handshakes.begin(address(n), now) {
                others.push(permit);
            }
        }
        let _newcomer = handshakes.begin(address(99), now).unwrap();
        assert!(others.iter().all(|other| !other.revocation().is_revoked()));
        // Long before the handshake timeout.
        let ended = tokio::time::timeout(HANDSHAKE_TIMEOUT * 2 / 3, watch.ended()).await;
        assert!(ended.is_ok());
        tokio::task::spawn_blocking(move || engine.shutdown())
            .await
            .unwrap();
    }
}
