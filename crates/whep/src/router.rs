//! All routes.

use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{any, get};
use axum::{Extension, Router};
use tower::Layer as _;
use tower::util::MapRequestLayer;

use crate::events::EventStreams;
use crate::fallback::{method_not_allowed, nothing};
use crate::front_door::FrontDoor;
use crate::help::Home;
use crate::problem::Problem;
use crate::{
    aliases, cors, elsewhere, endpoint, events, health, help, ice_report, keyframe, layer, legacy,
    live, pages, rate_limit, refusals, session,
};

/// Returns all routes of the public listener.
///
/// The first path segments in `RESERVED` belong to the gateway. Any other path is the player page of
/// the stream of that name (`path::has_page` has the exceptions), or its endpoint
/// if `/whep` follows.
pub fn router(front: FrontDoor) -> Router {
    let origins = middleware::from_fn_with_state(front.config.clone(), cors::allow_origins);
    let routes = pages::routes()
        .merge(api(&front))
        .merge(whep(&front))
        .fallback(nothing)
        .layer(origins)
        .with_state(front);
    // A layer of the router itself would run too late, after the route is chosen.
    let explain = middleware::from_fn_with_state(Home("Go to the live streams"), help::explain);
    Router::new()
        .fallback_service(MapRequestLayer::new(aliases::rewrite).layer(routes))
        .layer(explain)
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
        .route("/session/{id}/layer", layer::methods())
        .route("/session/{id}/events", events::methods())
        .route("/session/{id}/events/{number}", events::stream_methods())
        .route("/rtc/v1/play", legacy::srs())
        .route("/rtc/v1/play/", legacy::srs())
        .route("/index/api/webrtc", legacy::zlmediakit())
        .route("/whep", any(unnamed))
        .route("/whep/", any(unnamed))
        .route("/index/api/whep", any(unnamed))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(
            front.access.clone(),
            rate_limit::limit,
        ))
        .layer(Extension(streams))
        // Around the limits, whose refusals count, too.
        .layer(middleware::from_fn_with_state(
            front.refusals.clone(),
            refusals::count,
        ))
        // Below the layer, because reports count as changes, not as further sessions.
        .route("/session/{id}/failure", ice_report::methods())
        // Around all: the limits and counters of the session's own gateway apply.
        .layer(middleware::from_fn_with_state(
            front.clone(),
            elsewhere::forward,
        ))
        .method_not_allowed_fallback(method_not_allowed)
}

/// Returns the routes for the front page and for load balancers.
fn api(front: &FrontDoor) -> Router<FrontDoor> {
    Router::new()
        .route("/api/live", get(live::live))
        .layer(Extension(live::LastList::default()))
        .route(
            &format!("{}/{{*stream}}", aliases::KEYFRAME),
            keyframe::methods(),
        )
        .method_not_allowed_fallback(method_not_allowed)
        .merge(health::routes(front.admission.clone()))
}

/// Answers a request to an endpoint that names no stream.
async fn unnamed() -> Problem {
    let detail = "No stream is named. Use /whep/{app}/{stream}, or the query ?app=...&stream=...";
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
