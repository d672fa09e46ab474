//! The output of a viewer: datagrams and events.

use std::net::{IpAddr, SocketAddr};

use super::close_reason::CloseReason;
use crate::ice::{CandidatePair, Transport};
use crate::srtp::SrtpProfile;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Destination address.
    pub destination: SocketAddr,
    /// Local address that it is sent from.
    pub local: Option<IpAddr>,
    /// Transport protocol.
    pub transport: Transport,
    /// The datagram.
    pub bytes: Vec<u8>,
}

impl Transmit {
    pub(super) fn on(pair: CandidatePair, bytes: Vec<u8>) -> Self {
        Self {
            destination: pair.remote,
            local: pair.local,
            transport: pair.transport,
            bytes,
        }
    }
}

/// An event of a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// The viewer's address is known, or has changed.
    Moved {
        /// Its address.
        remote: SocketAddr,
    },
    /// Media can be sent, behind the datagrams that come before this event: they complete the keys
    /// at the viewer. The handshake may still lack the viewer's Finished, see
    /// [`is_handshake_complete`](super::Peer::is_handshake_complete).
    Connected {
        /// The SRTP profile.
        profile: SrtpProfile,
    },
    /// A data channel is open: notices go there from now on.
    ChannelOpened {
        /// Its number.
        channel: u16,
        /// Its label.
        label: String,
    },
    /// The session is over. No event follows.
    Closed(CloseReason),
}
