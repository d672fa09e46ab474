//! Requests for sessions on their way from one gateway to another, and the responses, as JSON. The other
//! side may lie: it reaches no other routes than those of sessions with a request, and can say no more
//! with a response than those routes can.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use distributary_webrtc::sdp::FRAGMENT_MEDIA_TYPE;
use serde::{Deserialize, Serialize};

use crate::access::PeerAddress;
use crate::offer::SDP;
use crate::public_path::PublicPath;

/// The version of the messages.
pub(crate) const VERSION: u8 = 1;

/// The path of all sessions.
pub(crate) const SESSIONS: &str = "/session/";

/// Maximum length of the path of a session after its id, in bytes.
const MAX_PATH: usize = 256;

/// Maximum number of headers in a message.
const MAX_HEADERS: usize = 32;

/// Headers of requests that are forwarded. No credential is among them: a session id is the right to
/// use the session.
const REQUEST_HEADERS: [&str; 2] = ["content-type", "if-match"];

/// Headers of responses that are forwarded.
const RESPONSE_HEADERS: [&str; 12] = [
    "accept-patch",
    "accept-post",
    "allow",
    "cache-control",
    "content-type",
    "etag",
    "link",
    "location",
    "retry-after",
    "stream-missing",
    "stream-state",
    "warning",
];

/// Media types of responses. A browser would run a page in the name of the gateway that forwards it.
const RESPONSE_TYPES: [&str; 4] = [
    SDP,
    FRAGMENT_MEDIA_TYPE,
    "application/json",
    "application/problem+json",
];

/// A request for a session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forwarded {
    pub(crate) v: u8,
    pub(crate) method: String,
    /// The path, in which the session names no gateway.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The address of the client.
    pub(crate) client: IpAddr,
    /// The path under which the client reaches the gateway that forwards.
    #[serde(default)]
    pub(crate) public: PublicPath,
}

/// The response to [`Forwarded`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    v: u8,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Returns whether the end of a path has only what paths of sessions have.
pub(crate) fn is_plain(path: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/';
    path.len() <= MAX_PATH && path.bytes().all(is_allowed)
}

/// Returns whether the response would be an event stream, which has no end.
pub(crate) fn is_event_stream(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && path.contains("/events/")
}

/// Returns the headers of these names as text.
fn texts(headers: &HeaderMap, names: &[&str]) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for name in names {
        let values = headers.get_all(*name).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        texts.extend(values.map(|value| ((*name).to_owned(), value.to_owned())));
    }
    texts.truncate(MAX_HEADERS);
    texts
}

/// Reads those of the headers that have these names; `None` if one is malformed, or there are too many.
fn read(texts: Vec<(String, String)>, names: &[&str]) -> Option<HeaderMap> {
    if texts.len() > MAX_HEADERS {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in texts {
        if names.contains(&name.as_str()) {
            let name: HeaderName = name.parse().ok()?;
            headers.append(name, HeaderValue::from_str(&value).ok()?);
        }
    }
    Some(headers)
}

impl Forwarded {
    /// Returns the headers of a request that are forwarded.
    pub(crate) fn headers_of(headers: &HeaderMap) -> Vec<(String, String)> {
        texts(headers, &REQUEST_HEADERS)
    }

    /// Returns the request for the routes of this gateway; `None` if it is not for a session.
    pub(crate) fn into_request(self) -> Option<Request> {
        let rest = self.path.strip_prefix(SESSIONS)?;
        let method: Method = self.method.parse().ok()?;
        if self.v != VERSION || !is_plain(rest) || is_event_stream(&method, &self.path) {
            return None;
        }
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = method;
        *request.uri_mut() = self.path.parse().ok()?;
        *request.headers_mut() = read(self.headers, &REQUEST_HEADERS)?;
        let client = PeerAddress(SocketAddr::new(self.client, 0));
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(self.public);
        Some(request)
    }
}

impl Answered {
    /// Creates the message for a response whose body is `body`.
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, body: String) -> Self {
        Self {
            v: VERSION,
            status: status.as_u16(),
            headers: texts(headers, &RESPONSE_HEADERS),
            body,
        }
    }

    /// Returns the response for the client; `None` if it is not one of a session's routes. These never
    /// redirect.
    pub(crate) fn into_response(self) -> Option<Response> {
        let status = StatusCode::from_u16(self.status).ok()?;
        if self.v != VERSION || status.is_informational() || status.is_redirection() {
            return None;
        }
        let headers = read(self.headers, &RESPONSE_HEADERS)?;
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        if !types.all(|kind| RESPONSE_TYPES.iter().any(|allowed| kind == allowed)) {
            return None;
        }
        let mut response = (status, self.body).into_response();
        *response.headers_mut() = headers;
        let sniff = HeaderValue::from_static("nosniff");
        response
            .headers_mut()
            .insert(header::X_CONTENT_TYPE_OPTIONS, sniff);
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(method: &str, path: &str) -> Forwarded {
        let headers = [
            ("if-match", "*"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "127.0.0.1"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Forwarded {
            v: VERSION,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.to_vec(),
            body: "a=ice-ufrag:x".to_owned(),
            client: [192, 0, 2, 7].into(),
            public: PublicPath::default(),
        }
    }

    #[test]
    fn forwarded_request_can_only_be_one_for_a_session() {
        let request = forwarded("PATCH", "/session/x").into_request().unwrap();
        let names: Vec<_> = request.headers().keys().collect();
        assert_eq!(names, [header::IF_MATCH]);
        let PeerAddress(client) = request.extensions().get().unwrap();
        assert_eq!(client.ip(), IpAddr::from([192, 0, 2, 7]));
        for (method, path) in [
            ("PATCH", "/whep/live/test"),
            ("PATCH", "/session/../whep/live/test"),
            ("PATCH", "/session/x?token=1"),
            ("PATCH", "/session/x.b"),
            ("GET", "/session/x/events/1"),
            ("HEAD", "/session/x/events/1"),
            ("PATCH X", "/session/x"),
        ] {
            assert!(forwarded(method, path).into_request().is_none(), "{path}");
        }
        let later = Forwarded {
            v: VERSION + 1,
            ..forwarded("PATCH", "/session/x")
        };
        assert!(later.into_request().is_none());
        let many = Forwarded {
            headers: vec![("if-match".to_owned(), "*".to_owned()); MAX_HEADERS + 1],
            ..forwarded("PATCH", "/session/x")
        };
        assert!(many.into_request().is_none());
    }

    fn answered(status: u16, name: &str, value: &str) -> Answered {
        Answered {
            v: VERSION,
            status,
            headers: vec![(name.to_owned(), value.to_owned())],
            body: "<script>".to_owned(),
        }
    }

    #[test]
    fn response_can_only_be_one_of_a_session() {
        let response = answered(200, "etag", "\"x\"").into_response().unwrap();
        assert_eq!(response.headers()[header::ETAG], "\"x\"");
        let response = answered(200, "set-cookie", "a=b").into_response().unwrap();
        let names: Vec<_> = response.headers().keys().collect();
        assert_eq!(names, [header::X_CONTENT_TYPE_OPTIONS]);
        for (status, name, value) in [
            (99, "etag", "x"),
            (101, "etag", "x"),
            (307, "location", "https://other.example"),
            (200, "etag", "a\r\nb"),
            (200, "content-type", "text/html"),
            (200, "content-type", "application/xhtml+xml"),
        ] {
            let answered = answered(status, name, value);
            assert!(answered.into_response().is_none(), "{status} {value:?}");
        }
    }
}
