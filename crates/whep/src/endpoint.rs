//! The WHEP endpoint: `/whep/{app}/{stream}` (draft-ietf-wish-whep section 4).

use std::fmt::Display;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use distributary_auth::Grant;
use distributary_egress::engine::{
    CounterOffer, MissingMedia, OpenError, OpenedSession, ViewerOptions,
};
use distributary_egress::session::SessionId;
use distributary_hub::DemandError;
use distributary_media::VideoTrack;
use distributary_names::StreamName;
use distributary_webrtc::sdp::{FRAGMENT_MEDIA_TYPE, Offer};

use crate::access::Viewer;
use crate::aliases::Dialect;
use crate::config::Offline;
use crate::cors;
use crate::front_door::FrontDoor;
use crate::help::Explanation;
use crate::ice_server::IceServer;
use crate::links;
use crate::name::PathStream;
use crate::offer::{ACCEPT_PATCH, ACCEPT_POST, OfferBody, SDP};
use crate::other_nodes;
use crate::path::{escaped, has_page};
use crate::player::Player;
use crate::problem::Problem;
use crate::public_path::PublicPath;
use crate::redirect::temporary_redirect;
use crate::refusal::not_live;

const METHODS: &str = "GET, HEAD, OPTIONS, POST";

pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    get(describe).post(open).options(options)
}

/// Opens a session: an offer in, an answer out. Without an offer, or if the offer cannot be
/// answered, the gateway sends an offer of its own, and the answer comes by PATCH.
#[expect(
    clippy::too_many_arguments,
    reason = "axum takes each part of the request as one"
)]
async fn open(
    State(front): State<FrontDoor>,
    PathStream(name): PathStream,
    viewer: Viewer,
    Player(options): Player,
    public: PublicPath,
    dialect: Option<Extension<Dialect>>,
    headers: HeaderMap,
    body: OfferBody,
) -> Result<Response, Problem> {
    let config = front.config.current();
    let mut redirects = config.redirects.iter();
    if let Some(target) =
        redirects.find_map(|redirect| redirect.target(&name, Some(viewer.query())))
    {
        return Ok(temporary_redirect(&target));
    }
    if let Some(redirected) = other_nodes::redirect(&front, &name, viewer.query(), &headers)? {
        return Ok(redirected);
    }
    let Extension(dialect) = dialect.unwrap_or_default();
    let negotiated = negotiate(&front, &viewer, &name, &body, options).await;
    let negotiated = negotiated.map_err(|problem| in_dialect(problem, dialect))?;
    let id = negotiated.id;
    let mut response = described(negotiated, links::session_url(&front, &public, &id));
    links::add(&mut response, &front, &public, &id, &name);
    Ok(response)
}

/// The response to a POST: an answer, or an offer of the gateway.
struct Negotiation {
    status: StatusCode,
    id: SessionId,
    etag: String,
    sdp: String,
    missing: Vec<MissingMedia>,
}

impl Negotiation {
    fn answered(session: OpenedSession) -> Self {
        Self {
            status: StatusCode::CREATED,
            id: session.id,
            etag: session.etag,
            sdp: session.answer,
            missing: session.missing,
        }
    }

    /// Creates the response with the gateway's offer. `status` is 201 if the player asked for an
    /// offer, and 406 for a counter-offer (draft-ietf-wish-whep, "Server Sends Counter-Offer").
    fn offered(offered: CounterOffer, status: StatusCode) -> Self {
        Self {
            status,
            id: offered.id,
            etag: offered.etag,
            sdp: offered.offer,
            missing: Vec::new(),
        }
    }
}

/// Answers an offer, or creates one.
async fn negotiate(
    front: &FrontDoor,
    viewer: &Viewer,
    name: &StreamName,
    body: &OfferBody,
    options: ViewerOptions,
) -> Result<Negotiation, Problem> {
    let grant = admit(front, viewer, name).await?;
    let engine = &front.engine;
    let options = viewer.complete(&options, grant);
    let offer = body.sdp.as_deref().map(Offer::parse).transpose();
    let offer = offer.map_err(|error| refused(error, viewer, name))?;
    let watchable = watchable(front, viewer, name, &options, offer.as_ref()).await?;
    let negotiated = match offer.map(|offer| engine.open(&watchable, &offer, options.clone())) {
        Some(Err(OpenError::Negotiation(error)))
            if body.accepts_counter_offer && error.invites_counter_offer() =>
        {
            tracing::debug!(stream = %name, %error, "sending a counter-offer");
            let offered = engine.counter_offer(&watchable, options);
            offered.map(|offered| Negotiation::offered(offered, StatusCode::NOT_ACCEPTABLE))
        }
        Some(answered) => answered.map(Negotiation::answered),
        None => engine
            .counter_offer(&watchable, options)
            .map(|offered| Negotiation::offered(offered, StatusCode::CREATED)),
    };
    let negotiated = negotiated.map_err(|error| refused(error, viewer, name))?;
    front.access.expiry().follow(engine, negotiated.id, grant);
    Ok(negotiated)
}

/// Opens a session for an offer to watch the stream `name`.
pub(crate) async fn play(
    front: &FrontDoor,
    viewer: &Viewer,
    name: &StreamName,
    offer: &str,
    options: ViewerOptions,
) -> Result<OpenedSession, Problem> {
    let grant = admit(front, viewer, name).await?;
    let engine = &front.engine;
    let offer = Offer::parse(offer).map_err(|error| refused(error, viewer, name))?;
    let watchable = watchable(front, viewer, name, &options, Some(&offer)).await?;
    let opened = engine.open(&watchable, &offer, viewer.complete(&options, grant));
    let session = opened.map_err(|error| refused(error, viewer, name))?;
    front.access.expiry().follow(engine, session.id, grant);
    Ok(session)
}

/// Converts an error to a response, and logs it.
fn refused(error: impl Display + Into<Problem>, viewer: &Viewer, name: &StreamName) -> Problem {
    viewer.note_refusal(name, &error);
    error.into().about(name)
}

/// Returns the stream, or its transcode if the player cannot decode the original. Without an offer,
/// the player's codecs are not known. Waits for the transcode; a viewer that was blocked meanwhile
/// is refused.
async fn watchable(
    front: &FrontDoor,
    viewer: &Viewer,
    name: &StreamName,
    options: &ViewerOptions,
    offer: Option<&Offer>,
) -> Result<StreamName, Problem> {
    let can_decode =
        |track: &VideoTrack| offer.is_none_or(|offer| offer.check_video(track).is_ok());
    let hub = &front.hub;
    let watchable = hub.watchable(name, options.b_frames, can_decode).await;
    let blocked = front.access.check_block(viewer);
    blocked.map_err(|denied| refused(denied, viewer, name))?;
    Ok(watchable)
}

/// Authorizes a viewer of `name`, and waits until the stream can be watched.
async fn admit(front: &FrontDoor, viewer: &Viewer, name: &StreamName) -> Result<Grant, Problem> {
    front.admission.check()?;
    let grant = front.access.check(viewer, name).await?;
    await_stream(front, viewer, name).await?;
    Ok(grant)
}

/// Adapts an error to the dialect: players of MediaMTX retry after 404, and give up after 409.
fn in_dialect(problem: Problem, dialect: Dialect) -> Problem {
    match (dialect, problem.status()) {
        (Dialect::MediaMtx, StatusCode::CONFLICT) => problem.with_status(StatusCode::NOT_FOUND),
        _ => problem,
    }
}

/// Answers GET: this is a WHEP endpoint. Says nothing about the stream.
async fn describe(PathStream(name): PathStream) -> Response {
    let mut response = [(header::CONTENT_TYPE, SDP), (ACCEPT_POST, SDP)].into_response();
    response.extensions_mut().insert(Explanation {
        title: format!("WHEP address of {name}"),
        text:
            "This address is for players: enter it where a program or a web player asks for a WHEP \
               URL. A browser shows the stream on its own page."
                .to_owned(),
        link: has_page(&name).then(|| (escaped(name.as_str()), "Watch the stream")),
    });
    response
}

/// Answers OPTIONS: the media type to POST, and the STUN and TURN servers for players that want
/// them before they make an offer. Servers with credentials are only for those who may watch. A
/// browser's preflight gets no servers (RFC 9725 section 4.6).
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
        let allowed = servers.iter();
        links::add_ice_servers(
            &mut response,
            allowed.filter(|server| may_watch || !server.has_credentials()),
        );
        let fresh = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    }
    let headers = response.headers_mut();
    headers.insert(ACCEPT_POST, HeaderValue::from_static(SDP));
    response
}

/// Waits until a session of this stream makes sense: at once if the publisher has declared a track,
/// or if viewers wait in their sessions (`offline = "wait"`). Waits for a stream that can be
/// pulled.
async fn await_stream(
    front: &FrontDoor,
    viewer: &Viewer,
    name: &StreamName,
) -> Result<(), Problem> {
    if front.is_live(name) {
        return Ok(());
    }
    let error = match front.hub.ensure_live_for(name, viewer.counts_as()).await {
        Ok(()) if front.is_live(name) => return Ok(()),
        Ok(()) => DemandError::NoProvider,
        Err(error) => error,
    };
    if error == DemandError::NoProvider && front.config.current().whep.offline == Offline::Wait {
        return Ok(());
    }
    Err(not_live(name, &error))
}

/// Returns the values of the `Warning` headers (RFC 7234 section 5.5). RFC 9111 removed the header,
/// but no other says as clearly that the answer lacks something that the offer asked for.
fn warnings(missing: &[MissingMedia]) -> impl Iterator<Item = HeaderValue> {
    missing.iter().filter_map(|missing| {
        let text = missing.to_string();
        let text = text
            .chars()
            .filter(|c| matches!(c, ' '..='~') && *c != '\\');
        let text: String = text.map(|c| if c == '"' { '\'' } else { c }).collect();
        HeaderValue::from_str(&format!("299 - \"{text}\"")).ok()
    })
}

fn described(negotiated: Negotiation, location: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, format!("\"{}\"", negotiated.etag)),
        (ACCEPT_PATCH, FRAGMENT_MEDIA_TYPE.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let mut response = (negotiated.status, headers, negotiated.sdp).into_response();
    for warning in warnings(&negotiated.missing) {
        response.headers_mut().append(header::WARNING, warning);
    }
    response
}
