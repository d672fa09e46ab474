//! Candidate pairs: addresses and transport of a datagram.

use std::net::{IpAddr, SocketAddr};

/// The remote and the local address of a datagram, and its transport.
///
/// Replies have to leave from the destination address of the request (RFC 8445 section 7.2.5.2.1),
/// which a socket that is bound to all addresses does not ensure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CandidatePair {
    /// Our address, if the system reports it.
    pub local: Option<IpAddr>,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The transport between them.
    pub transport: Transport,
}

/// The transport of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP datagrams.
    Udp,
    /// Frames on the TCP connection with this number, which the peer has opened (RFC 6544).
    Tcp(u64),
}

impl CandidatePair {
    /// Creates a pair over UDP.
    #[must_use]
    pub fn udp(local: Option<IpAddr>, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            transport: Transport::Udp,
        }
    }
}
