//! `GET /api/live`: the live streams, for the front page on the public listener.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use distributary_hub::Stream;
use serde::Serialize;

use crate::front_door::FrontDoor;
use crate::path::has_page;
use crate::problem::Problem;

/// Time for which a list is sent again: everybody may ask for it, as often as they like.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last list in JSON, and when it was made. A clone is a handle to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastList(Arc<Mutex<Option<(Instant, Bytes)>>>);

/// The response: the live streams, and the port to publish to.
#[derive(Serialize)]
struct Live {
    version: &'static str,
    rtmp_port: u16,
    /// Sorted by name.
    streams: Vec<LiveStream>,
}

/// One live stream. Its publisher and its viewers are shown by the admin API only.
#[derive(Serialize)]
struct LiveStream {
    name: String,
    /// True if it has a player page; a name that is a path of the gateway has none.
    has_page: bool,
    /// Seconds since the publisher connected.
    uptime_seconds: u64,
    video: Option<LiveVideo>,
    audio: Option<LiveAudio>,
}

#[derive(Serialize)]
struct LiveVideo {
    codec: String,
    width: u32,
    height: u32,
}

#[derive(Serialize)]
struct LiveAudio {
    codec: String,
}

pub(crate) async fn live(
    State(front): State<FrontDoor>,
    Extension(last): Extension<LastList>,
) -> Result<Response, Problem> {
    if !front.config.current().whep.list_streams || !front.access.is_open() {
        let detail = "This gateway does not list its streams.";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    let now = tokio::time::Instant::now().into_std();
    let list = last.get(now, || Live::of(&front, now))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, list).into_response())
}

impl LastList {
    /// Returns the list, which is made anew if it is too old at `now`.
    fn get(&self, now: Instant, list: impl FnOnce() -> Live) -> Result<Bytes, Problem> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, json)) = &*last
            && now.saturating_duration_since(*at) < MAX_AGE
        {
            return Ok(json.clone());
        }
        let json = serde_json::to_vec(&list()).map_err(|error| {
            let detail = format!("The list of streams cannot be written: {error}.");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
        })?;
        let json = Bytes::from(json);
        *last = Some((now, json.clone()));
        Ok(json)
    }
}

impl Live {
    /// Lists the live streams at `now`.
    fn of(front: &FrontDoor, now: Instant) -> Self {
        let live = front.hub.streams();
        let mut streams: Vec<_> = live
            .iter()
            .filter_map(|stream| LiveStream::of(stream, now))
            .collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            version: front.info.version,
            rtmp_port: front.info.rtmp.port(),
            streams,
        }
    }
}

impl LiveStream {
    /// Describes the stream at `now`; `None` while it has no publisher.
    fn of(stream: &Stream, now: Instant) -> Option<Self> {
        let stats = stream.stats();
        Some(Self {
            name: stream.name().to_string(),
            has_page: has_page(stream.name()),
            uptime_seconds: now.saturating_duration_since(stats.live_since?).as_secs(),
            video: stats.video.map(|track| LiveVideo {
                codec: track.codec.to_string(),
                width: track.width,
                height: track.height,
            }),
            audio: stats.audio.map(|track| LiveAudio {
                codec: track.codec.to_string(),
            }),
        })
    }
}
