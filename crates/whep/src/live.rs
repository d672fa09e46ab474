//! `GET /api/live`: the live streams, for the front page on the public listener.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use distributary_hub::{Stream, advice};
use serde::Serialize;

use crate::front_door::FrontDoor;
use crate::problem::Problem;

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
    /// Seconds since the publisher connected.
    uptime_seconds: u64,
    video: Option<LiveVideo>,
    audio: Option<LiveAudio>,
    /// Encoder settings to change, where viewers do not get all frames as published: publishers see
    /// the front page first.
    advice: Option<String>,
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

pub(crate) async fn live(State(front): State<FrontDoor>) -> Result<Response, Problem> {
    if !front.config.current().whep.list_streams || !front.access.is_open() {
        let detail = "This gateway does not list its streams.";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "requests are answered at the moment they come"
    )]
    let now = Instant::now();
    let live = front.hub.streams();
    let mut streams: Vec<_> = live
        .iter()
        .filter_map(|stream| LiveStream::of(stream, now))
        .collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    let body = Live {
        version: front.info.version,
        rtmp_port: front.info.rtmp.port(),
        streams,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

impl LiveStream {
    /// Describes the stream at `now`; `None` while it has no publisher.
    fn of(stream: &Stream, now: Instant) -> Option<Self> {
        let stats = stream.stats();
        let advice = advice::of(&stats);
        Some(Self {
            name: stream.name().to_string(),
            uptime_seconds: now.saturating_duration_since(stats.live_since?).as_secs(),
            video: stats.video.map(|track| LiveVideo {
                codec: track.codec.to_string(),
                width: track.width,
                height: track.height,
            }),
            audio: stats.audio.map(|track| LiveAudio {
                codec: track.codec.to_string(),
            }),
            advice,
        })
    }
}
