//! `GET /api/events`: the gateway and its streams once a second, and what is new in the journal, as
//! server-sent events (HTML standard, section 9.2).

use std::convert::Infallible;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::watch;

use super::answer::now;
use super::door::AdminDoor;
use super::graphs::{EndedStatus, ended_streams};
use super::journal::entries_after;
use super::server::ServerStatus;
use super::shared_snapshots::SharedSnapshots;
use super::streams::{StreamStatus, statuses};

/// Maximum number of ended streams in a snapshot.
const MAX_ENDED: usize = 100;

/// Makes nginx pass events on as they come.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// The event `snapshot`.
#[derive(Serialize)]
struct Snapshot {
    server: ServerStatus,
    streams: Vec<StreamStatus>,
    /// The streams that have ended last.
    ended: Vec<EndedStatus>,
}

impl Snapshot {
    fn of(door: &AdminDoor) -> Self {
        let now = now();
        Self {
            server: ServerStatus::of(door, now),
            streams: statuses(door, now),
            ended: ended_streams(door, MAX_ENDED),
        }
    }
}

pub(super) async fn events(
    State(door): State<AdminDoor>,
    Extension(snapshots): Extension<SharedSnapshots>,
) -> Response {
    let shown = door.clone();
    let feed = Feed {
        snapshots: snapshots.follow(move || event("snapshot", Snapshot::of(&shown))),
        door,
        journal: None,
        known: 0,
    };
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let headers = [
        NO_BUFFERING,
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// The events of one client.
struct Feed {
    /// The event of each second. A slow client skips to the newest.
    snapshots: watch::Receiver<Bytes>,
    door: AdminDoor,
    /// The entries of the journal that are due.
    journal: Option<Bytes>,
    /// Number of the last entry of the journal that was sent.
    known: u64,
}

impl Feed {
    /// Returns the next event: each second a snapshot, and then the entries of the journal that are
    /// new. The feed ends if no more snapshots come.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(journal) = self.journal.take() {
            return Some(journal);
        }
        self.snapshots.changed().await.ok()?;
        let snapshot = self.snapshots.borrow_and_update().clone();
        let entries = entries_after(&self.door, self.known, now());
        if let Some(last) = entries.last_number() {
            self.known = last;
            self.journal = Some(event("journal", entries));
        }
        Some(snapshot)
    }
}

/// Returns an event on the wire. JSON has no line breaks.
fn event(name: &str, data: impl Serialize) -> Bytes {
    match serde_json::to_string(&data) {
        Ok(json) => format!("event: {name}\ndata: {json}\n\n").into(),
        // Data always serializes; if it did not, a comment would keep the feed going.
        Err(_) => Bytes::from_static(b": not serializable\n\n"),
    }
}
