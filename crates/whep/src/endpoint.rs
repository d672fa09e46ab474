//! The WHEP endpoint: `/whep/{app}/{stream}` (draft-ietf-wish-whep section 4).

use std::time::SystemTime;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use distributary_auth::Grant;
use distributary_egress::engine::{OpenError, OpenedSession, ViewerOptions};
use distributary_hub::{DemandError, StreamName, TooManyViewers};
use distributary_media::VideoTrack;
use distributary_webrtc::sdp::{self, FRAGMENT_MEDIA_TYPE};

use crate::access::Viewer;
use crate::aliases::Dialect;
use crate::config::Offline;
use crate::cors;
use crate::events;
use crate::ice_server::IceServer;
use crate::name::PathStream;
use crate::offer::{ACCEPT_POST, Offer, SDP};
use crate::player::Player;
use crate::problem::Problem;
use crate::public_path::PublicPath;
use crate::redirect::temporary_redirect;
use crate::router::FrontDoor;
use crate::session::{self, ACCEPT_PATCH};

/// When a player should ask again for a stream that is not live, in seconds: a publisher that comes
/// back is seen soon, and a thousand waiting pages are still a light load.
const NOT_LIVE_RETRY_SECONDS: u32 = 2;

/// When a player should ask again while every place is taken, in seconds.
const FULL_RETRY_SECONDS: u32 = 10;

const METHODS: &str = "GET, HEAD, OPTIONS, POST";

pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    get(describe).post(open).options(options)
}

/// Opens a session: an offer in, an answer out; or, where the offer cannot be answered and ours might be, or
/// there is none, an offer out, whose answer comes by PATCH.
async fn open(
    State(front): State<FrontDoor>,
    PathStream(name): PathStream,
    viewer: Viewer,
    Player(options): Player,
    public: PublicPath,
    dialect: Option<Extension<Dialect>>,
    offer: Offer,
) -> Result<Response, Problem> {
    let config = front.config.current();
    let mut redirects = config.redirects.iter();
    if let Some(target) =
        redirects.find_map(|redirect| redirect.target(&name, Some(viewer.query())))
    {
        return Ok(temporary_redirect(&target));
    }
    let Extension(dialect) = dialect.unwrap_or_default();
    let opened = negotiate(&front, &viewer, &name, &offer, options).await;
    let (status, session) = opened.map_err(|problem| in_dialect(problem, dialect))?;
    let events = events::link(&public, &session.id);
    let mut response = described(status, session, &public);
    tell_ice_servers(&mut response, config.ice_servers.iter());
    response.headers_mut().append(header::LINK, events);
    Ok(response)
}

/// Answers an offer, or makes one. The status is 201 for what the player has asked for, an answer or an
/// offer, and 406 for an offer in place of an answer (draft-ietf-wish-whep, "Server Sends
/// Counter-Offer").
async fn negotiate(
    front: &FrontDoor,
    viewer: &Viewer,
    name: &StreamName,
    offer: &Offer,
    options: ViewerOptions,
) -> Result<(StatusCode, OpenedSession), Problem> {
    let grant = admit(front, viewer, name).await?;
    let engine = &front.engine;
    let options = viewer.tell(options);
    let sdp = offer.sdp.as_deref();
    let watchable = watchable(front, name, options, sdp).await;
    let opened = match sdp.map(|sdp| engine.open(&watchable, sdp, options)) {
        Some(Err(OpenError::Unclear(reason))) if offer.takes_offer => {
            tracing::debug!(stream = %name, reason, "the offer is countered");
            let offered = engine.offer(&watchable, options);
            offered.map(|session| (StatusCode::NOT_ACCEPTABLE, session))
        }
        Some(answered) => answered.map(|session| (StatusCode::CREATED, session)),
        None => engine
            .offer(&watchable, options)
            .map(|session| (StatusCode::CREATED, session)),
    };
    let (status, session) = opened.map_err(|error| refused(error, viewer, name))?;
    front.access.expiry().follow(engine, session.id, grant);
    Ok((status, session))
}

/// Makes a viewer of whoever sent this offer for the stream `name`.
pub(crate) async fn play(
    front: &FrontDoor,
    viewer: &Viewer,
    name: &StreamName,
    offer: &str,
    options: ViewerOptions,
) -> Result<OpenedSession, Problem> {
    let grant = admit(front, viewer, name).await?;
    let engine = &front.engine;
    let watchable = watchable(front, name, options, Some(offer)).await;
    let opened = engine.open(&watchable, offer, viewer.tell(options));
    let session = opened.map_err(|error| refused(error, viewer, name))?;
    front.access.expiry().follow(engine, session.id, grant);
    Ok(session)
}

/// Tells a viewer, and the log, why there is no session.
fn refused(error: OpenError, viewer: &Viewer, name: &StreamName) -> Problem {
    viewer.note_refusal(name, &error);
    refusal(error).about(name)
}

/// The stream, or what is made of it for players that make such an offer. One that cannot be read is
/// refused further down; of a player without one it is not known what it can show.
async fn watchable(
    front: &FrontDoor,
    name: &StreamName,
    options: ViewerOptions,
    offer: Option<&str>,
) -> StreamName {
    let parsed = offer.and_then(|offer| sdp::Offer::parse(offer).ok());
    let takes = |track: &VideoTrack| parsed.is_none_or(|offer| offer.can_show(track));
    front.hub.watchable(name, options.b_frames, takes).await
}

/// Lets somebody in who wants to watch `name`, as soon as there is something to watch.
async fn admit(front: &FrontDoor, viewer: &Viewer, name: &StreamName) -> Result<Grant, Problem> {
    front.admission.check()?;
    let grant = front.access.check(viewer, name).await?;
    await_stream(front, viewer, name).await?;
    Ok(grant)
}

/// Players of MediaMTX wait for a stream that is not found, and give up at a conflict.
fn in_dialect(problem: Problem, dialect: Dialect) -> Problem {
    match (dialect, problem.status()) {
        (Dialect::MediaMtx, StatusCode::CONFLICT) => problem.with_status(StatusCode::NOT_FOUND),
        _ => problem,
    }
}

/// Adds the STUN and TURN servers that a player may use.
fn tell_ice_servers<'a>(response: &mut Response, servers: impl Iterator<Item = &'a IceServer>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "requests are answered at the moment they come"
    )]
    let now = SystemTime::now();
    for server in servers {
        response
            .headers_mut()
            .append(header::LINK, server.link(now));
    }
}

/// Tells that this is a WHEP endpoint, without saying anything of the stream.
async fn describe(PathStream(_): PathStream) -> Response {
    [(header::CONTENT_TYPE, SDP), (ACCEPT_POST, SDP)].into_response()
}

/// What may be posted here, and, for players that want to know before they make their offer, the servers; those
/// with credentials only for who may watch. A browser's preflight is not the player's question (RFC 9725
/// section 4.6).
async fn options(
    State(front): State<FrontDoor>,
    PathStream(name): PathStream,
    viewer: Viewer,
    headers: HeaderMap,
) -> Response {
    let mut response = cors::options(METHODS);
    if !cors::is_preflight(&headers) {
        let config = front.config.current();
        let servers = &config.ice_servers;
        let may_watch = servers.iter().any(IceServer::has_credentials)
            && front.access.authorize(&viewer, &name).await.is_ok();
        let told = servers.iter();
        tell_ice_servers(
            &mut response,
            told.filter(|server| may_watch || !server.has_credentials()),
        );
        let fresh = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    }
    let headers = response.headers_mut();
    headers.insert(ACCEPT_POST, HeaderValue::from_static(SDP));
    response
}

/// Waits until a session of this stream makes sense: at once where there is something to watch, a publisher
/// that has declared what it sends, or where viewers wait in their sessions. A stream that can be had
/// from elsewhere is waited for.
async fn await_stream(
    front: &FrontDoor,
    viewer: &Viewer,
    name: &StreamName,
) -> Result<(), Problem> {
    let is_watchable = || {
        let stats = front.hub.stream(name).map(|stream| stream.stats());
        stats.is_some_and(|stats| {
            stats.live_since.is_some() && (stats.video.is_some() || stats.audio.is_some())
        })
    };
    if is_watchable() {
        return Ok(());
    }
    let detail = match front.hub.summon_for(name, viewer.counts_as()).await {
        Ok(()) if is_watchable() => return Ok(()),
        Ok(()) | Err(DemandError::NoProvider)
            if front.config.current().offline == Offline::Wait =>
        {
            return Ok(());
        }
        Ok(()) | Err(DemandError::NoProvider) => format!("The stream {name} is not live."),
        Err(error) => format!("The stream {name} is not live: {error}."),
    };
    Err(Problem::new(StatusCode::CONFLICT, detail)
        .about(name)
        .retry_after(NOT_LIVE_RETRY_SECONDS))
}

/// The texts for a `Warning` header, or several (RFC 7234 section 5.5; it is no longer in RFC 9111, and still
/// what says most clearly that something in an answer is not as it was asked for).
fn warnings(notices: &[String]) -> impl Iterator<Item = HeaderValue> {
    notices.iter().filter_map(|notice| {
        let text = notice
            .chars()
            .filter(|c| matches!(c, ' '..='~') && *c != '\\');
        let text: String = text.map(|c| if c == '"' { '\'' } else { c }).collect();
        HeaderValue::from_str(&format!("299 - \"{text}\"")).ok()
    })
}

fn described(status: StatusCode, session: OpenedSession, public: &PublicPath) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, session::path(public, &session.id)),
        (header::ETAG, format!("\"{}\"", session.etag)),
        (ACCEPT_PATCH, FRAGMENT_MEDIA_TYPE.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let mut response = (status, headers, session.answer).into_response();
    for warning in warnings(&session.notices) {
        response.headers_mut().append(header::WARNING, warning);
    }
    response
}

/// The one place where the engine's refusal becomes a status.
pub(crate) fn refusal(error: OpenError) -> Problem {
    match error {
        OpenError::Malformed(reason) => Problem::new(StatusCode::BAD_REQUEST, reason),
        OpenError::NotAcceptable(reason) | OpenError::Unclear(reason) => {
            Problem::new(StatusCode::NOT_ACCEPTABLE, reason)
        }
        OpenError::Unprocessable(reason) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason),
        OpenError::Full(TooManyViewers::Total(_)) => {
            full("This gateway serves as many viewers as it may.")
        }
        OpenError::Full(TooManyViewers::Stream(_)) => {
            full("This stream has as many viewers as it may.")
        }
        OpenError::Full(TooManyViewers::Address(_)) => {
            full("As many viewers as may watch from this address already do.")
        }
        other => {
            tracing::error!(error = %other, "session could not be opened");
            let detail = "The session could not be opened.";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        }
    }
}

fn full(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(FULL_RETRY_SECONDS)
}
