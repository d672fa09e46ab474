//! `GET /api/events`: the gateway and its streams once a second, as server-sent events (HTML
//! standard, section 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::answer::now;
use super::door::AdminDoor;
use super::server::ServerStatus;
use super::streams::{StreamStatus, statuses};

/// Time between two events.
const INTERVAL: Duration = Duration::from_secs(1);

/// Makes nginx pass events on as they come.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// The event `snapshot`.
#[derive(Serialize)]
struct Snapshot {
    server: ServerStatus,
    streams: Vec<StreamStatus>,
}

pub(super) async fn events(State(door): State<AdminDoor>) -> Response {
    let mut ticks = interval(INTERVAL);
    // A slow reader skips to the newest snapshot.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let events = stream::unfold((ticks, door), async |(mut ticks, door)| {
        ticks.tick().await;
        let now = now();
        let snapshot = Snapshot {
            server: ServerStatus::of(&door, now),
            streams: statuses(&door, now),
        };
        let event = Event::default().event("snapshot").json_data(snapshot);
        // A snapshot always serializes; if one did not, a comment would keep the feed going.
        let event = event.unwrap_or_else(|_| Event::default().comment("not serializable"));
        Some((Ok::<_, Infallible>(event), (ticks, door)))
    });
    let headers = [NO_BUFFERING, (header::CACHE_CONTROL, "no-store")];
    (headers, Sse::new(events)).into_response()
}
