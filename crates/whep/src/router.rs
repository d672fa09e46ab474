//! All routes in one place.

use std::net::SocketAddr;
use std::time::Instant;

use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::routing::{any, get};
use axum::{Extension, Router};
use distributary_egress::engine::Engine;
use distributary_hub::Hub;
use tower::Layer as _;
use tower::util::MapRequestLayer;

use crate::access::Access;
use crate::admission::Admission;
use crate::config::Settings;
use crate::events::EventStreams;
use crate::problem::Problem;
use crate::public_path::PublicPath;
use crate::{aliases, cors, endpoint, events, health, legacy, limits, live, pages, session};

/// First path segments that are never the application of a player page. A stream whose application is
/// called so can be watched by WHEP all the same.
pub(crate) const RESERVED: [&str; 6] = ["api", "assets", "index", "rtc", "session", "whep"];

/// What the handlers work with.
#[derive(Clone)]
pub struct FrontDoor {
    /// The streams there are.
    pub hub: Hub,
    /// The engine that plays them to viewers.
    pub engine: Engine,
    /// What the page tells a newcomer about this gateway.
    pub info: ServerInfo,
    /// How viewers are received.
    pub config: Settings,
    /// Whether they are.
    pub admission: Admission,
    /// Which of them are.
    pub access: Access,
}

/// Facts about the running gateway that the page shows.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    /// Version of the gateway.
    pub version: &'static str,
    /// The address publishers connect to.
    pub rtmp: SocketAddr,
    /// When it was started.
    pub started: Instant,
}

/// Everything the gateway answers to the public over HTTP.
///
/// The first path segments in `RESERVED` are the gateway's own; any other path of two or more
/// segments is the player page of the stream of that name, or with `/whep` at its end the endpoint.
pub fn router(front: FrontDoor) -> Router {
    let origins = middleware::from_fn_with_state(front.clone(), cors::allow_origins);
    let routes = pages::routes()
        .merge(api(&front))
        .merge(whep(&front))
        .fallback(nothing)
        .layer(origins)
        .with_state(front);
    // A layer of the router itself would come too late, when the route is chosen.
    Router::new().fallback_service(MapRequestLayer::new(aliases::rewrite).layer(routes))
}

/// What players ask for.
fn whep(front: &FrontDoor) -> Router<FrontDoor> {
    let config = front.config.current();
    let streams = EventStreams::new(
        config.whep.max_event_streams,
        config.max_event_streams_per_ip,
    );
    Router::new()
        .route("/whep/{*stream}", endpoint::methods())
        .route("/session/{id}", session::methods())
        .route("/session/{id}/events", events::methods())
        .route("/session/{id}/events/{number}", events::stream_methods())
        .route("/rtc/v1/play", legacy::srs())
        .route("/rtc/v1/play/", legacy::srs())
        .route("/index/api/webrtc", legacy::zlmediakit())
        .route("/whep", any(unnamed))
        .route("/whep/", any(unnamed))
        .route("/index/api/whep", any(unnamed))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(front.clone(), limits::limit))
        .layer(Extension(streams))
}

/// What the page asks for, and what a load balancer does.
fn api(front: &FrontDoor) -> Router<FrontDoor> {
    Router::new()
        .route("/api/live", get(live::live))
        .method_not_allowed_fallback(method_not_allowed)
        .merge(health::routes(front.admission.clone()))
}

/// An endpoint without a stream.
async fn unnamed() -> Problem {
    let detail = "Which stream? Ask at /whep/{app}/{stream}, or with the query ?app=...&stream=...";
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

pub(crate) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

/// A path where there is nothing, or nothing but a page: whoever does not just look is a player that looks for
/// its endpoint, or a publisher.
pub(crate) async fn nothing(public: PublicPath, method: Method, uri: Uri) -> Problem {
    if matches!(method, Method::GET | Method::HEAD) {
        return not_found().await;
    }
    let path = uri.path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let detail = match segments.as_slice() {
        [.., "whip"] | ["whip", ..] => {
            "Streams are published over RTMP here; there is no WHIP.".to_owned()
        }
        [app, _, ..] if !RESERVED.contains(app) => {
            format!(
                "There is no WHEP endpoint at this path; that of the stream is {public}/whep{path}."
            )
        }
        _ => format!(
            "There is no WHEP endpoint at this path; ask at {public}/whep/{{app}}/{{stream}}."
        ),
    };
    Problem::new(StatusCode::NOT_FOUND, detail)
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This path does not take that method; the Allow header lists those it takes.",
    )
}
