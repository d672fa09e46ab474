//! The admin API: the live streams, as they are and as they are measured.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use distributary_hub::{Gop, Hub, PublisherInfo, PublisherStats, Stream, StreamStats};
use distributary_media::h264::BFrames;
use distributary_media::{AudioTrack, VideoTrack};
use serde::Serialize;

use super::watching::{Watching, watching};
use super::{AdminDoor, fresh, now};
use crate::advice;
use crate::name::PathStream;
use crate::problem::Problem;

/// `GET /api/streams`: the live streams, by name.
#[derive(Serialize)]
struct StreamList {
    streams: Vec<StreamSummary>,
}

/// One live stream.
#[derive(Serialize)]
pub(super) struct StreamSummary {
    name: String,
    /// Seconds since its publisher came.
    uptime_seconds: u64,
    video: Option<VideoSummary>,
    audio: Option<AudioSummary>,
    publisher: PublisherSummary,
    /// Its B-frames: `none`, `non-reference` or `reference`, once that is certain.
    b_frames: Option<&'static str>,
    /// What to change in the encoder, and why, where viewers are not sent all pictures as they are.
    advice: Option<String>,
    /// What it is encoded anew into, while there are viewers that cannot show it as it is.
    transcode: Option<TranscodeSummary>,
    cache: CacheSummary,
    viewers: ViewerSummary,
    video_frames: u64,
    audio_frames: u64,
    /// Bytes of coded media since the stream began.
    bytes: u64,
    /// Frames that a shard, or the making of Opus, was too far behind to take.
    dropped_frames: u64,
}

/// The video: what it is, and what was measured over the last seconds.
#[derive(Serialize)]
struct VideoSummary {
    codec: String,
    width: u32,
    height: u32,
    /// `profile-level-id` of RFC 6184 section 8.1, six hexadecimal digits.
    profile_level_id: String,
    frame_rate: f64,
    bitrate_bps: u64,
    /// The last whole group of pictures.
    gop: Option<GroupSummary>,
}

/// What is made of a stream for viewers that cannot show it as it is.
#[derive(Serialize)]
struct TranscodeSummary {
    /// Seconds since it began.
    uptime_seconds: u64,
    video: Option<VideoSummary>,
}

/// What is kept for newcomers: the pictures since the last keyframe.
#[derive(Serialize)]
struct CacheSummary {
    bytes: usize,
    seconds: f64,
    /// The bound that these have outgrown: then newcomers wait for the next keyframe.
    overflow: Option<&'static str>,
}

#[derive(Serialize)]
struct GroupSummary {
    seconds: f64,
    pictures: u64,
}

#[derive(Serialize)]
struct AudioSummary {
    codec: String,
    sample_rate: u32,
    channels: u8,
    bitrate_bps: u64,
}

/// Where the publisher is, how evenly it sends, and what it says about itself.
#[derive(Default, Serialize)]
struct PublisherSummary {
    /// `null` for a stream that is pulled.
    address: Option<String>,
    encoder: Option<String>,
    /// Variation of the time that pictures take to come.
    jitter_ms: f64,
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

/// Those who watch the stream, together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct ViewerSummary {
    /// Viewers that are sent media.
    connected: usize,
    /// Those of them that are RTMP players.
    rtmp: usize,
    /// Those of them who are sent what was encoded anew.
    transcoded: usize,
    /// Those whose path is slower than the stream.
    limited: usize,
    /// Bits of media per second that are sent to them together.
    bitrate_bps: u64,
}

pub(super) async fn list(State(door): State<AdminDoor>) -> Response {
    fresh(StreamList {
        streams: summaries(&door, now()),
    })
}

pub(super) async fn one(
    State(door): State<AdminDoor>,
    PathStream(name): PathStream,
) -> Result<Response, Problem> {
    let viewers = viewers(&watching(&door, Some(&name), now()));
    let stream = door.hub.stream(&name);
    stream
        .and_then(|stream| StreamSummary::of(&stream, &door.hub, &viewers, now()))
        .map(fresh)
        .ok_or_else(|| {
            let detail = format!("The stream {name} is not live.");
            Problem::new(StatusCode::NOT_FOUND, detail).about(&name)
        })
}

/// All live streams at `now`, by name.
pub(super) fn summaries(door: &AdminDoor, now: Instant) -> Vec<StreamSummary> {
    let viewers = viewers(&watching(door, None, now));
    let live = door.hub.streams();
    let mut streams: Vec<_> = live
        .iter()
        .filter_map(|stream| StreamSummary::of(stream, &door.hub, &viewers, now))
        .collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    streams
}

/// Adds the viewers of each stream up, whether they are sent it or what was made of it.
fn viewers(watching: &[Watching]) -> HashMap<String, ViewerSummary> {
    let mut sums: HashMap<String, ViewerSummary> = HashMap::new();
    for viewer in watching.iter().filter(|viewer| viewer.is_connected()) {
        let stream = viewer.stream();
        let sum = sums.entry(stream.as_str().to_owned()).or_default();
        sum.connected += 1;
        sum.bitrate_bps += viewer.bitrate();
        match viewer {
            Watching::Session(report) => {
                sum.transcoded += usize::from(stream.is_rendition());
                sum.limited += usize::from(report.stats.peer.is_limited);
            }
            Watching::Player(_) => sum.rtmp += 1,
        }
    }
    sums
}

impl StreamSummary {
    /// The stream at `now`; `None` while it has no publisher.
    fn of(
        stream: &Stream,
        hub: &Hub,
        viewers: &HashMap<String, ViewerSummary>,
        now: Instant,
    ) -> Option<Self> {
        let stats = stream.stats();
        let advice = advice::of(&stats);
        let StreamStats {
            live_since,
            info,
            video,
            audio,
            b_frames,
            video_frames,
            audio_frames,
            bytes,
            dropped,
            cached_bytes,
            cached,
            cache_overflow,
            missing_video: _,
            missing_audio: _,
        } = stats;
        let rates = stream.publisher_stats(now);
        Some(Self {
            name: stream.name().to_string(),
            uptime_seconds: now.saturating_duration_since(live_since?).as_secs(),
            video: video
                .as_deref()
                .map(|track| VideoSummary::of(track, &rates)),
            audio: audio.map(|track| AudioSummary {
                bitrate_bps: rates.audio_bps,
                ..AudioSummary::from(&*track)
            }),
            publisher: PublisherSummary {
                jitter_ms: tenths(millis(rates.jitter)),
                ..info
                    .as_deref()
                    .map(PublisherSummary::from)
                    .unwrap_or_default()
            },
            b_frames: b_frames.map(BFrames::as_str),
            advice,
            transcode: hub
                .live_rendition(stream.name())
                .and_then(|rendition| TranscodeSummary::of(&rendition, now)),
            cache: CacheSummary {
                bytes: cached_bytes,
                seconds: cached.as_millis() as f64 / 1000.0,
                overflow: cache_overflow.map(advice::bound),
            },
            viewers: viewers
                .get(stream.name().as_str())
                .copied()
                .unwrap_or_default(),
            video_frames,
            audio_frames,
            bytes,
            dropped_frames: dropped,
        })
    }
}

impl TranscodeSummary {
    /// The rendition of a stream at `now`; `None` when it has just ended.
    fn of(rendition: &Stream, now: Instant) -> Option<Self> {
        let StreamStats {
            live_since, video, ..
        } = rendition.stats();
        let rates = rendition.publisher_stats(now);
        Some(Self {
            uptime_seconds: now.saturating_duration_since(live_since?).as_secs(),
            video: video
                .as_deref()
                .map(|track| VideoSummary::of(track, &rates)),
        })
    }
}

impl From<Gop> for GroupSummary {
    fn from(gop: Gop) -> Self {
        Self {
            seconds: gop.duration.as_millis() as f64 / 1000.0,
            pictures: gop.frames,
        }
    }
}

/// A duration in milliseconds.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Rounded to one decimal: more means nothing here.
pub(super) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl VideoSummary {
    fn of(track: &VideoTrack, rates: &PublisherStats) -> Self {
        let [profile, constraints, level] = track.profile_level_id;
        Self {
            codec: track.codec.to_string(),
            width: track.width,
            height: track.height,
            profile_level_id: format!("{profile:02x}{constraints:02x}{level:02x}"),
            frame_rate: tenths(rates.frame_rate),
            bitrate_bps: rates.video_bps,
            gop: rates.gop.map(GroupSummary::from),
        }
    }
}

impl From<&PublisherInfo> for PublisherSummary {
    fn from(info: &PublisherInfo) -> Self {
        let others = info.other_tracks.iter();
        Self {
            address: info.address.map(|address| canonical(address).to_string()),
            jitter_ms: 0.0,
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

/// An address as people write it: one of IPv4 that came over an IPv6 socket is shown as such.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl From<&AudioTrack> for AudioSummary {
    fn from(track: &AudioTrack) -> Self {
        Self {
            codec: track.codec.to_string(),
            sample_rate: track.sample_rate,
            channels: track.channels,
            bitrate_bps: 0,
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
    use distributary_hub::{HubConfig, MissingVideo};
    use distributary_media::flv::{OtherTrack, TagKind};
    use distributary_media::{AudioCodec, Frame, MediaTime, VideoCodec, VideoFrame};
    use distributary_names::StreamName;

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
            address: Some("[::ffff:192.0.2.7]:40000".parse().unwrap()),
            encoder: Some("Lavf59".into()),
            frame_rate: Some(30.0),
            other_tracks: vec![OtherTrack {
                kind: TagKind::Audio,
                id: 1,
                codec: "Opus".into(),
            }],
            ..PublisherInfo::default()
        });
        let viewers = HashMap::from([(
            name.to_string(),
            ViewerSummary {
                connected: 2,
                rtmp: 0,
                transcoded: 1,
                limited: 1,
                bitrate_bps: 5_000_000,
            },
        )]);
        let later = start + Duration::from_millis(61_900);
        let summary = StreamSummary::of(publisher.stream(), &hub, &viewers, later).unwrap();
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
                    "frame_rate": 0.0,
                    "bitrate_bps": 0,
                    "gop": null,
                },
                "audio": {
                    "codec": "AAC",
                    "sample_rate": 44_100,
                    "channels": 2,
                    "bitrate_bps": 0,
                },
                "publisher": {
                    "address": "192.0.2.7:40000",
                    "jitter_ms": 0.0,
                    "encoder": "Lavf59",
                    "frame_rate": 30.0,
                    "video_kbps": null,
                    "audio_kbps": null,
                    "other_tracks": [{ "kind": "audio", "id": 1, "codec": "Opus" }],
                },
                "b_frames": null,
                "advice": null,
                "transcode": null,
                "cache": { "bytes": 0, "seconds": 0.0, "overflow": null },
                "viewers": {
                    "connected": 2,
                    "rtmp": 0,
                    "transcoded": 1,
                    "limited": 1,
                    "bitrate_bps": 5_000_000,
                },
                "video_frames": 0,
                "audio_frames": 0,
                "bytes": 0,
                "dropped_frames": 0,
            })
        );
        // A picture and then one that comes longer after it than is kept.
        for (millis, keyframe) in [(0, true), (40_000, false)] {
            let time = MediaTime::from_millis(millis);
            let frame = VideoFrame {
                codec: VideoCodec::H264,
                pts: time,
                dts: time,
                keyframe,
                units: vec![Bytes::from_static(&[0x65])],
            };
            let now = start + Duration::from_millis(millis as u64);
            publisher.push(Frame::Video(frame), now).unwrap();
        }
        let summary = StreamSummary::of(publisher.stream(), &hub, &viewers, later).unwrap();
        let summary = serde_json::to_value(summary).unwrap();
        assert_eq!(summary["cache"]["overflow"], "cache_duration");
        let advice = summary["advice"].as_str().unwrap();
        assert!(advice.contains("cache_duration"), "{advice}");
        publisher.set_missing_video(Some(MissingVideo {
            has_keyframe: true,
            reason: None,
        }));
        let summary = StreamSummary::of(publisher.stream(), &hub, &viewers, later).unwrap();
        let advice = summary.advice.unwrap();
        assert!(advice.contains("without a usable frame"), "{advice}");
        let stream = std::sync::Arc::clone(publisher.stream());
        drop(publisher);
        assert!(
            StreamSummary::of(&stream, &hub, &viewers, start).is_none(),
            "a stream without a publisher is not live"
        );
    }
}
