//! Receiving the datagrams of a viewer.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

/// Room for what comes while the swarm looks after other viewers, in bytes; the kernel may grant
/// less.
const BUFFER_SIZE: usize = 1 << 20;

/// Reads with one call. A frame is one such read where the kernel joins datagrams.
const BATCH: usize = 4;

/// Room for one read: datagrams that the kernel has joined are 64 KiB at most.
const READ_SIZE: usize = 1 << 16;

/// Receive mode. It matters to the server's stats if both are on one machine: there the sender pays
/// for the way up to the receiver's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ReceiveMode {
    /// Datagrams of one send call are handed over together (`UDP_GRO`): nearest to a real network,
    /// where the receiver's share is paid elsewhere.
    Gro,
    /// One datagram for each call.
    Plain,
}

impl fmt::Display for ReceiveMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gro => "UDP_GRO",
            Self::Plain => "plain",
        })
    }
}

/// The socket of one viewer, connected to the server.
#[derive(Debug)]
pub struct ViewerSocket {
    socket: UdpSocket,
    /// `None` for [`ReceiveMode::Plain`].
    gro: Option<UdpSocketState>,
}

/// The buffer that all sockets read into, one after the other.
#[derive(Debug)]
pub struct ReadBuffers(Box<[u8]>);

impl ReadBuffers {
    /// Buffers for any number of sockets.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; BATCH * READ_SIZE].into())
    }
}

impl Default for ReadBuffers {
    fn default() -> Self {
        Self::new()
    }
}

impl ViewerSocket {
    /// Creates a socket on any free port that talks to `server` only.
    ///
    /// # Errors
    /// When the system has no socket or port left, or no way to the server.
    pub fn connect(server: SocketAddr, mode: ReceiveMode) -> io::Result<Self> {
        let domain = Domain::for_address(server);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        socket.bind(&any.into())?;
        // More than the limit of the system is cut by the kernel, not refused.
        let _ = socket.set_recv_buffer_size(BUFFER_SIZE);
        socket.connect(&server.into())?;
        socket.set_nonblocking(true)?;
        let gro = match mode {
            ReceiveMode::Gro => Some(UdpSocketState::new(UdpSockRef::from(&socket))?),
            ReceiveMode::Plain => None,
        };
        Ok(Self {
            socket: UdpSocket::from_std(socket.into()),
            gro,
        })
    }

    /// Returns the socket, to be registered for readiness.
    pub fn source(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// Sends a datagram. Drops it if the kernel does not accept it.
    pub fn send(&self, datagram: &[u8]) {
        let _ = self.socket.send(datagram);
    }

    /// Hands over everything that has arrived. An error is that of an earlier send (the server's
    /// port is closed) and ends the reading, no more.
    pub fn receive(&self, buffers: &mut ReadBuffers, mut handle: impl FnMut(&[u8])) {
        match &self.gro {
            Some(state) => while self.receive_joined(state, buffers, &mut handle) {},
            None => {
                while let Ok(len) = self.socket.recv(&mut buffers.0) {
                    handle(buffers.0.get(..len).unwrap_or_default());
                }
            }
        }
    }

    /// One call. `false`: there is nothing more.
    fn receive_joined(
        &self,
        state: &UdpSocketState,
        buffers: &mut ReadBuffers,
        handle: &mut impl FnMut(&[u8]),
    ) -> bool {
        let mut metas = [RecvMeta::default(); BATCH];
        let mut chunks = buffers.0.chunks_exact_mut(READ_SIZE);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let read = state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas);
        let count = read.unwrap_or_default();
        for (meta, bytes) in metas.iter().zip(&slices).take(count) {
            let bytes = bytes.get(..meta.len).unwrap_or_default();
            bytes.chunks(meta.stride.max(1)).for_each(&mut *handle);
        }
        // The call returns fewer than it may only when the queue is empty.
        count == BATCH
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as StdSocket;

    use super::*;

    #[test]
    fn everything_that_arrived_is_handed_over_in_both_modes() {
        for mode in [ReceiveMode::Gro, ReceiveMode::Plain] {
            let server = StdSocket::bind("127.0.0.1:0").unwrap();
            let viewer = ViewerSocket::connect(server.local_addr().unwrap(), mode).unwrap();
            viewer.send(b"hello");
            let mut bytes = [0; 16];
            let (len, source) = server.recv_from(&mut bytes).unwrap();
            assert_eq!(&bytes[..len], b"hello");
            for number in 0..50_u8 {
                server.send_to(&[number; 3], source).unwrap();
            }
            let mut received = Vec::new();
            viewer.receive(&mut ReadBuffers::new(), |datagram| {
                received.push(datagram.to_vec());
            });
            let expected: Vec<_> = (0..50).map(|number| vec![number; 3]).collect();
            assert_eq!(received, expected, "{mode}");
        }
    }

    #[test]
    fn unreachable_server_is_no_error() {
        let server = StdSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        drop(server);
        let viewer = ViewerSocket::connect(address, ReceiveMode::Gro).unwrap();
        viewer.send(b"hello");
        let mut count = 0;
        viewer.receive(&mut ReadBuffers::new(), |_| count += 1);
        assert_eq!(count, 0);
    }
}
