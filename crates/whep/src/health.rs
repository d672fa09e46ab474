//! `/healthz` and `/readyz`, for orchestrators and load balancers.

use axum::Router;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::admission::Admission;
use crate::fallback::method_not_allowed;
use crate::problem::Problem;

/// Returns the two routes, for any listener.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(admission: Admission) -> Router<S> {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(admission)
}

/// Returns whether a request is a health check.
pub(crate) fn is_about(uri: &Uri) -> bool {
    matches!(uri.path(), "/healthz" | "/readyz")
}

/// Answers that the process is alive.
async fn health() -> Response {
    answer("ok\n")
}

/// Answers whether new viewers are admitted. They are refused before the gateway ends.
async fn ready(State(admission): State<Admission>) -> Result<Response, Problem> {
    admission.check_ready()?;
    Ok(answer("ready\n"))
}

fn answer(text: &'static str) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], text).into_response()
}
