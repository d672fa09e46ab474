//! All routes in one place.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;
use distributary_hub::Hub;
use distributary_webrtc::engine::Engine;

use crate::problem::Problem;
use crate::{api, cors, endpoint, metrics, pages, session, sessions};

/// First path segments that are never the application of a player page. A stream whose application is
/// called so can be watched by WHEP all the same.
pub(crate) const RESERVED: [&str; 4] = ["api", "assets", "session", "whep"];

/// What the handlers work with.
#[derive(Clone)]
pub struct FrontDoor {
    /// The streams there are.
    pub hub: Hub,
    /// The engine that plays them to viewers.
    pub engine: Engine,
    /// What the page tells a newcomer about this gateway.
    pub info: ServerInfo,
}

/// Facts about the running gateway that the page shows.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    /// Version of the gateway.
    pub version: &'static str,
    /// The address publishers connect to.
    pub rtmp: SocketAddr,
}

/// Everything the gateway answers over HTTP.
///
/// The first path segments in `RESERVED` are the gateway's own; any other path of two or more
/// segments is the player page of the stream of that name.
pub fn router(front: FrontDoor) -> Router {
    let whep = Router::new()
        .route("/whep/{*stream}", endpoint::methods())
        .route("/session/{id}", session::methods())
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(cors::allow_any_origin));
    let api = Router::new()
        .route("/api/streams", get(api::streams))
        .route("/api/sessions", get(sessions::sessions))
        .route("/api/server", get(api::server))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(method_not_allowed);
    pages::routes()
        .method_not_allowed_fallback(method_not_allowed)
        .merge(whep)
        .merge(api)
        .fallback(not_found)
        .with_state(front)
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This path does not take that method; the Allow header lists those it takes.",
    )
}
