//! The admin API for operators, on its own listener.
//!
//! ```text
//! GET    /api/server               the gateway: version, uptime, viewers, latency
//! GET    /api/streams              the live streams with their stats
//! GET    /api/streams/{name}       one of them
//! DELETE /api/publishers/{name}    ends the publisher of a stream
//! GET    /api/viewers[?stream=]    the viewers with their stats
//! DELETE /api/viewers/{id}         ends one of them
//! GET    /api/events               gateway and streams, once a second, as server-sent events
//! GET    /api/drain                whether the gateway drains; POST begins, DELETE ends it
//! GET    /api/openapi.json         this API as an OpenAPI document
//! GET    /metrics                  metrics for Prometheus
//! GET    /                         the dashboard, a page
//! GET    /healthz, /readyz         liveness and readiness
//! ```
//!
//! Pages of other origins cannot use it: no CORS header is sent. See [`AdminDoor::token`] for
//! access.

mod certificates;
mod control;
mod events;
mod guard;
mod join_metrics;
mod metrics;
mod openapi;
mod server;
mod streams;
mod viewers;
mod watching;

use std::sync::Arc;
use std::time::Instant;

use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use distributary_egress::engine::Engine;
use distributary_hub::Hub;
use distributary_tls::Certificate;
use serde::Serialize;

use crate::admission::Admission;
use crate::fallback::{method_not_allowed, not_found};
use crate::front_door::ServerInfo;
use crate::{health, pages};

pub use guard::AdminToken;

/// State of the handlers of the admin API.
#[derive(Clone)]
pub struct AdminDoor {
    /// The published streams.
    pub hub: Hub,
    /// The engine that sends streams to viewers.
    pub engine: Engine,
    /// Version, start and ports of this gateway.
    pub info: ServerInfo,
    /// The switch that admits or refuses new viewers.
    pub admission: Admission,
    /// The certificates of all listeners.
    pub certificates: Vec<Arc<Certificate>>,
    /// The bearer token that a request must have. Without one, everybody who reaches the listener
    /// may do everything, except pages of other origins: then the listener belongs on loopback.
    pub token: Option<AdminToken>,
}

/// Returns the routes of the admin listener.
pub fn admin_router(door: AdminDoor) -> Router {
    let guard = middleware::from_fn_with_state(door.token.clone(), guard::check);
    let api = Router::new()
        .route("/api/server", get(server::server))
        .route("/api/streams", get(streams::list))
        .route("/api/streams/{*name}", get(streams::one))
        .route("/api/publishers/{*name}", delete(control::end_publisher))
        .route("/api/viewers", get(viewers::list))
        .route("/api/viewers/{id}", delete(control::end_viewer))
        .route("/api/events", get(events::events))
        .route(
            "/api/drain",
            get(control::drain)
                .post(control::begin_drain)
                .delete(control::end_drain),
        )
        .route("/api/openapi.json", get(openapi::document))
        .route("/metrics", get(metrics::metrics))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(guard)
        .with_state(door.clone());
    api.merge(health::routes(door.admission))
        .merge(pages::dashboard_routes())
        .fallback(not_found)
}

/// Returns a JSON response that must not be cached.
fn fresh(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Returns the time at which a request is answered.
#[expect(
    clippy::disallowed_methods,
    reason = "requests are answered at the moment they come"
)]
fn now() -> Instant {
    Instant::now()
}
