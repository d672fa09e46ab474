//! Cross-origin access: a player may be embedded in any site (Fetch standard, "CORS protocol").

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::allowed_origins::AllowedOrigins;
use crate::config::Settings;

/// Request headers that players send. A browser that asks about other headers, such as those of
/// tracing, may send them: the gateway does not look at headers it does not know.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, If-Match";
/// Response headers that a player must be able to read.
pub(crate) const EXPOSED_HEADERS: &str =
    "Accept-Patch, ETag, Link, Location, Retry-After, Stream-Missing, Stream-State, Warning";
/// Seconds for which a browser may cache the response to its preflight: the maximum in Chromium.
const MAX_AGE: &str = "7200";
/// Methods that a browser may use on a path without a resource, so that the page can read the
/// error.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST";

/// Lets the pages of the allowed origins read the response, including errors.
pub(crate) async fn allow_origins(
    State(settings): State<Settings>,
    request: Request,
    next: Next,
) -> Response {
    let config = settings.current();
    let origins = &config.whep.allowed_origins;
    let allowed = origins.allowed(request.headers());
    let preflight = is_preflight(request.headers()).then(|| {
        let headers = request.headers();
        headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned()
    });
    let mut response = next.run(request).await;
    if let Some(requested) = preflight {
        // A page cannot read an error in the response to a preflight: it gets the error in the
        // response to its own request.
        if response.status().is_client_error() {
            response = options(METHODS);
        }
        let headers = response.headers_mut();
        if let Some(requested) = requested {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested);
        }
        let vary = HeaderValue::from_static("Access-Control-Request-Headers");
        headers.append(header::VARY, vary);
    }
    let headers = response.headers_mut();
    // Files for pages of any origin have the header already.
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return response;
    }
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED_HEADERS),
        );
    }
    if *origins != AllowedOrigins::Any {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// Returns whether a request is a browser's preflight, which no player sends.
pub(crate) fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns the response to OPTIONS, for a browser's preflight or a client's request.
pub(crate) fn options(methods: &'static str) -> Response {
    [
        (header::ALLOW, methods),
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ]
    .into_response()
}
