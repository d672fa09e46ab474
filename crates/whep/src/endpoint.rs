//! The WHEP endpoint: `/whep/{app}/{stream}` (draft-ietf-wish-whep section 4).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use distributary_hub::{DemandError, Stream, StreamName};
use distributary_webrtc::engine::{OpenError, OpenedSession};

use crate::cors;
use crate::name::PathStream;
use crate::offer::{ACCEPT_POST, Offer, SDP};
use crate::player::Player;
use crate::problem::Problem;
use crate::router::FrontDoor;
use crate::session;

/// When a player should ask again for a stream that is not live, in seconds: a publisher that comes
/// back is seen soon, and a thousand waiting pages are still a light load.
const NOT_LIVE_RETRY_SECONDS: u32 = 2;

/// When a player should ask again while every place is taken, in seconds.
const FULL_RETRY_SECONDS: u32 = 10;

const METHODS: &str = "GET, HEAD, OPTIONS, POST";

pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    get(describe).post(open).options(options)
}

/// Opens a session: an offer in, an answer out.
async fn open(
    State(front): State<FrontDoor>,
    PathStream(name): PathStream,
    Player(options): Player,
    Offer(offer): Offer,
) -> Result<Response, Problem> {
    let stream = live(&front, &name).await?;
    let session = front
        .engine
        .open(&stream, &offer, options)
        .map_err(|error| refusal(error).about(&name))?;
    Ok(created(session))
}

/// Tells that this is a WHEP endpoint, without saying anything of the stream.
async fn describe(PathStream(_): PathStream) -> Response {
    [(header::CONTENT_TYPE, SDP), (ACCEPT_POST, SDP)].into_response()
}

async fn options(PathStream(_): PathStream) -> Response {
    let mut response = cors::options(METHODS);
    let headers = response.headers_mut();
    headers.insert(ACCEPT_POST, HeaderValue::from_static(SDP));
    response
}

/// The stream, as soon as there is something to watch: a publisher that has declared what it sends.
/// A stream that can be had from elsewhere is waited for.
async fn live(front: &FrontDoor, name: &StreamName) -> Result<Arc<Stream>, Problem> {
    let watchable = || {
        let has_media = |stream: &Arc<Stream>| {
            let stats = stream.stats();
            stats.live_since.is_some() && (stats.video.is_some() || stats.audio.is_some())
        };
        front.hub.stream(name).filter(has_media)
    };
    if let Some(stream) = watchable() {
        return Ok(stream);
    }
    let detail = match front.hub.summon(name).await {
        Ok(()) => match watchable() {
            Some(stream) => return Ok(stream),
            None => format!("The stream {name} is not live."),
        },
        Err(DemandError::NoProvider) => format!("The stream {name} is not live."),
        Err(error) => format!("The stream {name} is not live: {error}."),
    };
    Err(Problem::new(StatusCode::CONFLICT, detail)
        .about(name)
        .retry_after(NOT_LIVE_RETRY_SECONDS))
}

fn created(session: OpenedSession) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, session::path(&session.id)),
        (header::ETAG, format!("\"{}\"", session.etag)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (StatusCode::CREATED, headers, session.answer).into_response()
}

/// The one place where the engine's refusal becomes a status.
fn refusal(error: OpenError) -> Problem {
    match error {
        OpenError::Malformed(reason) => Problem::new(StatusCode::BAD_REQUEST, reason),
        OpenError::NotAcceptable(reason) => Problem::new(StatusCode::NOT_ACCEPTABLE, reason),
        OpenError::Unprocessable(reason) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason),
        OpenError::TooManySessions(_) => {
            let detail = "This gateway serves as many viewers as it may.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(FULL_RETRY_SECONDS)
        }
        other => {
            tracing::error!(error = %other, "session could not be opened");
            let detail = "The session could not be opened.";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        }
    }
}
