//! The admin API: viewers' addresses and publishers' names that are blocked for a time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use distributary_auth::{Block, BlockTarget};
use distributary_egress::engine::CloseError;
use distributary_names::StreamName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::answer::{fresh, now};
use super::door::AdminDoor;
use crate::closing;
use crate::offer::{self, is_of_type};
use crate::problem::Problem;

/// The media type of a request for a block.
const JSON: &str = "application/json";

/// Maximum size of a request for a block, in bytes. A stream's name has 255.
const MAX_BLOCK_LEN: usize = 4096;

/// The response of `GET /api/blocks`.
#[derive(Serialize)]
struct BlockList {
    blocks: Vec<BlockStatus>,
}

/// One block.
#[derive(Serialize)]
struct BlockStatus {
    id: u32,
    /// The address of the viewers; of an IPv6 address, its /64 network.
    viewer: Option<String>,
    /// The stream whose publishers are refused.
    publisher: Option<String>,
    /// Seconds until it ends.
    seconds: u64,
}

/// The body of `POST /api/blocks`: a viewer's address or a publisher's stream, and for how long.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBlock {
    #[serde(default, deserialize_with = "text")]
    viewer: Option<String>,
    #[serde(default, deserialize_with = "text")]
    publisher: Option<String>,
    #[serde(deserialize_with = "whole_seconds")]
    seconds: u64,
}

/// Reads a member that is a text if it is there; `null` is none.
fn text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    String::deserialize(value).map(Some)
}

/// Reads a whole number. JSON Schema takes 60.0 for one, too.
fn whole_seconds<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    let seconds = f64::deserialize(value)?;
    if seconds < 0.0 || seconds.fract() != 0.0 {
        return Err(D::Error::custom("seconds is no whole number"));
    }
    Ok(seconds as u64)
}

pub(super) async fn list(State(door): State<AdminDoor>) -> Response {
    let now = now();
    let blocks = door.blocks.list(now);
    fresh(BlockList {
        blocks: blocks
            .iter()
            .map(|block| BlockStatus::of(block, now))
            .collect(),
    })
}

/// Blocks an address or a name, and ends its viewers or its publishers.
pub(super) async fn add(
    State(door): State<AdminDoor>,
    request: Request,
) -> Result<Response, Problem> {
    let wanted = NewBlock::read(request).await?;
    let target = wanted.target()?;
    let now = now();
    let duration = Duration::from_secs(wanted.seconds);
    let block = door.blocks.add(target, duration, now);
    let block = block.map_err(|error| bad_request(format!("Nothing is blocked: {error}.")))?;
    tracing::info!(
        seconds = wanted.seconds,
        "{} are blocked by the admin API",
        block.target
    );
    end(&door, &block, now);
    let status = BlockStatus::of(&block, now);
    Ok((StatusCode::CREATED, fresh(status)).into_response())
}

pub(super) async fn remove(
    State(door): State<AdminDoor>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let is_removed = id.parse().is_ok_and(|id| door.blocks.remove(id));
    if !is_removed {
        let detail = "There is no such block; it may have ended.";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    tracing::info!(block = id, "block removed by the admin API");
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the viewers or the publishers that a block refuses from now on.
fn end(door: &AdminDoor, block: &Block, now: Instant) {
    match &block.target {
        BlockTarget::Publisher(name) => {
            if let Some(stream) = door.hub.stream(name) {
                stream.dismiss_all();
            }
        }
        BlockTarget::Viewer(_) => end_viewers(door, block, now),
    }
}

/// Ends the viewers that a block refuses: also those that have not connected yet, and prepared
/// pages. Sessions of a busy shard end as soon as it can be told.
fn end_viewers(door: &AdminDoor, block: &Block, now: Instant) {
    let players = door.hub.players();
    for player in players.list(None, now) {
        if block.is_of_viewer(player.address.ip()) {
            players.remove(&player.id.to_string());
        }
    }
    let mut sessions = door.engine.of_viewers(|ip| block.is_of_viewer(ip));
    sessions.retain(|id| door.engine.close(id) == Err(CloseError::Busy));
    if !sessions.is_empty() {
        let engine = door.engine.clone();
        tokio::spawn(async move {
            for id in sessions {
                closing::close(&engine, id).await;
            }
        });
    }
}

impl NewBlock {
    async fn read(request: Request) -> Result<Self, Problem> {
        if !is_of_type(request.headers(), JSON) {
            let detail = format!("A block has the Content-Type {JSON}.");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = offer::read(request, MAX_BLOCK_LEN).await?;
        serde_json::from_slice(&body)
            .map_err(|error| bad_request(format!("The block cannot be read: {error}.")))
    }

    fn target(&self) -> Result<BlockTarget, Problem> {
        match (&self.viewer, &self.publisher) {
            (Some(viewer), None) => viewer
                .parse::<IpAddr>()
                .map(BlockTarget::Viewer)
                .map_err(|_| bad_request(format!("{viewer:?} is not an IP address."))),
            (None, Some(publisher)) => StreamName::parse(publisher)
                .map(BlockTarget::Publisher)
                .map_err(|error| bad_request(format!("The publisher: {error}."))),
            _ => Err(bad_request(
                "Expected a viewer (an IP address) or a publisher (a stream), one of them.",
            )),
        }
    }
}

impl BlockStatus {
    fn of(block: &Block, now: Instant) -> Self {
        let (viewer, publisher) = match &block.target {
            BlockTarget::Viewer(ip) => (Some(ip.to_string()), None),
            BlockTarget::Publisher(name) => (None, Some(name.to_string())),
        };
        Self {
            id: block.id,
            viewer,
            publisher,
            seconds: block.until.saturating_duration_since(now).as_secs(),
        }
    }
}

fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
