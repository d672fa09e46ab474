//! What a shard can be told from outside.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use distributary_webrtc::ice::Credentials;

use crate::ice_tcp::Connection;
use crate::session::SessionId;

/// A message to a shard.
pub(crate) enum Command {
    /// A datagram for a viewer of this shard came in at another one.
    Datagram {
        /// Where it came from.
        source: SocketAddr,
        /// The address it was sent to.
        local: Option<IpAddr>,
        /// The datagram.
        bytes: Box<[u8]>,
    },
    /// A frame came in on a viewer's TCP connection.
    Frame {
        /// The connection.
        connection: Arc<Connection>,
        /// The frame without its length.
        bytes: Box<[u8]>,
    },
    /// Give this session new ICE credentials, beside those it has.
    Restart {
        /// The session.
        id: SessionId,
        /// Our credentials.
        local: Credentials,
        /// Those of the viewer.
        remote: Credentials,
    },
    /// End this session.
    Close(SessionId),
    /// End all sessions and the thread.
    Shutdown,
    /// Panic, as a bug would make it.
    #[cfg(any(test, debug_assertions))]
    Panic,
}
