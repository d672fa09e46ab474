//! An engine without sockets, threads and clocks, for simulations: the caller passes datagrams and
//! the time, and takes the datagrams that are to be sent.

mod shards;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use distributary_hub::Hub;
use distributary_names::{RenditionId, StreamName};
use distributary_webrtc::quality::Preference;
use distributary_webrtc::sdp::{IceFragment, Offer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::datagrams::{Outlet, Received, SendError};
use crate::engine::{
    self, CloseError, EngineConfig, IcePatch, OpenError, OpenedSession, PatchError, QualityError,
};
use crate::ice_tcp::{TcpAcceptor, serve_stream};
use crate::session::{SessionId, ViewerOptions};
use crate::state::{Clocks, EngineAddress, EngineState, IdentityError};

pub use crate::shard::ShardTables;
pub(crate) use shards::{DrivenSetup, DrivenShard};

/// Commands that may wait for a shard.
const INBOX_CAPACITY: usize = 1024;

/// Deliveries that may wait for a shard.
const QUEUE: usize = 8192;

/// An engine that its caller drives.
pub struct DrivenEngine {
    shared: Arc<EngineState>,
    tcp: TcpAcceptor,
    shards: Vec<DrivenShard<Outbox>>,
}

/// A datagram that a shard sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentDatagram {
    /// The address that it is sent to.
    pub destination: SocketAddr,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The datagrams that a shard has sent, and the room that is left for more.
#[derive(Clone)]
struct Outbox(Rc<RefCell<Sent>>);

struct Sent {
    datagrams: Vec<SentDatagram>,
    room: usize,
}

impl Outlet for Outbox {
    fn send(
        &self,
        destination: SocketAddr,
        _local: Option<IpAddr>,
        contents: &[u8],
        segment_size: usize,
    ) -> Result<(), SendError> {
        let mut outbox = self.0.borrow_mut();
        let mut sent = 0;
        for datagram in contents.chunks(segment_size) {
            if outbox.room == 0 {
                return Err(SendError::Full { sent });
            }
            outbox.room -= 1;
            sent += datagram.len();
            outbox.datagrams.push(SentDatagram {
                destination,
                bytes: datagram.to_vec(),
            });
        }
        Ok(())
    }
}

impl DrivenEngine {
    /// Creates an engine with this number of shards that starts at `now`, which is `wall` on the
    /// wall clock.
    ///
    /// # Errors
    /// Returns [`IdentityError`] if no certificate can be generated.
    pub fn new(
        config: EngineConfig,
        hub: Hub,
        shards: usize,
        now: Instant,
        wall: SystemTime,
    ) -> Result<Self, IdentityError> {
        let setup = DrivenSetup {
            address: EngineAddress {
                local: config.listen,
                has_tcp: true,
            },
            clocks: Clocks { now, wall },
            commands: INBOX_CAPACITY,
            deliveries: QUEUE,
            config,
            hub,
            shards,
        };
        let outbox = || {
            Outbox(Rc::new(RefCell::new(Sent {
                datagrams: Vec::new(),
                room: usize::MAX,
            })))
        };
        let (shared, shards) = setup.start(outbox)?;
        Ok(Self {
            tcp: TcpAcceptor::new(&shared.config),
            shards,
            shared,
        })
    }

    /// Answers a viewer's offer, as [`Engine::open`](engine::Engine::open).
    ///
    /// # Errors
    /// Returns [`OpenError`] if the offer cannot be answered, or the gateway is full.
    pub fn open(
        &self,
        stream: &StreamName,
        offer: &Offer,
        options: ViewerOptions,
        now: Instant,
    ) -> Result<OpenedSession, OpenError> {
        engine::open(&self.shared, stream, offer, options, now)
    }

    /// Ends a session, as [`Engine::close`](engine::Engine::close).
    ///
    /// # Errors
    /// Returns [`CloseError`] if there is no such session, or its shard is too busy.
    pub fn close(&self, id: &SessionId, now: Instant) -> Result<(), CloseError> {
        engine::close(&self.shared, id, now)
    }

    /// Gives a session the credentials of an ICE fragment, as
    /// [`Engine::patch_ice`](engine::Engine::patch_ice).
    ///
    /// # Errors
    /// Returns [`PatchError`] if there is no such session, or its shard is too busy.
    pub fn patch(&self, id: &SessionId, fragment: &IceFragment) -> Result<IcePatch, PatchError> {
        engine::patch(&self.shared, id, fragment)
    }

    /// Sets what the viewer of a session asks for.
    ///
    /// # Errors
    /// Returns [`QualityError`] if there is no such session, or its shard is too busy.
    pub fn set_quality(
        &self,
        id: &SessionId,
        preference: Preference<RenditionId>,
    ) -> Result<(), QualityError> {
        engine::set_quality(&self.shared, id, preference)
    }

    /// Delivers a datagram at the socket of a shard.
    pub fn handle_datagram(
        &mut self,
        shard: usize,
        source: SocketAddr,
        bytes: &mut [u8],
        now: Instant,
    ) {
        if let Some(driven) = self.shards.get_mut(shard) {
            let datagram = Received {
                source,
                local: None,
                bytes,
            };
            driven.shard.handle_datagram(datagram, now);
        }
    }

    /// Accepts a TCP connection of a viewer at `remote`. Returns the future that serves it until its end;
    /// `None` if there are too many connections of this address.
    pub fn serve_tcp<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        stream: S,
        remote: SocketAddr,
        now: Instant,
    ) -> Option<impl Future<Output = ()> + Send + use<S>> {
        let accepted = self.tcp.accept(remote, now)?;
        let (shared, local) = (Arc::clone(&self.shared), self.shared.local);
        let (reader, writer) = tokio::io::split(stream);
        Some(async move {
            // The reason is for the log.
            let _ = serve_stream((reader, writer), (local, remote), accepted, &shared).await;
        })
    }

    /// Returns when [`Self::handle_timeout`] is due; `None` while there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let shards = self.shards.iter();
        shards
            .filter_map(|driven| driven.shard.poll_timeout())
            .min()
    }

    /// Handles commands, deliveries of the hub and due timeouts of all shards, until there are
    /// none.
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut is_idle = false;
        while !is_idle {
            is_idle = true;
            for driven in &mut self.shards {
                is_idle &= !driven.handle_commands(now);
                is_idle &= !driven.handle_deliveries(now);
                driven.handle_timeout(now);
            }
        }
    }

    /// Sets how many datagrams the kernel accepts from a shard before its buffer is full, and sends
    /// what has waited for room.
    pub fn set_room(&mut self, shard: usize, datagrams: usize, now: Instant) {
        if let Some(driven) = self.shards.get_mut(shard) {
            driven.outlet.0.borrow_mut().room = datagrams;
            if driven.shard.has_unsent() {
                driven.shard.handle_writable(now);
            }
        }
    }

    /// Takes the datagrams that a shard has sent.
    pub fn take_sent(&mut self, shard: usize) -> Vec<SentDatagram> {
        let driven = self.shards.get(shard);
        driven.map_or(Vec::new(), |driven| {
            std::mem::take(&mut driven.outlet.0.borrow_mut().datagrams)
        })
    }

    /// Ends all sessions, as at shutdown.
    pub fn close_all(&mut self, now: Instant) {
        for driven in &mut self.shards {
            driven.shard.close_all(now);
        }
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Returns the sizes of a shard's tables.
    pub fn tables(&self, shard: usize) -> Option<ShardTables> {
        let driven = self.shards.get(shard)?;
        Some(driven.shard.tables())
    }

    /// Returns the number of sessions, including those whose first packet has not arrived.
    pub fn sessions(&self) -> usize {
        self.shared.registry.len()
    }

    /// Returns the number of incomplete handshakes.
    pub fn handshakes(&self) -> usize {
        self.shared.handshakes.taken()
    }

    /// Returns whether there is a session with this id.
    pub fn contains(&self, id: &SessionId) -> bool {
        self.shared.registry.contains(id)
    }

    /// Returns the rendition whose video a session gets; `None` before its first packet.
    pub fn rendition_of(&self, id: &SessionId) -> Option<RenditionId> {
        self.shared.stats.rendition_of(id)
    }
}
