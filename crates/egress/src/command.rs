//! Commands for a shard.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use distributary_names::RenditionId;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::quality::Preference;

use crate::ice_tcp::Connection;
use crate::session::SessionId;

/// A message to a shard.
pub(crate) enum Command {
    /// Another shard has received a datagram for a viewer of this one.
    Datagram {
        /// Its source address.
        source: SocketAddr,
        /// The address it was sent to.
        local: Option<IpAddr>,
        /// The datagram.
        bytes: Box<[u8]>,
    },
    /// A viewer's TCP connection has received a frame.
    Frame {
        /// The connection.
        connection: Arc<Connection>,
        /// The frame without its length.
        bytes: Box<[u8]>,
    },
    /// Add ICE credentials to a session.
    Restart {
        /// The session.
        id: SessionId,
        /// Our credentials.
        local: Credentials,
        /// The viewer's credentials.
        remote: Credentials,
    },
    /// Set what a viewer asks for.
    Quality {
        /// The session.
        id: SessionId,
        /// The preference of its viewer.
        preference: Preference<RenditionId>,
    },
    /// End this session.
    Close(SessionId),
    /// End this session if its incomplete handshake must give way to another.
    EndHandshake(SessionId),
    /// End all sessions and the thread.
    Shutdown,
    /// Panic, for tests.
    #[cfg(any(test, debug_assertions))]
    Panic,
}
