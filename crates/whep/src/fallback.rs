//! Answers to requests that no route matches.

use axum::http::{Method, StatusCode, Uri};
use distributary_names::StreamName;

use crate::path::{RESERVED, has_page};
use crate::problem::Problem;
use crate::public_path::PublicPath;

/// Answers a request to an unknown path.
pub(crate) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path.")
}

/// Answers a request to a path that is no page, or with a method other than GET to a page: most
/// such clients look for the WHEP endpoint or want to publish.
pub(crate) async fn nothing(public: PublicPath, method: Method, uri: Uri) -> Problem {
    let path = uri.path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if matches!(method, Method::GET | Method::HEAD) {
        return match segments.as_slice() {
            ["admin" | "dashboard" | "metrics"] => Problem::new(
                StatusCode::NOT_FOUND,
                "The dashboard, the admin API and the metrics are not on this port. They have a \
                 listener of their own (key admin): by default http://127.0.0.1:8180/ on the machine \
                 of the gateway.",
            ),
            [name]
                if uri.path() != path
                    && StreamName::parse(name).is_ok_and(|name| has_page(&name)) =>
            {
                Problem::new(
                    StatusCode::NOT_FOUND,
                    format!(
                        "There is nothing at this path. The stream {name} would be at {public}{path}, \
                         without a slash at its end."
                    ),
                )
            }
            _ => not_found().await,
        };
    }
    let detail = match segments.as_slice() {
        [.., "whip"] | ["whip", ..] => {
            "Streams are published over RTMP; WHIP is not supported.".to_owned()
        }
        [first, ..] if !first.is_empty() && !RESERVED.contains(first) => {
            format!(
                "There is no WHEP endpoint at this path; that of the stream is {public}/whep{path}."
            )
        }
        _ => {
            format!("There is no WHEP endpoint at this path; use {public}/whep/{{app}}/{{stream}}.")
        }
    };
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// Answers a request with a method that the path does not support.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This path does not support the method; the Allow header lists those it supports.",
    )
}
