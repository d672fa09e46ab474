//! The WHEP session: `/session/{id}` (draft-ietf-wish-whep section 4).
//!
//! Sessions have a path of their own, outside that of their stream: a stream may have any name, so
//! that a path below it could be that of another stream.

use axum::extract::{FromRequest, FromRequestParts, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete};
use distributary_auth::Grant;
use distributary_egress::engine::{CloseError, IcePatch, RestartedIce};
use distributary_egress::session::SessionId;
use distributary_hub::StreamStats;
use distributary_webrtc::sdp::{Answer, FRAGMENT_MEDIA_TYPE};

use crate::access::Viewer;
use crate::cors;
use crate::front_door::FrontDoor;
use crate::links;
use crate::offer::{ACCEPT_PATCH, Change, not_a_fragment};
use crate::problem::Problem;
use crate::public_path::PublicPath;
use crate::refusal::unknown_session;
use crate::session_segment;

/// The state of a session's stream: `live`, `offline` when its publisher may come back, or `ended`.
const STREAM_STATE: HeaderName = HeaderName::from_static("stream-state");

/// Of the media that the publisher sends, that which viewers cannot get: `video`, `audio` or both.
const STREAM_MISSING: HeaderName = HeaderName::from_static("stream-missing");

const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH";

pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    delete(close).get(exists).options(options).patch(patch)
}

/// The session id in the path. It cannot be guessed, so whoever has it owns the session.
pub(crate) struct PathSession(pub(crate) SessionId);

impl<S: Send + Sync> FromRequestParts<S> for PathSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| unknown_session())?;
        let (id, _) = session_segment::parse(&id).ok_or_else(unknown_session)?;
        Ok(Self(id))
    }
}

/// Ends the session. Succeeds also for one that has just ended, for example because the player
/// closed its connection first.
async fn close(
    State(front): State<FrontDoor>,
    PathSession(id): PathSession,
) -> Result<StatusCode, Problem> {
    match front.engine.close(&id) {
        Err(CloseError::UnknownSession) if front.engine.has_ended(&id) => Ok(StatusCode::OK),
        closed => Ok(closed.map(|()| StatusCode::OK)?),
    }
}

/// Tells whether the session exists, in the header [`STREAM_STATE`] the state of its stream, for
/// players that do not listen to events, and in [`STREAM_MISSING`] what viewers do not get of it.
async fn exists(
    State(front): State<FrontDoor>,
    PathSession(id): PathSession,
) -> Result<Response, Problem> {
    let Some(session) = front.engine.watch(&id) else {
        if front.engine.is_offered(&id) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        return Err(unknown_session());
    };
    let stream = front.hub.stream(session.stream());
    let state = match &stream {
        Some(stream) if stream.is_live() => "live",
        Some(stream) if stream.has_ended() => "ended",
        _ => "offline",
    };
    let headers = [(STREAM_STATE, state), (header::CACHE_CONTROL, "no-store")];
    let mut response = (StatusCode::NO_CONTENT, headers).into_response();
    if let Some(missing) = stream.and_then(|stream| missing(&stream.stats())) {
        let value = HeaderValue::from_static(missing);
        response.headers_mut().insert(STREAM_MISSING, value);
    }
    Ok(response)
}

/// Returns the media that the publisher sends and viewers cannot get, as the value of
/// [`STREAM_MISSING`].
fn missing(stats: &StreamStats) -> Option<&'static str> {
    let video = stats.missing_video.as_ref();
    // Without a keyframe yet, the video may still come.
    let video = video.is_some_and(|missing| missing.reason.is_some());
    match (video, stats.missing_audio.is_some()) {
        (true, true) => Some("video, audio"),
        (true, false) => Some("video"),
        (false, true) => Some("audio"),
        (false, false) => None,
    }
}

async fn options() -> Response {
    let mut response = cors::options(METHODS);
    let headers = response.headers_mut();
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT_MEDIA_TYPE));
    response
}

/// Handles candidates (204; they are not needed), an ICE restart (200 with the gateway's ICE
/// parameters) by RFC 9725 section 4.3, or the answer to a counter-offer (204). Changes count
/// against the address, and so do requests to unknown sessions.
async fn patch(
    State(front): State<FrontDoor>,
    PathSession(id): PathSession,
    viewer: Viewer,
    public: PublicPath,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let limits = front.access.limits();
    let address = viewer.counts_as();
    if !front.engine.contains(&id) && !front.engine.is_offered(&id) {
        limits.change(address)?;
        return Err(unknown_session());
    }
    limits.patch(id)?;
    let fragment = match Change::from_request(request, &front).await? {
        Change::Ice(fragment) => fragment,
        Change::Answer(answer) => {
            limits.change(address)?;
            return accept(&front, &viewer, &public, &id, &answer);
        }
    };
    let etag = front.engine.etag(&id).ok_or_else(unknown_session)?;
    let precondition = Precondition::of(&headers, &etag);
    let is_restart = front.engine.is_restart(&id, &fragment);
    match precondition {
        Precondition::Stale => return Err(stale()),
        Precondition::Any if is_restart => {}
        // Some players (vdo.ninja) send other credentials than their own with the candidates of
        // their offer: before it is connected, a session has nothing to restart.
        _ if !is_restart || !front.engine.is_connected(&id) => {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Precondition::Missing => return Err(precondition_required(&etag)),
        Precondition::Any | Precondition::Current => {}
    }
    limits.change(address)?;
    limits.restart(id)?;
    match front.engine.patch_ice(&id, &fragment)? {
        IcePatch::Noted => Ok(StatusCode::NO_CONTENT.into_response()),
        IcePatch::Restarted(restarted) => Ok(restarted_ice(restarted)),
    }
}

/// Accepts the answer to a counter-offer. The response has the links of the session, for a page
/// that came with the offer.
fn accept(
    front: &FrontDoor,
    viewer: &Viewer,
    public: &PublicPath,
    id: &SessionId,
    answer: &str,
) -> Result<Response, Problem> {
    if !front.engine.is_offered(id) {
        // An established session accepts no answer.
        let is_there = front.engine.contains(id);
        return Err(if is_there {
            not_a_fragment()
        } else {
            unknown_session()
        });
    }
    front.access.check_block(viewer)?;
    let options = front.engine.accept(id, &Answer::parse(answer)?)?;
    let expires = options.token_expires;
    front
        .access
        .expiry()
        .follow(&front.engine, *id, Grant { expires });
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some(session) = front.engine.watch(id) {
        links::add(&mut response, front, public, id, session.stream());
    }
    Ok(response)
}

fn restarted_ice(RestartedIce { fragment, etag }: RestartedIce) -> Response {
    let headers = [
        (header::CONTENT_TYPE, FRAGMENT_MEDIA_TYPE.to_owned()),
        (header::ETAG, format!("\"{etag}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (StatusCode::OK, headers, fragment).into_response()
}

/// The ICE state that a PATCH refers to (RFC 9725 section 4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Precondition {
    /// No `If-Match`.
    Missing,
    /// `*`: an ICE restart.
    Any,
    /// The current state.
    Current,
    /// An earlier state.
    Stale,
}

impl Precondition {
    /// Parses If-Match. The star has quotes in the draft's own example, and so in some players. A
    /// weak tag never matches (RFC 9110 section 13.1.1).
    fn of(headers: &HeaderMap, etag: &str) -> Self {
        let values = headers.get_all(header::IF_MATCH).iter();
        let tags: Vec<&str> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().trim_matches('"'))
            .collect();
        if !headers.contains_key(header::IF_MATCH) {
            Self::Missing
        } else if tags.contains(&"*") {
            Self::Any
        } else if tags.contains(&etag) {
            Self::Current
        } else {
            Self::Stale
        }
    }
}

fn precondition_required(etag: &str) -> Problem {
    let detail = format!(
        "An ICE restart needs the header If-Match: \"{etag}\" (the current ETag of the session), \
         or If-Match: *."
    );
    Problem::new(StatusCode::PRECONDITION_REQUIRED, detail)
}

fn stale() -> Problem {
    let detail = "The If-Match is outdated: ICE has restarted since.";
    Problem::new(StatusCode::PRECONDITION_FAILED, detail)
}
