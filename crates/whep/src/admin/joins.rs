//! `GET /api/joins`: how many viewers were answered, how many connected, and why others did not.

use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use distributary_egress::engine::{FailedJoin, JoinCounts, JoinFailure, JoinStats, RECENT};
use serde::Serialize;

use super::answer::{fresh, now};
use super::door::AdminDoor;

/// The response.
#[derive(Serialize)]
struct JoinList {
    #[serde(flatten)]
    counts: JoinStatus,
    /// The last failed joins, the newest first.
    last_failed: Vec<FailedStatus>,
}

/// Joins since the start and in the last minutes.
#[derive(Serialize)]
pub(super) struct JoinStatus {
    total: CountsStatus,
    recent: CountsStatus,
    /// The time that `recent` covers.
    recent_seconds: u64,
}

/// Numbers of joins.
#[derive(Serialize)]
struct CountsStatus {
    /// Answered offers.
    asked: u64,
    /// Viewers that completed the handshake.
    connected: u64,
    failed: FailedCounts,
}

/// Failed joins by reason.
#[derive(Serialize)]
struct FailedCounts {
    unreachable: u64,
    handshake: u64,
    overload: u64,
}

/// A failed join.
#[derive(Serialize)]
struct FailedStatus {
    /// The first digits of the session id, as in the log.
    viewer: String,
    stream: String,
    /// The address of the viewer's HTTP request.
    address: Option<String>,
    reason: &'static str,
    seconds_ago: u64,
    /// The player's report; not verified.
    report: Option<Box<str>>,
}

pub(super) async fn joins(State(door): State<AdminDoor>) -> Response {
    let (stats, now) = (door.engine.join_stats(), now());
    fresh(JoinList {
        counts: (&stats).into(),
        last_failed: stats
            .failed
            .into_iter()
            .map(|join| FailedStatus::of(join, now))
            .collect(),
    })
}

impl From<&JoinStats> for JoinStatus {
    fn from(stats: &JoinStats) -> Self {
        Self {
            total: (&stats.total).into(),
            recent: (&stats.recent).into(),
            recent_seconds: RECENT.as_secs(),
        }
    }
}

impl From<&JoinCounts> for CountsStatus {
    fn from(counts: &JoinCounts) -> Self {
        Self {
            asked: counts.asked,
            connected: counts.connected,
            failed: FailedCounts {
                unreachable: counts.failed(JoinFailure::Unreachable),
                handshake: counts.failed(JoinFailure::Handshake),
                overload: counts.failed(JoinFailure::Overload),
            },
        }
    }
}

impl FailedStatus {
    fn of(join: FailedJoin, now: Instant) -> Self {
        Self {
            viewer: join.id.to_string(),
            stream: join.stream.to_string(),
            address: join.address.map(|address| address.to_string()),
            reason: join.reason.as_str(),
            seconds_ago: now.saturating_duration_since(join.at).as_secs(),
            report: join.report,
        }
    }
}
