//! One HTTP connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use distributary_tls::Certificate;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::capacity::Idle;
use super::write_deadline::WriteDeadline;
use crate::access::PeerAddress;
use crate::cors;
use crate::health;
use crate::problem::Problem;

/// Maximum number of requests on one connection. The last response closes it, so that every client
/// has to compete for a new connection at times.
const MAX_REQUESTS: u32 = 1000;

/// Maximum time that a reserve connection has for each step.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Seconds after which a client should retry when all connections are in use.
const FULL_RETRY_SECONDS: u32 = 10;

/// Maximum times that a client has for each step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// TLS handshake and head of a request, including the time between two requests.
    pub(super) header: Duration,
    /// Reading what is written to it.
    pub(super) write: Duration,
}

/// One connection that is served.
pub(super) struct HttpConnection {
    pub(super) peer: SocketAddr,
    pub(super) router: Router,
    pub(super) timeouts: Timeouts,
    pub(super) watcher: Watcher,
    /// The table of idle connections, where it registers between requests.
    pub(super) idle: Arc<Idle>,
    /// It is a reserve connection: for one request, a health check or a preflight.
    pub(super) is_reserve: bool,
}

impl HttpConnection {
    /// Serves the connection, over TLS if there is a certificate. It counts as idle from this call
    /// on, not only when the task first runs.
    pub(super) fn serve(
        mut self,
        stream: TcpStream,
        certificate: Option<Arc<Certificate>>,
    ) -> impl Future<Output = ()> {
        let presence = Presence::new(&self);
        let gives_way = Arc::clone(&presence.gives_way);
        async move {
            // A response is one small write; waiting to fill a segment would only delay it.
            let _ = stream.set_nodelay(true);
            if self.is_reserve {
                self.timeouts.header = self.timeouts.header.min(RESERVE_TIMEOUT);
                self.timeouts.write = self.timeouts.write.min(RESERVE_TIMEOUT);
            }
            end_when_unacknowledged(&stream, self.timeouts.write);
            let peer = self.peer;
            tokio::select! {
                () = self.exchange(stream, certificate, presence) => {}
                () = gives_way.notified() => {
                    tracing::debug!(%peer, "idle HTTP connection closed to admit another");
                }
            }
        }
    }

    async fn exchange(
        self,
        stream: TcpStream,
        certificate: Option<Arc<Certificate>>,
        presence: Presence,
    ) {
        let Some(certificate) = certificate else {
            return self.converse(stream, presence).await;
        };
        let handshake = certificate.acceptor().accept(stream);
        match tokio::time::timeout(self.timeouts.header, handshake).await {
            Ok(Ok(stream)) => self.converse(stream, presence).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake timed out"),
        }
    }

    async fn converse(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        presence: Presence,
    ) {
        let Self {
            peer,
            router,
            timeouts,
            watcher,
            is_reserve,
            ..
        } = self;
        let presence = Arc::new(presence);
        let max_requests = if is_reserve { 1 } else { MAX_REQUESTS };
        let service = service_fn(move |mut request: Request<Incoming>| {
            let turn = Turn::begin(&presence);
            let is_last = presence.requests.fetch_add(1, Ordering::Relaxed) + 1 >= max_requests;
            request.extensions_mut().insert(PeerAddress(peer));
            let router = router.clone();
            async move {
                // A page can read the refusal only if its preflight succeeded.
                let is_for_all =
                    health::is_about(request.uri()) || cors::is_preflight(request.headers());
                let mut response = if is_reserve && !is_for_all {
                    full()
                } else {
                    let Ok(response) = router.oneshot(request.map(Body::new)).await;
                    response
                };
                if is_last {
                    let headers = response.headers_mut();
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                let answer = response.map(|body| Answer { body, _turn: turn });
                Ok::<_, Infallible>(answer)
            }
        });
        let stream = WriteDeadline::new(stream, timeouts.write);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.header)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%peer, %error, "HTTP connection ended");
        }
    }
}

/// Answers that all connections are in use. It says nothing about the gateway, so pages of every
/// site may read it, whatever the allowed origins.
fn full() -> Response<Body> {
    let detail = "This gateway has reached its maximum number of HTTP connections.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .retry_after(FULL_RETRY_SECONDS)
        .with(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        )
        .with(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(cors::EXPOSED_HEADERS),
        )
        .into_response()
}

/// Ends a connection whose peer acknowledges nothing for this time: the peer is gone, or keeps its
/// window closed (RFC 5482). On systems without this option it takes a quarter of an hour.
fn end_when_unacknowledged(stream: &TcpStream, timeout: Duration) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(timeout)) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT was not set");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, timeout);
}

/// Tracks whether a request is in progress on a connection.
struct Presence {
    peer: SocketAddr,
    idle: Arc<Idle>,
    /// A reserve connection is never idle: closing it would not admit another.
    is_reserve: bool,
    gives_way: Arc<Notify>,
    requests: AtomicU32,
    /// Its number in the table of idle connections, while it is idle.
    number: Mutex<Option<u64>>,
}

impl Presence {
    fn new(connection: &HttpConnection) -> Self {
        let presence = Self {
            peer: connection.peer,
            idle: Arc::clone(&connection.idle),
            is_reserve: connection.is_reserve,
            gives_way: Arc::default(),
            requests: AtomicU32::new(0),
            number: Mutex::default(),
        };
        presence.rest();
        presence
    }

    fn rest(&self) {
        if !self.is_reserve {
            let number = self.idle.enter(self.peer, &self.gives_way);
            self.replace(Some(number));
        }
    }

    fn replace(&self, number: Option<u64>) {
        let mut own = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(former) = std::mem::replace(&mut *own, number) {
            self.idle.leave(former);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// A request in progress, until its response was handed to the connection as a whole. If the client
/// does not read the rest, its connection may be closed for another.
struct Turn(Arc<Presence>);

impl Turn {
    fn begin(presence: &Arc<Presence>) -> Self {
        presence.replace(None);
        Self(Arc::clone(presence))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// The body of a response, which ends the request.
struct Answer {
    body: Body,
    _turn: Turn,
}

impl HttpBody for Answer {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{OFFER_TIMEOUT, read_text};
    use axum::routing::{get, post};
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::Instant;

    const TIMEOUTS: Timeouts = Timeouts {
        header: Duration::from_secs(15),
        write: Duration::from_secs(10),
    };

    /// Serves a connection with a buffer of `buffer` bytes each way. The task ends with it.
    fn connect(buffer: usize) -> (DuplexStream, tokio::task::JoinHandle<()>) {
        let (client, stream) = tokio::io::duplex(buffer);
        let connections = GracefulShutdown::new();
        let connection = HttpConnection {
            peer: SocketAddr::from(([192, 0, 2, 1], 4000)),
            router: Router::new()
                .route("/", get(async || "x".repeat(1000)))
                .route("/events", get(events))
                .route("/offer", post(read_text)),
            timeouts: TIMEOUTS,
            watcher: connections.watcher(),
            idle: Arc::default(),
            is_reserve: false,
        };
        let served = tokio::spawn(async move {
            let presence = Presence::new(&connection);
            connection.converse(stream, presence).await;
            drop(connections);
        });
        (client, served)
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn client_that_sends_requests_and_never_reads_is_disconnected() {
        let (mut client, served) = connect(4096);
        let began = Instant::now();
        let asking = tokio::spawn(async move {
            while client.write_all(REQUEST).await.is_ok() {}
            client
        });
        served.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), TIMEOUTS.write.as_secs());
        asking.await.unwrap();
    }

    /// Sends something once a second, without an end.
    async fn events() -> Body {
        let seconds = tokio::time::interval(Duration::from_secs(1));
        Body::from_stream(futures_util::stream::unfold(
            seconds,
            async |mut seconds| {
                seconds.tick().await;
                Some((Ok::<_, Infallible>("y".repeat(1000)), seconds))
            },
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn only_listeners_that_do_not_read_are_disconnected() {
        let (mut client, served) = connect(4096);
        client
            .write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        // An hour of events.
        let mut piece = vec![0; 1000];
        for _ in 0..3600 {
            client.read_exact(&mut piece).await.unwrap();
        }
        assert!(!served.is_finished());
        let stopped = Instant::now();
        served.await.unwrap();
        let waited = stopped.elapsed().as_secs();
        // The buffers are filled first.
        let most = TIMEOUTS.write.as_secs() + 5;
        assert!(
            (TIMEOUTS.write.as_secs()..=most).contains(&waited),
            "{waited}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn slow_request_body_closes_the_connection() {
        let (client, served) = connect(4096);
        let (mut reading, mut writing) = tokio::io::split(client);
        let head = b"POST /offer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
        writing.write_all(head).await.unwrap();
        let trickle = tokio::spawn(async move {
            while writing.write_all(b"v").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let began = Instant::now();
        served.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), OFFER_TIMEOUT.as_secs());
        let mut answer = String::new();
        reading.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn silent_client_is_disconnected() {
        for words in [&b""[..], b"GET / HT", REQUEST] {
            let (mut client, served) = connect(4096);
            client.write_all(words).await.unwrap();
            let began = Instant::now();
            served.await.unwrap();
            assert_eq!(began.elapsed().as_secs(), TIMEOUTS.header.as_secs());
        }
    }

    #[tokio::test]
    async fn connection_closes_after_the_maximum_number_of_requests() {
        let (client, served) = connect(4096);
        let (mut reading, mut writing) = tokio::io::split(client);
        let asking = async {
            for _ in 0..MAX_REQUESTS + 5 {
                if writing.write_all(REQUEST).await.is_err() {
                    break;
                }
            }
        };
        let mut answers = String::new();
        let (read, ()) = tokio::join!(reading.read_to_string(&mut answers), asking);
        read.unwrap();
        served.await.unwrap();
        let count = answers.matches("HTTP/1.1 200 OK").count();
        assert_eq!(count, MAX_REQUESTS as usize);
        assert_eq!(answers.matches("connection: close").count(), 1);
    }
}
