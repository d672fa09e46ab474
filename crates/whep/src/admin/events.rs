//! `GET /api/events`: the gateway and its streams once a second, and what is new in the journal, as
//! server-sent events (HTML standard, section 9.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::answer::now;
use super::door::AdminDoor;
use super::graphs::{EndedStatus, ended_streams};
use super::journal::entries_after;
use super::server::ServerStatus;
use super::streams::{StreamStatus, statuses};

/// Time between two events.
const INTERVAL: Duration = Duration::from_secs(1);

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

pub(super) async fn events(State(door): State<AdminDoor>) -> Response {
    let mut ticks = interval(INTERVAL);
    // A slow reader skips to the newest snapshot.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let feed = Feed {
        door,
        ticks,
        due: VecDeque::new(),
        known: 0,
    };
    let events = stream::unfold(feed, async |mut feed| {
        let event = feed.next().await;
        Some((Ok::<_, Infallible>(event), feed))
    });
    let headers = [NO_BUFFERING, (header::CACHE_CONTROL, "no-store")];
    (headers, Sse::new(events)).into_response()
}

/// The events of one client.
struct Feed {
    door: AdminDoor,
    ticks: Interval,
    /// Events of the current second.
    due: VecDeque<Event>,
    /// Number of the last entry of the journal that was sent.
    known: u64,
}

impl Feed {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            self.ticks.tick().await;
            self.prepare();
        }
    }

    /// Prepares the events of this second: a snapshot, and the entries of the journal that are new.
    fn prepare(&mut self) {
        let now = now();
        let snapshot = Snapshot {
            server: ServerStatus::of(&self.door, now),
            streams: statuses(&self.door, now),
            ended: ended_streams(&self.door, MAX_ENDED),
        };
        self.due.push_back(event("snapshot", snapshot));
        let entries = entries_after(&self.door, self.known, now);
        if let Some(last) = entries.last_number() {
            self.known = last;
            self.due.push_back(event("journal", entries));
        }
    }
}

fn event(name: &str, data: impl Serialize) -> Event {
    let event = Event::default().event(name).json_data(data);
    // Data always serializes; if it did not, a comment would keep the feed going.
    event.unwrap_or_else(|_| Event::default().comment("not serializable"))
}
