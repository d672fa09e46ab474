//! The HTTP side of all viewers, on a thread of its own (draft-ietf-wish-whep).
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it says when a viewer asked"
)]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryIter, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use url::Url;

/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fewest viewers for whose requests there is room.
const MIN_ROOM: usize = 16;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Asks for sessions and ends them. Each request has a connection of its own, as those of different
/// viewers have.
#[derive(Debug)]
pub struct WhepClient {
    requests: mpsc::Sender<WhepRequest>,
    replies: Receiver<WhepReply>,
}

/// A request of a viewer.
#[derive(Debug)]
enum WhepRequest {
    Join { viewer: usize, offer: String },
    Leave { viewer: usize, session: Url },
}

impl WhepRequest {
    fn viewer(&self) -> usize {
        match self {
            Self::Join { viewer, .. } | Self::Leave { viewer, .. } => *viewer,
        }
    }
}

/// The outcome of a request. `viewer` is the number given with the request.
#[derive(Debug)]
pub enum WhepReply {
    /// There is a session.
    Joined {
        /// The viewer.
        viewer: usize,
        /// When the request was begun.
        asked: Instant,
        /// The SDP answer.
        answer: String,
        /// URL to end the session; `None` if the server gave none.
        session: Option<Url>,
    },
    /// The session has ended.
    Left {
        /// The viewer.
        viewer: usize,
    },
    /// The request failed.
    Failed {
        /// The viewer.
        viewer: usize,
        /// The reason.
        error: WhepError,
    },
}

/// The reason why a request failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WhepError {
    /// The server cannot be reached, or does not speak HTTP.
    #[error("HTTP: {0}")]
    Http(String),
    /// The server refused.
    #[error("HTTP status {0}")]
    Status(StatusCode),
    /// No response within the timeout.
    #[error("no HTTP response within {} s", TIMEOUT.as_secs())]
    Timeout,
}

impl WhepReply {
    /// Returns the viewer of the request.
    #[must_use]
    pub fn viewer(&self) -> usize {
        match self {
            Self::Joined { viewer, .. } | Self::Left { viewer } | Self::Failed { viewer, .. } => {
                *viewer
            }
        }
    }
}

type Notify = dyn Fn() + Send + Sync;

impl WhepClient {
    /// Starts the thread for `viewers` viewers, which watch the streams at `endpoints` in turn.
    /// Calls `notify` for each reply.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        endpoints: Vec<Url>,
        viewers: usize,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        // A viewer asks for no more than to join and to leave. So both queues have room for all, and for
        // those that are being replaced.
        let room = 4 * viewers.max(MIN_ROOM);
        let (requests, queue) = mpsc::channel(room);
        let (results, replies) = sync_channel(room);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("whep".to_owned())
            .spawn(move || runtime.block_on(serve(endpoints, queue, results, Arc::new(notify))))?;
        Ok(Self { requests, replies })
    }

    /// Asks for a session.
    pub fn join(&self, viewer: usize, offer: String) {
        self.ask(WhepRequest::Join { viewer, offer });
    }

    /// Ends a session.
    pub fn leave(&self, viewer: usize, session: Url) {
        self.ask(WhepRequest::Leave { viewer, session });
    }

    fn ask(&self, request: WhepRequest) {
        // There is room, and the thread ends only after this sender is gone.
        let _ = self.requests.try_send(request);
    }

    /// Returns the replies that have come.
    pub fn replies(&self) -> TryIter<'_, WhepReply> {
        self.replies.try_iter()
    }
}

async fn serve(
    endpoints: Vec<Url>,
    mut requests: mpsc::Receiver<WhepRequest>,
    results: SyncSender<WhepReply>,
    notify: Arc<Notify>,
) {
    while let Some(request) = requests.recv().await {
        let Some(endpoint) = endpoints.get(request.viewer() % endpoints.len().max(1)) else {
            return;
        };
        let (endpoint, results) = (endpoint.clone(), results.clone());
        let notify = Arc::clone(&notify);
        tokio::spawn(async move {
            let reply = perform(&endpoint, request).await;
            // Nobody waits for it any more at the end of the program.
            let _ = results.try_send(reply);
            notify();
        });
    }
}

async fn perform(endpoint: &Url, request: WhepRequest) -> WhepReply {
    match request {
        WhepRequest::Join { viewer, offer } => {
            let asked = Instant::now();
            match open(endpoint, offer).await {
                Ok((answer, session)) => WhepReply::Joined {
                    viewer,
                    asked,
                    answer,
                    session,
                },
                Err(error) => WhepReply::Failed { viewer, error },
            }
        }
        WhepRequest::Leave { viewer, session } => match close(&session).await {
            Ok(()) => WhepReply::Left { viewer },
            Err(error) => WhepReply::Failed { viewer, error },
        },
    }
}

async fn in_time<T>(request: impl Future<Output = Result<T, WhepError>>) -> Result<T, WhepError> {
    let result = tokio::time::timeout(TIMEOUT, request).await;
    result.unwrap_or(Err(WhepError::Timeout))
}

/// Asks for a session. Returns the answer and the URL to end the session, if the server gave one.
///
/// # Errors
/// When the server cannot be reached, refuses, or takes too long.
pub async fn open(endpoint: &Url, offer: String) -> Result<(String, Option<Url>), WhepError> {
    in_time(join(endpoint, offer)).await
}

/// Ends a session.
///
/// # Errors
/// As [`open`].
pub async fn close(session: &Url) -> Result<(), WhepError> {
    in_time(leave(session)).await
}

async fn join(endpoint: &Url, offer: String) -> Result<(String, Option<Url>), WhepError> {
    let response = send(Method::POST, endpoint, offer).await?;
    let location = response.headers().get(LOCATION);
    let session = location
        .and_then(|location| location.to_str().ok())
        .and_then(|location| endpoint.join(location).ok());
    let body = Limited::new(response.into_body(), MAX_ANSWER);
    let bytes = body.collect().await.map_err(http_error)?.to_bytes();
    let answer = String::from_utf8(bytes.into()).map_err(http_error)?;
    Ok((answer, session))
}

async fn leave(session: &Url) -> Result<(), WhepError> {
    send(Method::DELETE, session, String::new()).await?;
    Ok(())
}

/// Sends a request on a connection of its own. The draft has 201 for a session that was made, some
/// servers answer 200: each status of success is good.
async fn send(method: Method, url: &Url, sdp: String) -> Result<Response<Incoming>, WhepError> {
    let (host, port) = (url.host_str(), url.port_or_known_default());
    let (Some(host), Some(port)) = (host, port) else {
        return Err(WhepError::Http(format!("{url} has no host")));
    };
    // The brackets of an IPv6 address belong to the URL and the Host field only.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await.map_err(http_error)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(http_error)?;
    // It ends with the response, and the sender is told of its errors.
    tokio::spawn(connection);
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, format!("{host}:{port}"));
    if !sdp.is_empty() {
        request = request.header(CONTENT_TYPE, "application/sdp");
    }
    let request = request.body(Full::<Bytes>::from(sdp)).map_err(http_error)?;
    let response = sender.send_request(request).await.map_err(http_error)?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(WhepError::Status(response.status()))
    }
}

/// Returns an error with its causes, which name the address that could not be reached.
fn http_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> WhepError {
    let error = error.into();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    WhepError::Http(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with `response`; returns the request.
    fn answer_one(listener: &TcpListener, response: &str) -> String {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.ends_with(b"offer") && !request.starts_with(b"DELETE") {
            let len = connection.read(&mut chunk).unwrap();
            request.extend_from_slice(&chunk[..len]);
        }
        connection.write_all(response.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    }

    fn client(listener: &TcpListener) -> WhepClient {
        let address = listener.local_addr().unwrap();
        let endpoint = Url::parse(&format!("http://{address}/whep/live/test")).unwrap();
        WhepClient::start(vec![endpoint], 2, || {}).unwrap()
    }

    #[test]
    fn session_is_created_and_ended_at_its_location() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&listener);
        client.join(7, "offer".to_owned());
        let created =
            "HTTP/1.1 201 Created\r\nLocation: /session/a\r\nContent-Length: 6\r\n\r\nanswer";
        let request = answer_one(&listener, created);
        assert!(
            request.starts_with("POST /whep/live/test HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains("content-type: application/sdp\r\n"),
            "{request}"
        );
        let WhepReply::Joined {
            viewer: 7,
            answer,
            session: Some(session),
            ..
        } = client.replies.recv().unwrap()
        else {
            panic!("no session")
        };
        assert_eq!(answer, "answer");

        client.leave(7, session);
        let request = answer_one(&listener, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert!(
            request.starts_with("DELETE /session/a HTTP/1.1\r\n"),
            "{request}"
        );
        let reply = client.replies.recv().unwrap();
        assert!(matches!(reply, WhepReply::Left { viewer: 7 }), "{reply:?}");
    }

    #[test]
    fn viewers_watch_the_streams_in_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = |n| Url::parse(&format!("http://{address}/whep/live/test-{n}")).unwrap();
        let endpoints = (0..3).map(endpoint).collect();
        let client = WhepClient::start(endpoints, 5, || {}).unwrap();
        for (viewer, stream) in [(0, 0), (1, 1), (2, 2), (3, 0), (4, 1)] {
            client.join(viewer, "offer".to_owned());
            let refused = "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n";
            let request = answer_one(&listener, refused);
            let expected = format!("POST /whep/live/test-{stream} HTTP/1.1\r\n");
            assert!(request.starts_with(&expected), "{request}");
        }
    }

    #[test]
    fn refusal_has_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&listener);
        client.join(1, "offer".to_owned());
        answer_one(
            &listener,
            "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n",
        );
        let reply = client.replies.recv().unwrap();
        let WhepReply::Failed { viewer: 1, error } = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(error.to_string(), "HTTP status 409 Conflict");
    }

    #[test]
    fn error_names_an_unreachable_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(&listener);
        drop(listener);
        client.join(1, "offer".to_owned());
        let reply = client.replies.recv().unwrap();
        let WhepReply::Failed { error, .. } = reply else {
            panic!("{reply:?}")
        };
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
