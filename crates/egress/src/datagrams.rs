//! Datagrams into a shard, and the outlet that it sends datagrams through.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// A received datagram.
pub(crate) struct Received<'a> {
    /// Its source address.
    pub(crate) source: SocketAddr,
    /// The address it was sent to, from which the reply must leave.
    pub(crate) local: Option<IpAddr>,
    /// Its bytes.
    pub(crate) bytes: &'a mut [u8],
}

/// Sends datagrams: a socket, or a simulated network.
pub(crate) trait Outlet {
    /// Sends packets of `segment_size` bytes, the last one perhaps shorter, to one destination.
    ///
    /// # Errors
    /// Returns [`SendError`] if the kernel's buffer is full, with the number of bytes that it
    /// accepted, or if the destination cannot be reached.
    fn send(
        &self,
        destination: SocketAddr,
        local: Option<IpAddr>,
        contents: &[u8],
        segment_size: usize,
    ) -> Result<(), SendError>;
}

/// The reason why a call did not send everything.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The kernel's buffer is full; it accepted this number of bytes.
    Full { sent: usize },
    /// The destination cannot be reached. The next call may succeed.
    Failed(io::Error),
}
