//! The driver: HTTP/1.1 over TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use distributary_auth::network::{TrustedProxies, network};
use distributary_tls::{Certificate, TlsError, TlsIdentity};
use distributary_webrtc::engine::{Place, Places};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::Layer as _;

use crate::access::PeerAddress;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long `accept` rests when it fails, as it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests under way may still take at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// Where and how HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The certificate of HTTPS; without one, HTTP is served as it is.
    pub tls: Option<TlsIdentity>,
    /// Most connections at a time; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Most of them from one address, an IPv6 /64 network counting as one; a further one is closed. This
    /// machine and `proxies` are not counted.
    pub max_connections_per_ip: usize,
    /// Proxies, whose connections are those of many viewers.
    pub proxies: TrustedProxies,
    /// How long a connection may take to send the head of a request, and how long it may be idle.
    pub header_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8080)),
            tls: None,
            max_connections: 4096,
            max_connections_per_ip: 2048,
            proxies: TrustedProxies::default(),
            header_timeout: Duration::from_secs(15),
        }
    }
}

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("HTTP cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate of HTTPS cannot be used.
    #[error("HTTPS: {0}")]
    Tls(#[from] TlsError),
}

/// A bound HTTP server.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    config: HttpConfig,
    certificate: Option<Arc<Certificate>>,
}

impl HttpServer {
    /// Takes the address, within a tokio runtime. Connections wait until [`HttpServer::run`].
    ///
    /// # Errors
    /// When the address cannot be listened on, or the certificate cannot be used.
    pub fn bind(config: HttpConfig) -> Result<Self, HttpError> {
        let address = config.listen;
        let failed = |source| HttpError::Listen { address, source };
        let certificate = config
            .tls
            .clone()
            .map(|identity| Certificate::new("HTTPS", identity).map(Arc::new))
            .transpose()?;
        let listener = listen(address).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            local_addr,
            config,
            certificate,
        })
    }

    /// The address that is listened on; it has the real port when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is ready, then lets requests under way finish, half a second at most.
    pub async fn run(self, router: Router, shutdown: impl Future<Output = ()>) {
        let connections = GracefulShutdown::new();
        tokio::select! {
            () = self.accept(router, &connections) => {}
            () = shutdown => {}
        }
        if tokio::time::timeout(SHUTDOWN_GRACE, connections.shutdown())
            .await
            .is_err()
        {
            tracing::debug!("HTTP connections were cut at shutdown");
        }
    }

    /// Accepts for ever. A place is taken before a connection is accepted.
    async fn accept(&self, router: Router, connections: &GracefulShutdown) {
        let places = Arc::new(Semaphore::new(self.config.max_connections));
        let by_address = Places::new(self.config.max_connections_per_ip);
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "HTTP connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(of_address) = self.take(&by_address, peer) else {
                tracing::debug!(%peer, "HTTP connection closed: its address has as many as it may");
                continue;
            };
            let connection = Connection {
                peer,
                router: router.clone(),
                header_timeout: self.config.header_timeout,
                watcher: connections.watcher(),
            };
            let connection = connection.serve(stream, self.certificate.clone());
            tokio::spawn(async move {
                connection.await;
                drop((place, of_address));
            });
        }
    }

    /// Takes a place for a connection of `peer`, where its address is counted.
    fn take(&self, places: &Arc<Places>, peer: SocketAddr) -> Result<Option<Place>, usize> {
        let ip = peer.ip().to_canonical();
        let is_counted = !ip.is_loopback() && !self.config.proxies.trusts(ip);
        is_counted.then(|| places.take(network(ip))).transpose()
    }
}

/// A listening socket; one on `[::]` takes IPv4 too, whatever the system's default.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for old connections to be forgotten. On Windows the option means
    // something else: it would let a second server take the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// One connection that is served.
struct Connection {
    peer: SocketAddr,
    router: Router,
    header_timeout: Duration,
    watcher: Watcher,
}

impl Connection {
    /// Serves it, over TLS where there is a certificate.
    async fn serve(self, stream: TcpStream, certificate: Option<Arc<Certificate>>) {
        // An answer is one small write; waiting to fill a segment would only delay it.
        let _ = stream.set_nodelay(true);
        let Some(certificate) = certificate else {
            return self.exchange(stream).await;
        };
        let handshake = certificate.acceptor().accept(stream);
        match tokio::time::timeout(self.header_timeout, handshake).await {
            Ok(Ok(stream)) => self.exchange(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(peer = %self.peer, "no TLS handshake in time"),
        }
    }

    async fn exchange(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
        let router = Extension(PeerAddress(self.peer)).layer(self.router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, "HTTP connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_cannot_take_all_connections() {
        let proxy = distributary_auth::network::parse("198.51.100.0/24").unwrap();
        let server = HttpServer::bind(HttpConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            max_connections_per_ip: 1,
            proxies: TrustedProxies(vec![proxy]),
            ..HttpConfig::default()
        })
        .unwrap();
        let places = Places::new(1);
        let take = |ip: &str| server.take(&places, SocketAddr::new(ip.parse().unwrap(), 4000));
        let first = take("2001:db8::1").unwrap();
        assert!(take("2001:db8::2").is_err(), "it is of the same network");
        assert!(take("2001:db8:0:1::1").is_ok());
        drop(first);
        assert!(take("2001:db8::2").is_ok());
        for ip in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "198.51.100.7"] {
            assert!(take(ip).unwrap().is_none(), "{ip} is not counted");
        }
    }
}
