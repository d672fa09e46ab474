//! The admin API: the last events.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use distributary_hub::JournalEntry;
use serde::{Deserialize, Serialize};

use super::answer::{fresh, now};
use super::door::AdminDoor;
use crate::problem::Problem;

/// The query parameters of `GET /api/journal`.
#[derive(Deserialize)]
pub(super) struct JournalQuery {
    /// List only the entries with higher numbers.
    #[serde(default)]
    after: u64,
}

/// The response of `GET /api/journal`: at most 200 entries, the oldest first.
#[derive(Serialize)]
pub(super) struct EntryList {
    entries: Vec<Entry>,
}

/// One event.
#[derive(Serialize)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// Seconds since 1970.
    time: f64,
    kind: &'static str,
    stream: Option<String>,
    address: Option<String>,
    /// The reason, or the advice; may be empty.
    detail: String,
    /// Number of equal events, of which this is the last.
    count: u64,
}

pub(super) async fn journal(
    State(door): State<AdminDoor>,
    query: Result<Query<JournalQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    Ok(fresh(entries_after(&door, query.after, now())))
}

/// Returns the entries with numbers above `number`, at `now`.
pub(super) fn entries_after(door: &AdminDoor, number: u64, now: Instant) -> EntryList {
    let entries = door.hub.journal().since(number);
    let wall = wall_clock();
    EntryList {
        entries: entries
            .into_iter()
            .map(|entry| Entry::of(entry, now, wall))
            .collect(),
    }
}

impl EntryList {
    /// Returns the number of the last entry, if there is one.
    pub(super) fn last_number(&self) -> Option<u64> {
        self.entries.last().map(|entry| entry.number)
    }
}

impl Entry {
    fn of(entry: JournalEntry, now: Instant, wall: SystemTime) -> Self {
        let time = wall.checked_sub(now.saturating_duration_since(entry.at));
        let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let millis = since.unwrap_or_default().as_millis();
        Self {
            number: entry.number,
            time: millis as f64 / 1000.0,
            kind: entry.kind.as_str(),
            stream: entry.stream.map(|stream| stream.to_string()),
            address: entry.address.map(|address| address.to_string()),
            detail: entry.detail.to_string(),
            count: entry.count,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "requests are answered at the moment they come"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
