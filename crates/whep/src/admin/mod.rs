//! The admin API: what whoever runs the gateway sees and does, on a listener of its own.
//!
//! ```text
//! GET    /api/server               the gateway: version, age, viewers, how it fares
//! GET    /api/streams              the live streams, measured
//! GET    /api/streams/{name}       one of them
//! DELETE /api/publishers/{name}    ends the publisher of a stream
//! GET    /api/viewers[?stream=]    the viewers, and how their paths are
//! DELETE /api/viewers/{id}         ends one of them
//! GET    /api/events               gateway and streams, once a second, as server-sent events
//! GET    /api/drain                whether no more viewers are taken; POST begins that, DELETE ends it
//! GET    /api/openapi.json         all of this as an OpenAPI document
//! GET    /metrics                  figures for Prometheus
//! GET    /                         the dashboard, a page that shows all of it
//! GET    /healthz, /readyz         whether it runs, and whether it takes viewers
//! ```
//!
//! Pages of other origins cannot use it: no CORS header is ever sent. See [`AdminDoor::token`] for who
//! can.

mod control;
mod events;
mod guard;
mod metrics;
mod openapi;
mod server;
mod streams;
mod viewers;
mod watching;

use std::time::Instant;

use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use distributary_egress::engine::Engine;
use distributary_hub::Hub;
use serde::Serialize;

use crate::admission::Admission;
use crate::router::{ServerInfo, method_not_allowed, not_found};
use crate::{health, pages};

pub use guard::AdminToken;

/// What the handlers of the admin API work with.
#[derive(Clone)]
pub struct AdminDoor {
    /// The streams there are.
    pub hub: Hub,
    /// The engine that plays them to viewers.
    pub engine: Engine,
    /// Facts about this gateway.
    pub info: ServerInfo,
    /// Whether viewers are taken.
    pub admission: Admission,
    /// What a request must show, as a bearer token. Without one everybody who reaches the listener may
    /// do everything, but for web pages of other origins: then the listener belongs on loopback.
    pub token: Option<AdminToken>,
}

/// Everything the admin listener answers.
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

/// A JSON answer that is true only now.
fn fresh(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The moment at which a request is answered.
#[expect(
    clippy::disallowed_methods,
    reason = "requests are answered at the moment they come"
)]
fn now() -> Instant {
    Instant::now()
}
