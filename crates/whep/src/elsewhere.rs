//! Requests for sessions of other gateways of the cluster: they are forwarded there, once.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Extension, Router};
use bytes::Bytes;
use tower::ServiceExt as _;

use crate::access::PeerAddress;
use crate::forwarded::{Answered, Forwarded, SESSIONS, VERSION, is_event_stream, is_plain};
use crate::front_door::FrontDoor;
use crate::limits::counts;
use crate::offer::{MAX_OFFER_LEN, read_text};
use crate::other_nodes::NotForwarded;
use crate::problem::Problem;
use crate::public_path::PublicPath;
use crate::redirect::temporary_redirect;
use crate::session_segment;

/// Seconds after which a request to a gateway that does not answer should be repeated.
const RETRY_SECONDS: u32 = 2;

/// Forwards a request for a session of another gateway. All others are handled here.
pub(crate) async fn forward(
    State(front): State<FrontDoor>,
    peer: Option<Extension<PeerAddress>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = request.uri().path();
    let Some((node, local)) = elsewhere(path, front.nodes.this_name()) else {
        return Ok(next.run(request).await);
    };
    // Options are the same for all sessions.
    if request.method() == Method::OPTIONS {
        return Ok(next.run(request).await);
    }
    if is_event_stream(request.method(), &local) {
        let url = front.nodes.url_of(&node);
        let url = url.ok_or_else(|| unreachable_node(&node))?;
        return Ok(temporary_redirect(&format!("{url}{path}")));
    }
    let peer = peer.as_ref().map(|Extension(peer)| peer);
    let client = front.access.address(peer, request.headers());
    if counts(client) {
        front.access.limits().forwarded(client)?;
    }
    let (mut parts, body) = request.into_parts();
    let Ok(public) = PublicPath::from_request_parts(&mut parts, &front).await;
    let forwarded = Forwarded {
        v: VERSION,
        method: parts.method.to_string(),
        path: local,
        headers: Forwarded::headers_of(&parts.headers),
        client,
        public,
        body: read_text(Request::from_parts(parts, body)).await?,
    };
    // Texts and numbers can always be written.
    let json = serde_json::to_vec(&forwarded).unwrap_or_default();
    let answer = front.nodes.forward(&node, json.into()).await;
    let answer = answer.map_err(|error| match error {
        NotForwarded::Unknown => unknown_node(&node),
        NotForwarded::Silent => silent_node(&node),
        NotForwarded::Busy => busy(),
        NotForwarded::Large => large(),
    })?;
    let answered: Option<Answered> = serde_json::from_slice(&answer).ok();
    answered
        .and_then(Answered::into_response)
        .ok_or_else(|| silent_node(&node))
}

/// Handles a request that another gateway has forwarded, with the routes of this one. Returns the
/// response for the other gateway; `None` if the request is malformed.
pub async fn answer_forwarded(router: Router, request: Bytes) -> Option<Bytes> {
    let forwarded: Forwarded = serde_json::from_slice(&request).ok()?;
    let Ok(response) = router.oneshot(forwarded.into_request()?).await;
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_OFFER_LEN).await.ok()?;
    let body = String::from_utf8(body.into()).ok()?;
    let answered = Answered::new(parts.status, &parts.headers, body);
    serde_json::to_vec(&answered).ok().map(Bytes::from)
}

/// Returns the gateway of a session's path if it is not `this`, and the path there, which names no
/// gateway, so that it is not forwarded again.
fn elsewhere(path: &str, this: Option<&str>) -> Option<(String, String)> {
    let this = this?;
    let rest = path.strip_prefix(SESSIONS)?;
    let (segment, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (id, node) = session_segment::parse(segment)?;
    let node = node.filter(|node| *node != this)?;
    is_plain(rest).then(|| (node.to_owned(), format!("{SESSIONS}{id}{rest}")))
}

fn unknown_node(node: &str) -> Problem {
    let detail = format!("The session belongs to {node:?}, which is no node of the cluster now.");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn unreachable_node(node: &str) -> Problem {
    let detail =
        format!("The session belongs to {node:?}, which has no public URL for its events.");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn silent_node(node: &str) -> Problem {
    let detail = format!("The session belongs to {node:?}, which does not answer.");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_SECONDS)
}

fn busy() -> Problem {
    let detail = "Too many requests wait for answers of other nodes of the cluster.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(RETRY_SECONDS)
}

fn large() -> Problem {
    let detail = "The request is too large for the way to the node of its session.";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn only_sessions_of_other_gateways_are_elsewhere() {
        for rest in ["", "/layer", "/events/1"] {
            let path = format!("/session/{ID}.b{rest}");
            let local = format!("/session/{ID}{rest}");
            assert_eq!(elsewhere(&path, Some("a")), Some(("b".to_owned(), local)));
            assert_eq!(elsewhere(&path, None), None, "without a cluster");
        }
        for path in [
            format!("/session/{ID}"),
            format!("/session/{ID}.a/layer"),
            format!("/session/{ID}.b/../../api/drain"),
            format!("/session/{ID}.b/{}", "x".repeat(256)),
            "/session/x.b".to_owned(),
            format!("/whep/{ID}.b"),
        ] {
            assert_eq!(elsewhere(&path, Some("a")), None, "{path}");
        }
    }
}
