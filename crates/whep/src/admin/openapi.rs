//! `GET /api/openapi.json`: the admin API as an OpenAPI 3.1 document.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Written by hand. The tests compare it with the routes.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, DOCUMENT).into_response()
}
