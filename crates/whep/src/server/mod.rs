//! The driver: HTTP/1.1 over TCP.
//!
//! No client can keep others out. A connection on which no request is under way gives way to a newcomer when
//! all are taken, or all of one address to a newcomer from there; one that does not read its answers is closed; a few connections beyond the limit are there
//! for those who ask whether the gateway is well.

mod capacity;
mod connection;
mod write_deadline;

#[cfg(test)]
mod any_certificate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use distributary_net::{BindError, Listener};
use distributary_tls::{Certificate, Tickets, TlsError, TlsIdentity};
use hyper_util::server::graceful::GracefulShutdown;

use crate::config::RequestsConfig;

use capacity::Capacity;
use connection::{Connection, Timeouts};

/// How long requests under way may still take at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// Where and how HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The certificate of HTTPS; without one, HTTP is served as it is.
    pub tls: Option<TlsIdentity>,
    /// Limits for connections, and proxies, whose connections are those of many viewers.
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

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("HTTP {0}")]
    Listen(#[from] BindError),
    /// The certificate of HTTPS cannot be used.
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
    /// Takes the address, within a tokio runtime. Connections wait until [`HttpServer::run`].
    ///
    /// # Errors
    /// When the address cannot be listened on, or the certificate cannot be used.
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

    /// The address that is listened on; it has the real port when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
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

    /// Accepts for ever.
    async fn accept(&self, router: Router, connections: &GracefulShutdown) {
        let mut capacity = Capacity::new(&self.config.requests);
        let timeouts = Timeouts {
            header: self.config.requests.header_timeout,
            write: self.config.requests.write_timeout,
        };
        loop {
            let (stream, peer) = self.listener.accept().await;
            let Some(taken) = capacity.take(peer).await else {
                tracing::debug!(%peer, "HTTP connection closed: there are as many as there may be");
                continue;
            };
            let connection = Connection {
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
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Semaphore;

    /// A server with room for so many connections, and what is told of each request that will not end.
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
                post(async || "session").options(async || "asked first"),
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

    /// The whole answer, after which the connection must be closed.
    async fn closing(address: SocketAddr, path: &str) -> String {
        closing_after(address, &get_of(path)).await
    }

    async fn closing_after(address: SocketAddr, request: &str) -> String {
        let mut stream = connect(address, request).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// What comes first on a connection.
    async fn begin_of(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut buffer = vec![0; 12];
        stream.read_exact(&mut buffer).await.unwrap();
        String::from_utf8(buffer).unwrap()
    }

    #[tokio::test]
    async fn silent_connections_give_way_to_those_who_ask() {
        let (address, _) = serve(2);
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(connect(address, "").await);
        }
        let mut asking = connect(address, &get_of("/")).await;
        assert_eq!(begin_of(&mut asking).await, "HTTP/1.1 200");
        // The first that came were closed.
        for stream in &mut silent[..19] {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
        }
    }

    #[tokio::test]
    async fn half_handshakes_of_tls_give_way_as_well() {
        let (address, _) = serve_with(2, Some(TlsIdentity::SelfSigned));
        let mut halves = Vec::new();
        for _ in 0..20 {
            // The beginning of a TLS record.
            halves.push(connect(address, "\x16\x03\x01\x02\x00").await);
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let mut newcomer = any_certificate::connect(stream).await;
        let request = get_of("/");
        newcomer.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(begin_of(&mut newcomer).await, "HTTP/1.1 200");
        for half in &mut halves[..19] {
            assert_eq!(half.read(&mut [0; 1]).await.unwrap_or(0), 0);
        }
    }

    #[tokio::test]
    async fn health_is_told_while_all_connections_are_in_use_and_others_hear_that() {
        let (address, under_way) = serve(3);
        let mut busy = Vec::new();
        for _ in 0..2 {
            busy.push(connect(address, &get_of("/never")).await);
        }
        // A body that never comes.
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
    async fn a_page_of_another_site_can_read_that_all_connections_are_in_use() {
        let (address, under_way) = serve(1);
        let _busy = connect(address, &get_of("/never")).await;
        let _all = under_way.acquire().await.unwrap();
        let ask = async |method: &str, header: &str| {
            let origin = "Host: a\r\nOrigin: https://b.example";
            let request = format!("{method} /whep HTTP/1.1\r\n{origin}{header}\r\n\r\n");
            closing_after(address, &request).await
        };
        // The browser asks first, on a connection of its own.
        let answer = ask("OPTIONS", "\r\nAccess-Control-Request-Method: POST").await;
        assert!(answer.ends_with("asked first"), "{answer}");
        let answer = ask("POST", "").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains("access-control-allow-origin: *\r\n"),
            "{answer}"
        );
        let exposed = answer
            .lines()
            .find(|line| line.starts_with("access-control-expose-headers: "));
        assert!(exposed.unwrap().contains("Retry-After"), "{answer}");
        // Other questions are no preflights.
        let answer = ask("OPTIONS", "").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}
