//! The HTTP/1.1 server over TCP.
//!
//! No client can lock out others. When all connections are in use, or all of one address, a new one
//! replaces an idle one. A connection whose client does not read its responses is closed. A few
//! connections beyond the limit are reserved for health checks.

mod capacity;
mod connection;
mod write_deadline;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use distributary_net::{BindError, Listener};
use distributary_tls::{Certificate, Tickets, TlsError, TlsIdentity};
use hyper_util::server::graceful::GracefulShutdown;

use crate::config::RequestsConfig;

use capacity::Capacity;
use connection::{HttpConnection, Timeouts};

/// Maximum time that requests in progress have at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// The listen address, TLS and limits of an HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The certificate for HTTPS; `None` for plain HTTP.
    pub tls: Option<TlsIdentity>,
    /// Limits for connections. Connections of trusted proxies are not limited by address.
    pub requests: RequestsConfig,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 8080)),
            tls: None,
            requests: RequestsConfig::default(),
        }
    }
}

/// HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Listening on the address failed.
    #[error("HTTP {0}")]
    Listen(#[from] BindError),
    /// The certificate for HTTPS is not usable.
    #[error("HTTPS: {0}")]
    Tls(#[from] TlsError),
}

/// A bound HTTP server.
#[derive(Debug)]
pub struct HttpServer {
    listener: Listener,
    config: HttpConfig,
    certificate: Option<Arc<Certificate>>,
}

impl HttpServer {
    /// Binds the address, within a tokio runtime. Connections wait until [`HttpServer::run`].
    ///
    /// # Errors
    /// Fails when the address cannot be bound, or the certificate is not usable.
    pub fn bind(config: HttpConfig) -> Result<Self, HttpError> {
        let certificate = config
            .tls
            .clone()
            .map(|identity| Certificate::new("HTTPS", identity, Tickets::Sent).map(Arc::new))
            .transpose()?;
        let protocol = if certificate.is_some() {
            "HTTPS"
        } else {
            "HTTP"
        };
        Ok(Self {
            listener: Listener::bind(protocol, config.listen)?,
            config,
            certificate,
        })
    }

    /// Returns the bound address, with the real port if port 0 was requested.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Returns the certificates of HTTPS; `None` for plain HTTP.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.clone()
    }

    /// Serves until `shutdown` is ready, then lets requests in progress finish, for half a second
    /// at most.
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
            tracing::debug!("HTTP connections were closed at shutdown");
        }
    }

    /// Accepts connections without end.
    async fn accept(&self, router: Router, connections: &GracefulShutdown) {
        let mut capacity = Capacity::new(&self.config.requests);
        let timeouts = Timeouts {
            header: self.config.requests.header_timeout,
            write: self.config.requests.write_timeout,
        };
        loop {
            let (stream, peer) = self.listener.accept().await;
            let Some(taken) = capacity.take(peer).await else {
                tracing::debug!(%peer, "HTTP connection closed: all connections are in use");
                continue;
            };
            let connection = HttpConnection {
                peer,
                router: router.clone(),
                timeouts,
                watcher: connections.watcher(),
                idle: capacity.idle(),
                is_reserve: taken.is_reserve,
            };
            let connection = connection.serve(stream, self.certificate.clone());
            tokio::spawn(async move {
                connection.await;
                drop(taken);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::extract::Request;
    use axum::routing::{any, get, post};
    use distributary_tls::test_util::trusting_client;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Semaphore;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;

    /// Starts a server with this maximum of connections. The semaphore counts requests to `/never`.
    fn serve(max_connections: usize) -> (SocketAddr, Arc<Semaphore>) {
        serve_with(max_connections, None)
    }

    fn serve_with(
        max_connections: usize,
        tls: Option<TlsIdentity>,
    ) -> (SocketAddr, Arc<Semaphore>) {
        let server = HttpServer::bind(HttpConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls,
            requests: RequestsConfig {
                max_connections,
                ..RequestsConfig::default()
            },
        })
        .unwrap();
        let address = server.local_addr();
        let under_way = Arc::new(Semaphore::new(0));
        let began = Arc::clone(&under_way);
        let endless = async move |request: Request| {
            began.add_permits(1);
            let body = to_bytes(request.into_body(), usize::MAX).await;
            std::future::pending::<()>().await;
            drop(body);
        };
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/healthz", get(async || "ok"))
            .route("/never", any(endless))
            .route(
                "/whep",
                post(async || "session").options(async || "preflight"),
            );
        tokio::spawn(server.run(router, std::future::pending()));
        (address, under_way)
    }

    async fn connect(address: SocketAddr, words: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        stream
    }

    fn get_of(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    /// Returns the whole response, after which the connection must close.
    async fn closing(address: SocketAddr, path: &str) -> String {
        closing_after(address, &get_of(path)).await
    }

    async fn closing_after(address: SocketAddr, request: &str) -> String {
        let mut stream = connect(address, request).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Returns the first bytes that come on a connection.
    async fn begin_of(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut buffer = vec![0; 12];
        stream.read_exact(&mut buffer).await.unwrap();
        String::from_utf8(buffer).unwrap()
    }

    #[tokio::test]
    async fn silent_connections_are_replaced_by_active_ones() {
        let (address, _) = serve(2);
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(connect(address, "").await);
        }
        let mut asking = connect(address, &get_of("/")).await;
        assert_eq!(begin_of(&mut asking).await, "HTTP/1.1 200");
        // The oldest were closed.
        for stream in &mut silent[..19] {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        }
    }

    #[tokio::test]
    async fn incomplete_tls_handshakes_are_replaced() {
        let (address, _) = serve_with(2, Some(TlsIdentity::default()));
        let mut halves = Vec::new();
        for _ in 0..20 {
            // The beginning of a TLS record.
            halves.push(connect(address, "\x16\x03\x01\x02\x00").await);
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let config = trusting_client().with_no_client_auth();
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let connector = TlsConnector::from(Arc::new(config));
        let mut newcomer = connector.connect(name, stream).await.unwrap();
        let request = get_of("/");
        newcomer.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(begin_of(&mut newcomer).await, "HTTP/1.1 200");
        for half in &mut halves[..19] {
            assert_eq!(half.read(&mut [0; 1]).await.unwrap_or(0), 0);
        }
    }

    #[tokio::test]
    async fn health_checks_succeed_while_all_connections_are_in_use() {
        let (address, under_way) = serve(3);
        let mut busy = Vec::new();
        for _ in 0..2 {
            busy.push(connect(address, &get_of("/never")).await);
        }
        // A body that never arrives.
        let head = "POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        let mut slow = connect(address, head).await;
        slow.write_all(b"a").await.unwrap();
        let _all = under_way.acquire_many(3).await.unwrap();
        let answer = closing(address, "/").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("connection: close") && answer.contains("retry-after"));
        for _ in 0..100 {
            let answer = closing(address, "/healthz").await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
                "{answer}"
            );
        }
        drop(busy);
    }

    #[tokio::test]
    async fn page_of_another_site_can_read_that_all_connections_are_in_use() {
        let (address, under_way) = serve(1);
        let _busy = connect(address, &get_of("/never")).await;
        let _all = under_way.acquire().await.unwrap();
        let send = async |method: &str, header: &str| {
            let origin = "Host: a\r\nOrigin: https://b.example";
            let request = format!("{method} /whep HTTP/1.1\r\n{origin}{header}\r\n\r\n");
            closing_after(address, &request).await
        };
        // The browser sends a preflight first, on a connection of its own.
        let answer = send("OPTIONS", "\r\nAccess-Control-Request-Method: POST").await;
        assert!(answer.ends_with("preflight"), "{answer}");
        let answer = send("POST", "").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains("access-control-allow-origin: *\r\n"),
            "{answer}"
        );
        let exposed = answer
            .lines()
            .find(|line| line.starts_with("access-control-expose-headers: "));
        assert!(exposed.unwrap().contains("Retry-After"), "{answer}");
        // Other OPTIONS requests are no preflights.
        let answer = send("OPTIONS", "").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}
