//! Who may use the admin API.

use std::fmt;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use crate::problem::Problem;

/// The token of the admin API. It is not shown when it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(String);

impl AdminToken {
    /// A token; `None` for an empty text.
    pub fn new(token: impl Into<String>) -> Option<Self> {
        Some(token.into())
            .filter(|token| !token.is_empty())
            .map(Self)
    }

    fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(hidden)")
    }
}

/// Lets a request through that may do what it wants.
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

/// Bearer authentication (RFC 6750 section 2.1). The token is not taken from the URL, which ends up in
/// logs.
fn check_token(token: &AdminToken, headers: &HeaderMap) -> Result<(), Problem> {
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (detail, challenge) = match shown {
        Some((_, shown)) if token.is(shown.trim()) => return Ok(()),
        Some(_) => (
            "This is not the admin token of this gateway.",
            "Bearer error=\"invalid_token\"",
        ),
        None => (
            "The admin token is needed: Authorization: Bearer ...",
            "Bearer",
        ),
    };
    Err(Problem::new(StatusCode::UNAUTHORIZED, detail).with(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    ))
}

/// Without a token whoever is on this machine may do everything, and so might a page of any site that
/// is open in a browser there. Such a page shows by its `Origin`, or by the name it was made to reach
/// us under (DNS rebinding).
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
        let detail = "Without an admin token this API is asked by address: http://127.0.0.1.";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

/// Whether the host of a URL is an address, or the name of this machine for itself.
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
    fn a_token_is_not_printed() {
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
