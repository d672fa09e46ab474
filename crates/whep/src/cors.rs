//! Cross-origin access: a player may be embedded in any site (Fetch standard, "CORS protocol").

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::router::FrontDoor;

/// Request headers that players send. A browser that asks about other headers, such as those of
/// tracing, may send them: the gateway does not look at headers it does not know.
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, If-Match";
/// Response headers that a player must be able to read.
pub(crate) const EXPOSED_HEADERS: &str = "Accept-Patch, ETag, Link, Location, Retry-After, Warning";
/// Seconds for which a browser may cache the response to its preflight: the maximum in Chromium.
const MAX_AGE: &str = "7200";
/// Methods that a browser may use on a path without a resource, so that the page can read the
/// error.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST";

/// Origins whose pages may use the endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub enum AllowedOrigins {
    /// Any origin. The gateway uses no cookies, so the wildcard gives nothing away.
    #[default]
    Any,
    /// These origins, each as browsers send it: `https://www.example`.
    Only(Vec<HeaderValue>),
}

/// The text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected * or an origin such as https://www.example, without a path, instead of {0:?}")]
pub struct OriginError(String);

impl AllowedOrigins {
    /// Parses a list of origins, or `*` alone.
    ///
    /// # Errors
    /// Fails when one of them is not what a browser could send (RFC 6454 section 6.1).
    pub fn parse<T: AsRef<str>>(origins: &[T]) -> Result<Self, OriginError> {
        if let [only] = origins
            && only.as_ref() == "*"
        {
            return Ok(Self::Any);
        }
        let origins = origins.iter().map(|origin| {
            let origin = origin.as_ref();
            let is_origin = url::Url::parse(origin)
                .is_ok_and(|url| url.origin().ascii_serialization() == origin);
            let value = HeaderValue::from_str(origin);
            value
                .ok()
                .filter(|_| is_origin)
                .ok_or_else(|| OriginError(origin.to_owned()))
        });
        origins.collect::<Result<_, _>>().map(Self::Only)
    }

    /// Returns the value of `Access-Control-Allow-Origin` for a request with these headers, if any.
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Only(origins) => {
                let origin = request.get(header::ORIGIN)?;
                origins.contains(origin).then(|| origin.clone())
            }
        }
    }
}

impl TryFrom<Vec<String>> for AllowedOrigins {
    type Error = OriginError;

    fn try_from(origins: Vec<String>) -> Result<Self, OriginError> {
        Self::parse(&origins)
    }
}

impl From<AllowedOrigins> for Vec<String> {
    fn from(origins: AllowedOrigins) -> Self {
        match origins {
            AllowedOrigins::Any => vec!["*".to_owned()],
            AllowedOrigins::Only(origins) => {
                let origins = origins.iter().filter_map(|origin| origin.to_str().ok());
                origins.map(str::to_owned).collect()
            }
        }
    }
}

/// Lets the pages of the allowed origins read the response, including errors.
pub(crate) async fn allow_origins(
    State(front): State<FrontDoor>,
    request: Request,
    next: Next,
) -> Response {
    let config = front.config.current();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_that_browsers_send_are_accepted() {
        assert_eq!(AllowedOrigins::parse(&["*"]), Ok(AllowedOrigins::Any));
        let both = ["https://a.example", "http://b.example:8080"];
        assert!(
            matches!(AllowedOrigins::parse(&both), Ok(AllowedOrigins::Only(list)) if list.len() == 2)
        );
        for origin in [
            "a.example",
            "https://a.example/",
            "https://A.example",
            "null",
            "",
            "https://a:443",
        ] {
            let error = AllowedOrigins::parse(&[origin]).unwrap_err();
            assert_eq!(error, OriginError(origin.to_owned()));
        }
        assert!(AllowedOrigins::parse(&["*", "https://a.example"]).is_err());
    }
}
