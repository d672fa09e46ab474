//! The time and form of responses of the admin API.

use std::time::Instant;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Returns a JSON response that must not be cached.
pub(super) fn fresh(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Returns the time at which a request is answered.
#[expect(
    clippy::disallowed_methods,
    reason = "requests are answered at the moment they come"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
