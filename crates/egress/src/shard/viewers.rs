//! The viewers of a shard.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use distributary_hub::BFrameChoice;
use distributary_net::FairPermit;
use slab::Slab;

use super::addresses::{Addresses, Holders};
use super::quality::Quality;
use crate::ice_tcp::Connection;
use crate::session::SessionContext;
use crate::session::{MAX_FRAGMENTS, SessionId};
use crate::state::{JoinProgress, JoinTimes, SessionStatsCell};
use distributary_webrtc::peer::Peer;
use distributary_webrtc::quality::Preference;

/// Addresses of one viewer: one for each way it has to get here.
const MAX_ADDRESSES: usize = 8;

/// TCP connections of one viewer: one for each way it has to get here, and a new one for each that
/// was cut.
const MAX_CONNECTIONS: usize = 4;

/// A viewer and its state in the shard.
pub(super) struct Viewer {
    pub(super) id: SessionId,
    /// The fragments of ours that its checks may name, the newest last.
    pub(super) ufrags: Vec<Box<str>>,
    pub(super) peer: Peer,
    /// Its handshake, until it is done.
    pub(super) handshake: Option<FairPermit>,
    /// Source of the decision what to send of B-frames.
    pub(super) b_frames: BFrameChoice,
    /// The stream that it watches, for its audio.
    pub(super) stream: u64,
    /// The stream or the rendition whose video it gets.
    pub(super) video: u64,
    /// Set when the stream has had renditions to choose from.
    pub(super) quality: Option<Box<Quality>>,
    /// Its proven addresses, the newest last.
    pub(super) addresses: Vec<SocketAddr>,
    /// Its proven TCP connections, the newest last.
    pub(super) connections: Vec<Arc<Connection>>,
    /// Its TCP connection had no room for media that is due.
    pub(super) is_held_back: bool,
    /// When its offer was answered.
    pub(super) since: Instant,
    /// Its join, until its first packet of media is sent.
    pub(super) join: Option<JoinProgress>,
    /// True if the schedule lists it as behind the live edge.
    pub(super) is_listed: bool,
    /// Its deadline in the schedule.
    pub(super) armed: Option<Instant>,
    /// Its published stats.
    pub(super) stats: Arc<SessionStatsCell>,
    pub(super) context: SessionContext,
}

impl Viewer {
    /// Returns which rendition it gets, and moves to.
    pub(super) fn quality(&mut self, now: Instant) -> &mut Quality {
        self.quality
            .get_or_insert_with(|| Box::new(Quality::new(Preference::default(), now)))
    }

    /// Returns whether it moves to another rendition.
    pub(super) fn is_moving(&self) -> bool {
        let quality = self.quality.as_ref();
        quality.is_some_and(|quality| quality.next.is_some())
    }

    /// Returns whether it is at the live edge: connected and not behind.
    pub(super) fn is_live(&self) -> bool {
        self.peer.is_connected() && !self.is_behind()
    }

    /// Ends its join if media was sent to it.
    pub(super) fn note_media(&mut self, times: &JoinTimes, now: Instant) {
        if self.join.is_none() {
            return;
        }
        let (video, audio) = self.peer.sender_stats();
        if video.packets + audio.packets > 0
            && let Some(join) = self.join.take()
        {
            join.end(times, now);
        }
    }

    /// Returns whether its handshake must end to admit a newcomer's.
    pub(super) fn is_displaced(&self) -> bool {
        let handshake = self.handshake.as_ref();
        handshake.is_some_and(|permit| permit.revocation().is_revoked())
    }

    /// Returns whether it needs more packets every few milliseconds.
    pub(super) fn is_behind(&self) -> bool {
        self.peer.is_catching_up() || self.is_held_back
    }

    /// Returns the TCP connection of this number, if it is one of this viewer.
    pub(super) fn connection(&self, id: u64) -> Option<&Arc<Connection>> {
        self.connections
            .iter()
            .find(|connection| connection.id() == id)
    }
}

/// The viewers of a shard, by key. A key may be given to another viewer after its viewer was
/// removed.
#[derive(Default)]
pub(super) struct Viewers {
    slots: Slab<Viewer>,
    by_address: Addresses,
    by_ufrag: HashMap<Box<str>, usize>,
    by_id: HashMap<SessionId, usize>,
    by_connection: HashMap<u64, usize>,
}

impl Viewers {
    pub(super) fn insert(&mut self, viewer: Viewer) -> usize {
        let (id, ufrags) = (viewer.id, viewer.ufrags.clone());
        let key = self.slots.insert(viewer);
        for ufrag in ufrags {
            self.by_ufrag.insert(ufrag, key);
        }
        self.by_id.insert(id, key);
        key
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<Viewer> {
        let viewer = self.slots.try_remove(key)?;
        for ufrag in &viewer.ufrags {
            self.by_ufrag.remove(ufrag);
        }
        self.by_id.remove(&viewer.id);
        for address in &viewer.addresses {
            self.by_address.forget(*address, key);
        }
        for connection in &viewer.connections {
            self.by_connection.remove(&connection.id());
            connection.close();
        }
        if self.slots.is_empty() {
            // Thousands leave room behind that the next few do not need.
            *self = Self::default();
        }
        Some(viewer)
    }

    pub(super) fn get(&self, key: usize) -> Option<&Viewer> {
        self.slots.get(key)
    }

    /// Returns how many there are.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Returns the numbers of addresses, of user name fragments and of sessions.
    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn indexed(&self) -> [usize; 3] {
        [self.by_address.len(), self.by_ufrag.len(), self.by_id.len()]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Viewer> {
        self.slots.iter().map(|(_, viewer)| viewer)
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Viewer> {
        self.slots.get_mut(key)
    }

    pub(super) fn by_address(&self, address: &SocketAddr) -> Option<Holders> {
        self.by_address.holders(address)
    }

    /// Records that a check from `address` has named a viewer of another shard.
    pub(super) fn contest_address(&mut self, address: &SocketAddr) {
        self.by_address.contest(address);
    }

    pub(super) fn by_connection(&self, id: u64) -> Option<usize> {
        self.by_connection.get(&id).copied()
    }

    pub(super) fn by_ufrag(&self, ufrag: &str) -> Option<usize> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(super) fn by_id(&self, id: &SessionId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Records another fragment of ours that the viewer's checks may name.
    pub(super) fn note_ufrag(&mut self, key: usize, ufrag: &str) {
        let Some(viewer) = self.slots.get_mut(key) else {
            return;
        };
        self.by_ufrag.insert(ufrag.into(), key);
        viewer.ufrags.push(ufrag.into());
        if viewer.ufrags.len() > MAX_FRAGMENTS {
            let oldest = viewer.ufrags.remove(0);
            self.by_ufrag.remove(&oldest);
        }
    }

    /// Records that a viewer says it is at `address`. Where another one is there already, the
    /// address becomes its own only if it has proved to be there.
    pub(super) fn note_address(&mut self, key: usize, address: SocketAddr, is_proven: bool) {
        if !self.by_address.note(key, address, is_proven) {
            return;
        }
        let Some(viewer) = self.slots.get_mut(key) else {
            return;
        };
        if !viewer.addresses.contains(&address) {
            viewer.addresses.push(address);
        }
        if viewer.addresses.len() > MAX_ADDRESSES {
            let oldest = viewer.addresses.remove(0);
            self.by_address.forget(oldest, key);
        }
    }

    /// Adds a TCP connection of a viewer.
    pub(super) fn note_connection(&mut self, key: usize, connection: &Arc<Connection>) {
        let Some(viewer) = self.slots.get_mut(key) else {
            return;
        };
        if viewer.connection(connection.id()).is_some() {
            return;
        }
        connection.prove();
        self.by_connection.insert(connection.id(), key);
        viewer.connections.push(Arc::clone(connection));
        if viewer.connections.len() > MAX_CONNECTIONS {
            let oldest = viewer.connections.remove(0);
            self.by_connection.remove(&oldest.id());
            oldest.close();
        }
    }

    /// Returns the viewers whose handshake must end to admit a newcomer's.
    pub(super) fn displaced(&self) -> Vec<usize> {
        let displaced = self
            .slots
            .iter()
            .filter(|(_, viewer)| viewer.is_displaced());
        displaced.map(|(key, _)| key).collect()
    }

    pub(super) fn keys(&self) -> Vec<usize> {
        self.slots.iter().map(|(key, _)| key).collect()
    }
}
