//! `/healthz` and `/readyz`: what an orchestrator or a load balancer asks.

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::admission::Admission;
use crate::problem::Problem;
use crate::router::method_not_allowed;

/// The two routes, for any listener.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(admission: Admission) -> Router<S> {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(admission)
}

/// Whether a request asks whether the gateway is well.
pub(crate) fn is_about(uri: &Uri) -> bool {
    matches!(uri.path(), "/healthz" | "/readyz")
}

/// The process answers, and that is all there is to it.
async fn health() -> Response {
    answer("ok\n")
}

/// Whether viewers are taken: they are sent elsewhere before the gateway ends.
async fn ready(State(admission): State<Admission>) -> Result<Response, Problem> {
    admission.check()?;
    Ok(answer("ready\n"))
}

fn answer(text: &'static str) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], text).into_response()
}
