//! The admin API for operators, on its own listener.
//!
//! ```text
//! GET    /api/server               the gateway: version, uptime, viewers, latency
//! GET    /api/streams              the live streams with their stats
//! GET    /api/streams/{name}       one of them
//! DELETE /api/publishers/{name}    ends the publisher of a stream, or the one with `?id=`
//! POST   /api/publishers/{name}    lets a standby take over: the first one, or that with `?id=`
//! GET    /api/viewers[?stream=]    the viewers with their stats; `sort` orders them
//! DELETE /api/viewers/{id}         ends one of them
//! GET    /api/events               gateway and streams, once a second, as server-sent events
//! GET    /api/history[/{name}]     the last 15 minutes of the gateway or a stream, by second
//! GET    /api/ended                streams that ended in the last 15 minutes, with the reason
//! GET    /api/journal[?after=]     the last 200 events
//! GET    /api/keyframes/{name}     the newest keyframe of a stream
//! GET    /api/blocks               who is blocked; POST blocks, DELETE /api/blocks/{id} ends it
//! GET    /api/doctor               examines this machine's side of the gateway
//! GET    /api/joins                joins: asked, connected, failed and why
//! GET    /api/cluster              the nodes of the cluster, and what this one does in it
//! GET    /api/drain                whether the gateway drains; POST begins, DELETE ends it
//! GET    /api/openapi.json         this API as an OpenAPI document
//! GET    /metrics                  metrics for Prometheus
//! GET    /                         the dashboard, a page
//! GET    /healthz, /readyz         liveness and readiness
//! ```
//!
//! Pages of other origins cannot use it: no CORS header is sent. See [`AdminDoor::token`] for
//! access.

mod answer;
mod blocks;
mod certificates;
mod cluster;
mod cluster_metrics;
mod control;
mod doctor;
mod door;
mod duration_metrics;
mod events;
mod examination;
mod exposition;
mod finding;
mod graphs;
mod guard;
mod history;
mod joins;
mod journal;
mod keyframes;
mod link;
mod memory;
mod metric_labels;
mod metrics;
mod openapi;
mod process;
mod process_metrics;
mod publisher_status;
mod recorder;
mod rendition_metrics;
mod renditions;
mod server;
mod shared_snapshots;
mod streams;
mod track_status;
mod viewer_samples;
mod viewer_totals;
mod viewers;
mod watching;

use axum::routing::{delete, get};
use axum::{Extension, Router, middleware};

use crate::fallback::{method_not_allowed, not_found};
use crate::help::Home;
use crate::{health, help, pages};

pub use cluster::{
    ArbiterReport, ClusterCounts, ClusterReport, ClusterView, NodeReport, RemoteStreamReport,
};
pub use door::{AdminDoor, PublicAddresses};
pub use examination::Doctor;
pub use finding::{Finding, Level};
pub use guard::AdminToken;
pub use history::History;
pub use process::{cpu_time, resident_memory};
pub use recorder::record;
pub use viewer_samples::ViewerSamples;

/// Returns the routes of the admin listener.
pub fn admin_router(door: AdminDoor) -> Router {
    let guard = middleware::from_fn_with_state(door.token.clone(), guard::check);
    let explain = middleware::from_fn_with_state(Home("Go to the dashboard"), help::explain);
    let api = Router::new()
        .route("/api/server", get(server::server))
        .route("/api/streams", get(streams::list))
        .route("/api/streams/{*name}", get(streams::one))
        .route(
            "/api/publishers/{*name}",
            delete(control::end_publisher).post(control::promote_standby),
        )
        .route("/api/viewers", get(viewers::list))
        .route("/api/viewers/{id}", delete(control::end_viewer))
        .route("/api/events", get(events::events))
        .layer(Extension(shared_snapshots::SharedSnapshots::default()))
        .route("/api/history", get(graphs::total))
        .route("/api/history/{*name}", get(graphs::stream))
        .route("/api/ended", get(graphs::ended))
        .route("/api/journal", get(journal::journal))
        .route("/api/keyframes/{*name}", get(keyframes::keyframe))
        .route("/api/blocks", get(blocks::list).post(blocks::add))
        .route("/api/blocks/{id}", delete(blocks::remove))
        .route("/api/joins", get(joins::joins))
        .route("/api/cluster", get(cluster::cluster))
        .route("/api/doctor", get(doctor::doctor))
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
        .layer(explain)
}
