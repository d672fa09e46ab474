//! Listening on TCP, over IPv6 and IPv4.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::{bind_socket, canonical_address};

/// Maximum connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// First and longest pause after a failed `accept`, as when the process is out of file descriptors.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The error for an address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The error of the system.
    pub source: io::Error,
}

/// A TCP listener whose `accept` does not fail.
#[derive(Debug)]
pub struct Listener {
    protocol: &'static str,
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Listener {
    /// Listens on `address` (see [`bind`]) for connections of `protocol`, a name for the log. Call
    /// it within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(protocol: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        Self::from_std(protocol, bind(address)?).map_err(failed)
    }

    /// Returns a listener for a socket of [`bind`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn from_std(protocol: &'static str, listener: std::net::TcpListener) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        Ok(Self {
            protocol,
            listener: TcpListener::from_std(listener)?,
            local_addr,
        })
    }

    /// Returns the address listened on, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts the next connection. The peer's address is IPv4 if it connected over IPv4. When
    /// `accept` fails, this logs the error, pauses and tries again.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        let (mut pause, longest) = ACCEPT_BACKOFF;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let peer = canonical_address(peer);
                    return (stream, peer);
                }
                Err(error) => {
                    warn!(protocol = self.protocol, %error, "connection not accepted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }
}

/// Binds and listens on a TCP socket that does not block, as [`bind_socket`] does.
///
/// # Errors
/// When the address cannot be listened on.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let listen = || {
        // A restart must not wait for old connections to be forgotten. On Windows the option means
        // something else: it would let a second server take the port.
        #[cfg(unix)]
        let prepare = |socket: &Socket| socket.set_reuse_address(true);
        #[cfg(not(unix))]
        let prepare = |_: &Socket| Ok(());
        let socket = bind_socket(address, Type::STREAM, prepare)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|source| BindError { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn unspecified_ipv6_address_accepts_ipv4_with_the_ipv4_address_of_the_peer() {
        let listener = Listener::bind("test", "[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let (_, peer) = listener.accept().await;
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn error_names_the_address_in_use() {
        let first = Listener::bind("test", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr();
        let error = Listener::bind("test", address).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()));
    }
}
