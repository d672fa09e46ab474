//! The admin API: the newest keyframe of a stream, for the dashboard.

use axum::extract::State;
use axum::response::Response;

use super::door::AdminDoor;
use crate::keyframe;
use crate::name::PathStream;
use crate::problem::Problem;

pub(super) async fn keyframe(
    State(door): State<AdminDoor>,
    PathStream(name): PathStream,
) -> Result<Response, Problem> {
    keyframe::response(&door.hub, &name)
}
