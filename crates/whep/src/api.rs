//! The API: what is live, as JSON.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use distributary_hub::{BFrameAdvice, PublisherInfo, Stream, StreamStats};
use distributary_media::h264::{BFrames, Limitation};
use distributary_media::{AudioTrack, VideoTrack};
use distributary_webrtc::engine::LatencySummary;
use serde::Serialize;

use crate::router::FrontDoor;

/// `GET /api/streams`: the live streams, by name.
#[derive(Serialize)]
struct StreamList {
    streams: Vec<StreamSummary>,
}

/// One live stream.
#[derive(Serialize)]
struct StreamSummary {
    name: String,
    /// Seconds since its publisher came.
    uptime_seconds: u64,
    video: Option<VideoSummary>,
    audio: Option<AudioSummary>,
    /// What its publisher says about itself, once it has.
    publisher: Option<PublisherSummary>,
    /// Its B-frames: `none`, `non-reference` or `reference`, once that is certain.
    b_frames: Option<&'static str>,
    /// What to change in the encoder, and why, where viewers are not sent all pictures as they are.
    advice: Option<String>,
    video_frames: u64,
    audio_frames: u64,
    /// Bytes of coded media since the stream began.
    bytes: u64,
}

#[derive(Serialize)]
struct VideoSummary {
    codec: String,
    width: u32,
    height: u32,
    /// `profile-level-id` of RFC 6184 section 8.1, six hexadecimal digits.
    profile_level_id: String,
}

#[derive(Serialize)]
struct AudioSummary {
    codec: String,
    sample_rate: u32,
    channels: u8,
}

#[derive(Serialize)]
struct PublisherSummary {
    encoder: Option<String>,
    frame_rate: Option<f64>,
    video_kbps: Option<f64>,
    audio_kbps: Option<f64>,
    /// Tracks beside the two that are used.
    other_tracks: Vec<TrackSummary>,
}

#[derive(Serialize)]
struct TrackSummary {
    kind: String,
    id: u8,
    codec: String,
}

/// `GET /api/server`: what a publisher has to know about this gateway, and how it fares.
#[derive(Serialize)]
struct ServerSummary {
    version: &'static str,
    rtmp_port: u16,
    fan_out: FanOut,
}

/// How long pictures took from their coming in to their going out to the last viewer of a shard, over
/// the last whole ten seconds.
#[derive(Serialize)]
struct FanOut {
    pictures: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl From<LatencySummary> for FanOut {
    fn from(summary: LatencySummary) -> Self {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self {
            pictures: summary.count,
            p50_ms: millis(summary.p50),
            p99_ms: millis(summary.p99),
            max_ms: millis(summary.max),
        }
    }
}

pub(crate) async fn streams(State(front): State<FrontDoor>) -> Response {
    #[expect(
        clippy::disallowed_methods,
        reason = "requests are answered at the moment they come"
    )]
    let now = Instant::now();
    let live = front.hub.streams();
    let mut streams: Vec<_> = live
        .iter()
        .filter_map(|stream| StreamSummary::of(stream, now))
        .collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    fresh(StreamList { streams })
}

pub(crate) async fn server(State(front): State<FrontDoor>) -> Response {
    fresh(ServerSummary {
        version: front.info.version,
        rtmp_port: front.info.rtmp.port(),
        fan_out: front.engine.fan_out().into(),
    })
}

pub(crate) fn fresh(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

impl StreamSummary {
    /// The stream at `now`; `None` while it has no publisher.
    fn of(stream: &Stream, now: Instant) -> Option<Self> {
        let StreamStats {
            live_since,
            info,
            video,
            audio,
            b_frames,
            video_frames,
            audio_frames,
            bytes,
            ..
        } = stream.stats();
        Some(Self {
            name: stream.name().to_string(),
            uptime_seconds: now.saturating_duration_since(live_since?).as_secs(),
            video: video.as_deref().map(VideoSummary::from),
            audio: audio.as_deref().map(AudioSummary::from),
            publisher: info.as_deref().map(PublisherSummary::from),
            b_frames: b_frames.map(BFrames::as_str),
            advice: advice(b_frames, video.as_deref()),
            video_frames,
            audio_frames,
            bytes,
        })
    }
}

/// What a publisher should change, if there is anything.
fn advice(b_frames: Option<BFrames>, video: Option<&VideoTrack>) -> Option<String> {
    let consequence = match b_frames {
        None | Some(BFrames::None) => {
            let limitation = video.and_then(Limitation::of_track);
            return limitation.map(|limitation| format!("Know that {limitation}."));
        }
        Some(BFrames::NonReference) => {
            "They are left out, so the picture is less smooth than it could be"
        }
        Some(BFrames::Reference) => "Some viewers see no more than the keyframes",
    };
    Some(format!(
        "The stream has B-frames, which WebRTC has no place for. {consequence}: {BFrameAdvice}."
    ))
}

impl From<&VideoTrack> for VideoSummary {
    fn from(track: &VideoTrack) -> Self {
        let [profile, constraints, level] = track.profile_level_id;
        Self {
            codec: track.codec.to_string(),
            width: track.width,
            height: track.height,
            profile_level_id: format!("{profile:02x}{constraints:02x}{level:02x}"),
        }
    }
}

impl From<&PublisherInfo> for PublisherSummary {
    fn from(info: &PublisherInfo) -> Self {
        let others = info.other_tracks.iter();
        Self {
            encoder: info.encoder.clone(),
            frame_rate: info.frame_rate,
            video_kbps: info.video_kbps,
            audio_kbps: info.audio_kbps,
            other_tracks: others
                .map(|track| TrackSummary {
                    kind: track.kind.to_string(),
                    id: track.id,
                    codec: track.codec.clone(),
                })
                .collect(),
        }
    }
}

impl From<&AudioTrack> for AudioSummary {
    fn from(track: &AudioTrack) -> Self {
        Self {
            codec: track.codec.to_string(),
            sample_rate: track.sample_rate,
            channels: track.channels,
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    use bytes::Bytes;
    use distributary_hub::{Hub, HubConfig, StreamName};
    use distributary_media::flv::{OtherTrack, TagKind};
    use distributary_media::{AudioCodec, VideoCodec};

    #[test]
    fn a_stream_is_described_by_its_tracks_and_its_age() {
        let start = Instant::now();
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, start).unwrap();
        publisher.set_video_track(VideoTrack {
            codec: VideoCodec::H264,
            width: 1280,
            height: 720,
            profile_level_id: [0x42, 0xc0, 0x1f],
            config: Bytes::new(),
        });
        publisher.set_audio_track(AudioTrack {
            codec: AudioCodec::Aac,
            sample_rate: 44_100,
            channels: 2,
            config: Bytes::new(),
        });
        publisher.set_info(PublisherInfo {
            encoder: Some("Lavf59".into()),
            frame_rate: Some(30.0),
            other_tracks: vec![OtherTrack {
                kind: TagKind::Audio,
                id: 1,
                codec: "Opus".into(),
            }],
            ..PublisherInfo::default()
        });
        let summary =
            StreamSummary::of(publisher.stream(), start + Duration::from_millis(61_900)).unwrap();
        assert_eq!(
            serde_json::to_value(summary).unwrap(),
            serde_json::json!({
                "name": "live/test",
                "uptime_seconds": 61,
                "video": {
                    "codec": "H264",
                    "width": 1280,
                    "height": 720,
                    "profile_level_id": "42c01f",
                },
                "audio": { "codec": "AAC", "sample_rate": 44_100, "channels": 2 },
                "publisher": {
                    "encoder": "Lavf59",
                    "frame_rate": 30.0,
                    "video_kbps": null,
                    "audio_kbps": null,
                    "other_tracks": [{ "kind": "audio", "id": 1, "codec": "Opus" }],
                },
                "b_frames": null,
                "advice": null,
                "video_frames": 0,
                "audio_frames": 0,
                "bytes": 0,
            })
        );
        let stream = std::sync::Arc::clone(publisher.stream());
        drop(publisher);
        assert!(
            StreamSummary::of(&stream, start).is_none(),
            "a stream without a publisher is not live"
        );
    }
}
