//! Authorization of the admin API: a bearer token, or a check of the request's origin.

use std::fmt;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use crate::problem::Problem;

/// The token of the admin API. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// Creates a token; `None` for an empty text.
    pub fn new(token: impl Into<String>) -> Option<Self> {
        Some(token.into())
            .filter(|token| !token.is_empty())
            .map(Self)
    }

    fn matches(&self, credential: &str) -> bool {
        self.0.as_bytes().ct_eq(credential.as_bytes()).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(hidden)")
    }
}

/// Passes a request on if it is authorized.
pub(super) async fn check(
    State(token): State<Option<AdminToken>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    match token {
        Some(token) => check_token(&token, request.headers())?,
        None => check_origin(request.headers())?,
    }
    Ok(next.run(request).await)
}

/// Checks the bearer token (RFC 6750 section 2.1). A token in the URL is not accepted: URLs end up
/// in logs.
fn check_token(token: &AdminToken, headers: &HeaderMap) -> Result<(), Problem> {
    let credential = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (detail, challenge) = match credential {
        Some((_, credential)) if token.matches(credential.trim()) => return Ok(()),
        Some(_) => (
            "The admin token is wrong.",
            "Bearer error=\"invalid_token\"",
        ),
        None => (
            "This API requires the admin token: Authorization: Bearer ...",
            "Bearer",
        ),
    };
    Err(Problem::new(StatusCode::UNAUTHORIZED, detail).with(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    ))
}

/// Refuses requests of pages from other sites. Without a token, everybody on this machine may do
/// everything, and so could a page of any site that is open in a browser there. Such a page shows
/// by its `Origin`, or by a `Host` that is neither an address nor `localhost` (DNS rebinding).
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let is_foreign = match text(header::ORIGIN) {
        Some(origin) => origin.split_once("://").is_none_or(|(_, of)| of != host),
        None => text(header::HeaderName::from_static("sec-fetch-site"))
            .is_some_and(|site| !["same-origin", "none"].contains(&site)),
    };
    if is_foreign {
        let detail = "Pages of other sites cannot use the admin API.";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if !is_local(host) {
        let detail = "Without an admin token, use this API by IP address: http://127.0.0.1.";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// Returns whether the host of a URL is an IP address or `localhost`.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    name.is_some_and(|name| name == "localhost" || name.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_token() {
        let token = AdminToken::new("secret").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        assert!(AdminToken::new("").is_none());
    }

    #[test]
    fn addresses_and_localhost_are_local() {
        for host in ["127.0.0.1:8180", "[::1]:8180", "localhost:1", "192.0.2.1"] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example:8180",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
