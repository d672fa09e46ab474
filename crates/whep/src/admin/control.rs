//! Control functions of the admin API: end a publisher or a viewer, drain.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use distributary_egress::engine::CloseError;
use distributary_egress::session::ShortId;
use distributary_hub::TakeoverError;
use serde::{Deserialize, Serialize};

use super::answer::{fresh, now};
use super::door::AdminDoor;
use crate::admission::Drain;
use crate::name::PathStream;
use crate::problem::Problem;
use crate::query::Parameters;

/// The response of `GET /api/drain`.
#[derive(Serialize)]
struct DrainStatus {
    /// The gateway admits no new viewers.
    draining: bool,
    /// Viewers that are still connected.
    sessions: usize,
}

/// The query string of requests about one publisher of a stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Its number among the publishers of the stream.
    id: Option<u64>,
}

/// Ends a publisher of a stream: the active one if no other is named. Most encoders reconnect; only
/// a block or authorization keeps a publisher out.
pub(super) async fn end_publisher(
    State(door): State<AdminDoor>,
    PathStream(name): PathStream,
    Parameters(which): Parameters<Which>,
) -> Result<StatusCode, Problem> {
    let stream = door.hub.stream(&name);
    let is_ended = stream.is_some_and(|stream| match which.id {
        Some(id) => stream.dismiss(id),
        None => stream.dismiss_publisher(),
    });
    if !is_ended {
        let detail = match which.id {
            Some(id) => format!("The stream {name} has no publisher {id}; it may have left."),
            None => format!("Nobody publishes {name}."),
        };
        return Err(Problem::new(StatusCode::NOT_FOUND, detail).about(&name));
    }
    tracing::info!(stream = %name, id = which.id, "publisher ended by the admin API");
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a standby take over with its next keyframe: of those that send, the one that has waited for
/// longest if no other is named.
pub(super) async fn promote_standby(
    State(door): State<AdminDoor>,
    PathStream(name): PathStream,
    Parameters(which): Parameters<Which>,
) -> Result<StatusCode, Problem> {
    let stream = door.hub.stream(&name);
    let requested = stream
        .ok_or(TakeoverError::NoStandby)
        .and_then(|stream| stream.request_takeover(which.id, now()));
    let error = match requested {
        Ok(id) => {
            // Without an id, it is a standby of another node.
            tracing::info!(stream = %name, id, "takeover by a standby requested by the admin API");
            return Ok(StatusCode::ACCEPTED);
        }
        Err(error) => error,
    };
    let (status, detail) = match (error, which.id) {
        (TakeoverError::NoStandby, Some(id)) => (
            StatusCode::NOT_FOUND,
            format!("The stream {name} has no standby {id}; it may have left."),
        ),
        (TakeoverError::NoStandby, None) => (
            StatusCode::NOT_FOUND,
            format!("Nobody stands by for {name}."),
        ),
        (TakeoverError::Silent, Some(id)) => (
            StatusCode::CONFLICT,
            format!("The standby {id} of {name} sends no frames: check its encoder."),
        ),
        (TakeoverError::Silent, None) => (
            StatusCode::CONFLICT,
            format!("No standby of {name} sends frames: check the encoders."),
        ),
    };
    Err(Problem::new(status, detail).about(&name))
}

/// Ends the session of a viewer, or an RTMP player.
pub(super) async fn end_viewer(
    State(door): State<AdminDoor>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id.map_err(|_| no_such_viewer())?;
    let kicked = id
        .parse::<ShortId>()
        .map_or(Err(CloseError::UnknownSession), |id| door.engine.kick(id));
    match kicked {
        Err(CloseError::UnknownSession) if !door.hub.players().remove(&id) => {
            return Err(no_such_viewer());
        }
        Ok(()) | Err(CloseError::UnknownSession) => {}
        Err(busy) => return Err(busy.into()),
    }
    tracing::info!(viewer = id, "viewer ended by the admin API");
    Ok(StatusCode::NO_CONTENT)
}

fn no_such_viewer() -> Problem {
    let detail = "There is no such viewer; it may have left.";
    Problem::new(StatusCode::NOT_FOUND, detail)
}

pub(super) async fn drain(State(door): State<AdminDoor>) -> Response {
    drain_status(&door)
}

/// Stops admitting viewers, until [`end_drain`] or the end of the process.
pub(super) async fn begin_drain(State(door): State<AdminDoor>) -> Response {
    if door.admission.drain(Drain::default()) {
        tracing::info!("draining, requested by the admin API: new viewers are refused");
    }
    drain_status(&door)
}

pub(super) async fn end_drain(State(door): State<AdminDoor>) -> Response {
    if door.admission.resume() {
        tracing::info!("no longer draining: new viewers are admitted");
    }
    drain_status(&door)
}

fn drain_status(door: &AdminDoor) -> Response {
    fresh(DrainStatus {
        draining: door.admission.is_draining(),
        sessions: door.hub.viewers().count(),
    })
}
