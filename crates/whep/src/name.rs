//! Extracts the stream name from a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use distributary_names::StreamName;

use crate::problem::Problem;

/// The stream named by the last, wildcard part of the path: percent-decoded and validated.
///
/// A slash at the end is ignored.
pub(crate) struct PathStream(pub(crate) StreamName);

impl<S: Send + Sync> FromRequestParts<S> for PathStream {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refuse = |reason: &dyn std::fmt::Display| {
            Problem::new(StatusCode::BAD_REQUEST, format!("The path: {reason}."))
        };
        let Path(path) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| refuse(&rejection.body_text()))?;
        StreamName::parse(path.strip_suffix('/').unwrap_or(&path))
            .map(Self)
            .map_err(|error| refuse(&error))
    }
}
