//! All routes.

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

/// First path segments that never begin the path of a player page. WHEP works for streams of such
/// an application all the same.
pub(crate) const RESERVED: [&str; 6] = ["api", "assets", "index", "rtc", "session", "whep"];

/// State of the handlers.
#[derive(Clone)]
pub struct FrontDoor {
    /// The published streams.
    pub hub: Hub,
    /// The engine that sends streams to viewers.
    pub engine: Engine,
    /// Version, start and ports of this gateway.
    pub info: ServerInfo,
    /// The settings of the handlers.
    pub config: Settings,
    /// The switch that admits or refuses new viewers.
    pub admission: Admission,
    /// Authorization and rate limits.
    pub access: Access,
}

/// Facts about the running gateway.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    /// Version of the gateway.
    pub version: &'static str,
    /// The RTMP listen address.
    pub rtmp: SocketAddr,
    /// Time of the start.
    pub started: Instant,
}

/// Returns all routes of the public listener.
///
/// The first path segments in `RESERVED` belong to the gateway. Any other path of two or more
/// segments is the player page of the stream of that name, or its endpoint if `/whep` follows.
pub fn router(front: FrontDoor) -> Router {
    let origins = middleware::from_fn_with_state(front.clone(), cors::allow_origins);
    let routes = pages::routes()
        .merge(api(&front))
        .merge(whep(&front))
        .fallback(nothing)
        .layer(origins)
        .with_state(front);
    // A layer of the router itself would run too late, after the route is chosen.
    Router::new().fallback_service(MapRequestLayer::new(aliases::rewrite).layer(routes))
}

/// Returns the routes that players use.
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

/// Returns the routes for the front page and for load balancers.
fn api(front: &FrontDoor) -> Router<FrontDoor> {
    Router::new()
        .route("/api/live", get(live::live))
        .method_not_allowed_fallback(method_not_allowed)
        .merge(health::routes(front.admission.clone()))
}

/// Answers a request to an endpoint that names no stream.
async fn unnamed() -> Problem {
    let detail = "No stream is named. Use /whep/{app}/{stream}, or the query ?app=...&stream=...";
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

pub(crate) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

/// Answers a request to an unknown path, or with a method other than GET to a page: most such
/// clients look for the WHEP endpoint or want to publish.
pub(crate) async fn nothing(public: PublicPath, method: Method, uri: Uri) -> Problem {
    if matches!(method, Method::GET | Method::HEAD) {
        return not_found().await;
    }
    let path = uri.path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let detail = match segments.as_slice() {
        [.., "whip"] | ["whip", ..] => {
            "Streams are published over RTMP; WHIP is not supported.".to_owned()
        }
        [app, _, ..] if !RESERVED.contains(app) => {
            format!(
                "There is no WHEP endpoint at this path; that of the stream is {public}/whep{path}."
            )
        }
        _ => {
            format!("There is no WHEP endpoint at this path; use {public}/whep/{{app}}/{{stream}}.")
        }
    };
    Problem::new(StatusCode::NOT_FOUND, detail)
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This path does not support the method; the Allow header lists those it supports.",
    )
}
