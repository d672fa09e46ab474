//! Where a datagram came from, and how.

use std::net::{IpAddr, SocketAddr};

/// Where a datagram came from, and which of our addresses it was sent to.
///
/// Replies have to leave from the address that was asked (RFC 8445 section 7.2.5.2.1), which on a
/// socket that is bound to all addresses is not a matter of course.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CandidatePair {
    /// Our address, where the system tells it.
    pub local: Option<IpAddr>,
    /// The peer's address.
    pub remote: SocketAddr,
    /// How datagrams get from one to the other.
    pub transport: Transport,
}

/// How the datagrams of a pair travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// As they are.
    Udp,
    /// As frames on the TCP connection of this number, which the peer has opened (RFC 6544).
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
