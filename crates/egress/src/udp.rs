//! The UDP sockets of the shards: one port, a socket each.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use distributary_net::bind_socket;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::Type;

use crate::datagrams::{Outlet, Received, SendError};
use crate::socket_events::SocketEvents;

/// Size of the kernel's receive buffer in bytes; the kernel may grant less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Size of the kernel's send buffer in bytes. Every packet waits behind it where the link is full:
/// 8 ms at 1 Gbit/s, and 80 ms at 100 Mbit/s.
const SEND_BUFFER: usize = 1 << 20;

/// Datagrams received with one call.
const BATCH: usize = quinn_udp::BATCH_SIZE;

/// Buffer size for one received datagram, or for several of one sender that the kernel joined.
const RECEIVE_SIZE: usize = 1 << 16;

/// Binds `count` sockets to one UDP port, between which the kernel spreads senders by their address
/// (`SO_REUSEPORT`). Port 0 takes any free port. An IPv6 wildcard address takes IPv4 too; where the
/// machine has no IPv6 it falls back to the IPv4 wildcard.
///
/// # Errors
/// Returns the system's error if the address cannot be bound, for example because another process
/// has the port.
pub(crate) fn bind_shared(listen: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    // Without SO_REUSEPORT first: with it a second gateway could bind the same port unnoticed, and
    // would take half of the viewers' datagrams.
    let probe = bind_socket(listen, Type::DGRAM, |_| Ok(()))?;
    let address = probe
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    drop(probe);
    (0..count).map(|_| bind_one(address)).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind_socket(address, Type::DGRAM, |socket| socket.set_reuse_port(true))?;
    // More than the limit of the system is cut by the kernel, not refused.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket.into())
}

/// Sizes of a socket's buffers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// Of the receive buffer.
    pub receive: usize,
    /// Of the send buffer.
    pub send: usize,
}

/// The buffers of media sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    /// The sizes that are asked for.
    pub wanted: BufferSizes,
    /// The sizes that the system grants.
    pub granted: BufferSizes,
}

/// Finds out which buffers the system grants to media sockets.
///
/// # Errors
/// Returns the system's error if there can be no socket.
pub fn socket_buffers() -> io::Result<SocketBuffers> {
    let socket = bind_one((Ipv4Addr::LOCALHOST, 0).into())?;
    let socket = socket2::SockRef::from(&socket);
    // Linux reserves as much again for its own bookkeeping, and reports both (socket(7)).
    let factor = if cfg!(target_os = "linux") { 2 } else { 1 };
    Ok(SocketBuffers {
        wanted: BufferSizes {
            receive: RECEIVE_BUFFER,
            send: SEND_BUFFER,
        },
        granted: BufferSizes {
            receive: socket.recv_buffer_size()? / factor,
            send: socket.send_buffer_size()? / factor,
        },
    })
}

/// A shard's socket. It does not block.
pub(crate) struct ShardSocket {
    socket: Arc<UdpSocket>,
    state: UdpSocketState,
}

/// The buffers that received datagrams are read into, reused for every call.
pub(crate) struct ReceiveBuffers {
    bytes: Box<[u8]>,
}

impl ReceiveBuffers {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * RECEIVE_SIZE].into(),
        }
    }
}

impl ShardSocket {
    /// Takes over a bound socket.
    ///
    /// # Errors
    /// Returns the system's error if the socket cannot be set up.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket: Arc::new(socket),
            state,
        })
    }

    /// Returns what waits until this socket is ready.
    pub(crate) fn events(&self) -> SocketEvents {
        SocketEvents::new(Arc::clone(&self.socket))
    }

    /// Receives waiting datagrams, at most one batch.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub(crate) fn receive<'b>(&self, buffers: &'b mut ReceiveBuffers) -> io::Result<Batch<'b>> {
        let mut metas = [RecvMeta::default(); BATCH];
        let mut chunks = buffers.bytes.chunks_exact_mut(RECEIVE_SIZE);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let socket = UdpSockRef::from(&*self.socket);
        let count = self.state.recv(socket, &mut slices, &mut metas)?;
        Ok(Batch {
            metas,
            count,
            buffers,
        })
    }
}

/// Datagrams that were received with one call.
pub(crate) struct Batch<'b> {
    metas: [RecvMeta; BATCH],
    count: usize,
    buffers: &'b mut ReceiveBuffers,
}

impl<'b> Batch<'b> {
    /// Returns whether more datagrams may be waiting.
    pub(crate) fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// Returns the datagrams.
    pub(crate) fn datagrams(self) -> impl Iterator<Item = Received<'b>> {
        let chunks = self.buffers.bytes.chunks_exact_mut(RECEIVE_SIZE);
        let received = self.metas.into_iter().take(self.count).zip(chunks);
        received.flat_map(|(meta, bytes)| {
            let datagrams = bytes[..meta.len].chunks_mut(meta.stride.max(1));
            datagrams.map(move |bytes| Received {
                source: meta.addr,
                local: meta.dst_ip,
                bytes,
            })
        })
    }
}

impl Outlet for ShardSocket {
    fn send(
        &self,
        destination: SocketAddr,
        local: Option<IpAddr>,
        contents: &[u8],
        segment_size: usize,
    ) -> Result<(), SendError> {
        let most = self.state.max_gso_segments().max(1) * segment_size;
        let mut sent = 0;
        for contents in contents.chunks(most) {
            let transmit = Transmit {
                destination,
                ecn: None,
                contents,
                segment_size: (contents.len() > segment_size).then_some(segment_size),
                src_ip: local,
            };
            let socket = UdpSockRef::from(&*self.socket);
            match self.state.try_send(socket, &transmit) {
                Ok(()) => sent += contents.len(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(SendError::Full { sent });
                }
                Err(error) => return Err(SendError::Failed(error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn every_shard_gets_the_same_port() {
        let sockets = bind_shared("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap().port())
            .collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]));
    }

    #[test]
    fn port_of_another_gateway_is_in_use() {
        let sockets = bind_shared("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let taken = sockets[0].local_addr().unwrap();
        let error = bind_shared(taken, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn wildcard_receives_both_families_and_replies_leave_from_the_destination_address() {
        let socket = bind_shared("[::]:0".parse().unwrap(), 1).unwrap().remove(0);
        let port = socket.local_addr().unwrap().port();
        let server = ShardSocket::new(socket).unwrap();
        let mut events = server.events();
        events.wait_for(true, false);
        let mut buffers = ReceiveBuffers::new();
        for asked in ["127.0.0.2", "::1"] {
            let asked: IpAddr = asked.parse().unwrap();
            let any: IpAddr = if asked.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            };
            let client = UdpSocket::bind((any, 0)).unwrap();
            client.send_to(b"check", (asked, port)).unwrap();
            let mut heard = None;
            while heard.is_none() {
                events.ready().await.unwrap();
                let batch = server.receive(&mut buffers).unwrap();
                assert!(!batch.is_full());
                for datagram in batch.datagrams() {
                    assert_eq!(datagram.bytes, b"check");
                    heard = Some((datagram.source, datagram.local));
                }
            }
            let (source, local) = heard.unwrap();
            server.send(source, local, b"aabbc", 2).unwrap();
            let mut bytes = [0; 16];
            for expected in [&b"aa"[..], b"bb", b"c"] {
                let (len, from) = client.recv_from(&mut bytes).unwrap();
                assert_eq!(&bytes[..len], expected);
                assert_eq!(
                    from.ip(),
                    asked,
                    "a strict peer drops replies from elsewhere"
                );
            }
        }
    }
}
