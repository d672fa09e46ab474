//! The WHEP session: `/session/{id}` (draft-ietf-wish-whep section 4).
//!
//! Sessions have a path of their own, outside that of their stream: a stream may be called anything,
//! so no path below it could be told from another stream.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodRouter, delete};
use distributary_webrtc::session::SessionId;

use crate::cors;
use crate::problem::Problem;
use crate::router::FrontDoor;

const METHODS: &str = "DELETE, GET, HEAD, OPTIONS";

pub(crate) fn methods() -> MethodRouter<FrontDoor> {
    delete(close).get(exists).options(options)
}

/// Where a session is found.
pub(crate) fn path(id: &SessionId) -> String {
    format!("/session/{id}")
}

/// The id in the path. Whoever knows it owns the session: it cannot be guessed.
struct PathSession(SessionId);

impl<S: Send + Sync> FromRequestParts<S> for PathSession {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| unknown())?;
        id.parse().map(Self).map_err(|_| unknown())
    }
}

/// Ends the session.
async fn close(
    State(front): State<FrontDoor>,
    PathSession(id): PathSession,
) -> Result<StatusCode, Problem> {
    if front.engine.close(&id) {
        Ok(StatusCode::OK)
    } else {
        Err(unknown())
    }
}

async fn exists(
    State(front): State<FrontDoor>,
    PathSession(id): PathSession,
) -> Result<StatusCode, Problem> {
    if front.engine.contains(&id) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(unknown())
    }
}

async fn options() -> Response {
    cors::options(METHODS)
}

fn unknown() -> Problem {
    let detail = "There is no such session; it may have ended.";
    Problem::new(StatusCode::NOT_FOUND, detail)
}
