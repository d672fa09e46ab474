//! Cross-origin access: a player may be embedded in any site (Fetch standard, "CORS protocol").

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Request headers a player sends that browsers ask about first.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, If-Match";
/// Response headers a player must be able to read.
const EXPOSED_HEADERS: &str = "ETag, Link, Location, Retry-After";
/// Seconds a browser may remember the answer to its preflight: the longest Chromium accepts.
const MAX_AGE: &str = "7200";

/// Lets pages of any origin read the response. No cookie is ever looked at, so the wildcard gives
/// away nothing.
pub(crate) async fn allow_any_origin(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED_HEADERS),
    );
    response
}

/// The answer to OPTIONS, whether a browser's preflight or a client's question.
pub(crate) fn options(methods: &'static str) -> Response {
    [
        (header::ALLOW, methods),
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ]
    .into_response()
}
