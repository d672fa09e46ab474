//! The admin API: the live streams.

use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use distributary_hub::{Hub, Stream, StreamReport, StreamStats, advice};
use distributary_media::BFrames;
use serde::Serialize;

use super::answer::{fresh, now};
use super::door::AdminDoor;
use super::process;
use super::publisher_status::{PublisherStatus, StandbyNode, StandbyStatus};
use super::renditions::{RenditionStatus, is_transcoded};
use super::track_status::{AudioStatus, VideoStatus};
use super::viewer_totals::{ViewerTotals, Viewers};
use super::watching::watching;
use crate::name::PathStream;
use crate::path::has_page;
use crate::problem::Problem;

/// The response of `GET /api/streams`: the live streams, by name.
#[derive(Serialize)]
struct StreamList {
    streams: Vec<StreamStatus>,
}

/// One live stream.
#[derive(Serialize)]
pub(super) struct StreamStatus {
    pub(super) name: String,
    /// True if it has a player page; a name that is a path of the gateway has none.
    has_page: bool,
    /// The node of the cluster from which it arrives; absent if it is published here.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Seconds since the publisher became active.
    uptime_seconds: u64,
    pub(super) video: Option<VideoStatus>,
    pub(super) audio: Option<AudioStatus>,
    pub(super) publisher: PublisherStatus,
    /// The publishers that stand by, the one that has waited for longest first.
    standbys: Vec<StandbyStatus>,
    /// The other nodes of the cluster that have publishers which stand by.
    standby_nodes: Vec<StandbyNode>,
    /// The kind of its B-frames: `none`, `non-reference` or `reference`, once known.
    b_frames: Option<&'static str>,
    /// Encoder settings to change, and why, where viewers do not get all frames as published.
    pub(super) advice: Option<String>,
    /// Its renditions, the best first, the source included.
    renditions: Vec<RenditionStatus>,
    /// The best transcoded video, while a transcoder runs.
    transcode: Option<TranscodeStatus>,
    cache: CacheStatus,
    pub(super) viewers: ViewerTotals,
    video_frames: u64,
    audio_frames: u64,
    /// Bytes of encoded media since the stream began.
    bytes: u64,
    /// Frames dropped because a shard or the Opus encoder was too slow.
    dropped_frames: u64,
}

/// The best transcoded video of a stream, and its transcoder.
#[derive(Serialize)]
struct TranscodeStatus {
    /// Seconds since the transcode began.
    uptime_seconds: u64,
    /// CPU time of the transcoder on average, in percent of one core.
    cpu_percent: Option<u64>,
    video: Option<VideoStatus>,
}

/// The GOP cache: the frames since the last keyframe.
#[derive(Serialize)]
struct CacheStatus {
    bytes: usize,
    seconds: f64,
    /// The configuration key whose bound the GOP has outgrown: new viewers then wait for the next
    /// keyframe.
    overflow: Option<&'static str>,
}

pub(super) async fn list(State(door): State<AdminDoor>) -> Response {
    fresh(StreamList {
        streams: statuses(&door, now()),
    })
}

pub(super) async fn one(
    State(door): State<AdminDoor>,
    PathStream(name): PathStream,
) -> Result<Response, Problem> {
    let viewers = Viewers::of(&watching(&door, Some(&name), now()));
    let stream = door.hub.stream(&name);
    stream
        .and_then(|stream| StreamStatus::of(&stream, &door.hub, &viewers, now()))
        .map(fresh)
        .ok_or_else(|| {
            let detail = format!("The stream {name} is not live.");
            Problem::new(StatusCode::NOT_FOUND, detail).about(&name)
        })
}

/// Returns all live streams at `now`, by name.
pub(super) fn statuses(door: &AdminDoor, now: Instant) -> Vec<StreamStatus> {
    let viewers = Viewers::of(&watching(door, None, now));
    let live = door.hub.streams();
    let mut streams: Vec<_> = live
        .iter()
        .filter_map(|stream| StreamStatus::of(stream, &door.hub, &viewers, now))
        .collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    streams
}

impl StreamStatus {
    /// Describes the stream at `now`; `None` while it has no publisher.
    fn of(stream: &Stream, hub: &Hub, viewers: &Viewers, now: Instant) -> Option<Self> {
        let StreamReport {
            stats,
            node,
            publisher_id,
            measured: rates,
            standbys,
            successors,
        } = stream.report(now);
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
            audio_peak,
        } = stats;
        let renditions = hub.renditions(stream.name(), now);
        let offers = hub.rendition_offers(stream.name(), now);
        let mut live = renditions.iter().filter(|one| one.is_live);
        let transcode = live.find(|one| is_transcoded(one));
        Some(Self {
            name: stream.name().to_string(),
            has_page: has_page(stream.name()),
            node: node.map(|node| node.to_string()),
            uptime_seconds: now.saturating_duration_since(live_since?).as_secs(),
            video: video.as_deref().map(|track| VideoStatus::of(track, &rates)),
            audio: audio.map(|track| AudioStatus::of(&track, &rates, audio_peak)),
            publisher: PublisherStatus::of(publisher_id, info.as_deref(), &rates),
            standbys: standbys
                .iter()
                .map(|standby| StandbyStatus::of(standby, now))
                .collect(),
            standby_nodes: successors.iter().map(StandbyNode::from).collect(),
            b_frames: b_frames.map(BFrames::as_str),
            advice,
            transcode: transcode
                .and_then(|one| hub.stream(&one.stream))
                .and_then(|rendition| TranscodeStatus::of(&rendition, hub, now)),
            cache: CacheStatus {
                bytes: cached_bytes,
                seconds: cached.as_millis() as f64 / 1000.0,
                overflow: cache_overflow.map(advice::bound),
            },
            viewers: viewers.totals(stream, &renditions),
            renditions: renditions
                .iter()
                .map(|one| RenditionStatus::of(one, &offers, viewers.of_rendition(one)))
                .collect(),
            video_frames,
            audio_frames,
            bytes,
            dropped_frames: dropped,
        })
    }
}

impl TranscodeStatus {
    /// Describes the transcode of a stream at `now`; `None` when it has just ended.
    fn of(rendition: &Stream, hub: &Hub, now: Instant) -> Option<Self> {
        let StreamReport {
            stats,
            measured: rates,
            ..
        } = rendition.report(now);
        let StreamStats {
            live_since, video, ..
        } = stats;
        let uptime = now.saturating_duration_since(live_since?);
        let process = hub.transcoder_process(&rendition.name().published());
        let used = process.and_then(process::cpu_time_of);
        Some(Self {
            uptime_seconds: uptime.as_secs(),
            cpu_percent: used.map(|used| {
                let percent = 100 * used.as_millis() / uptime.as_millis().max(1);
                u64::try_from(percent).unwrap_or(u64::MAX)
            }),
            video: video.as_deref().map(|track| VideoStatus::of(track, &rates)),
        })
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    use std::collections::HashMap;
    use std::time::Duration;

    use bytes::Bytes;
    use distributary_hub::{
        HubConfig, MissingVideo, Permit, PublisherInfo, RenditionOrigin, Successor,
    };
    use distributary_media::flv::{OtherTrack, TagKind};
    use distributary_media::test_util::h264_track;
    use distributary_media::{
        AudioCodec, AudioTrack, Frame, FrameInfo, MediaTime, VideoCodec, VideoFrame,
    };
    use distributary_names::{RenditionId, StreamName};

    #[test]
    fn stream_status_has_its_tracks_and_uptime() {
        let start = Instant::now();
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let publisher = hub.publish(&name, start).unwrap();
        publisher.set_video_track(h264_track());
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
        let rendition = name.rendition(&RenditionId::rung(720));
        let totals = HashMap::from([(
            name.to_string(),
            ViewerTotals {
                connected: 2,
                rtmp: 0,
                transcoded: 0,
                limited: 1,
                bitrate_bps: 5_000_000,
            },
        )]);
        let viewers = Viewers {
            totals,
            by_rendition: HashMap::from([(name.clone(), 1), (rendition, 1)]),
        };
        let later = start + Duration::from_millis(61_900);
        let summary = StreamStatus::of(publisher.stream(), &hub, &viewers, later).unwrap();
        assert_eq!(
            serde_json::to_value(summary).unwrap(),
            serde_json::json!({
                "name": "live/test",
                "has_page": true,
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
                    "level_dbfs": null,
                },
                "publisher": {
                    "id": 0,
                    "address": "192.0.2.7:40000",
                    "jitter_ms": 0.0,
                    "encoder": "Lavf59",
                    "frame_rate": 30.0,
                    "video_kbps": null,
                    "audio_kbps": null,
                    "other_tracks": [{ "kind": "audio", "id": 1, "codec": "Opus" }],
                },
                "standbys": [],
                "standby_nodes": [],
                "b_frames": null,
                "advice": null,
                "renditions": [{
                    "id": "source",
                    "origin": "source",
                    "width": 1280,
                    "height": 720,
                    "bitrate_bps": 0,
                    "max_bitrate_bps": null,
                    "aligned_by": null,
                    "alignment_offset_ms": null,
                    "viewers": 1,
                    "live": true,
                }],
                "transcode": null,
                "cache": { "bytes": 0, "seconds": 0.0, "overflow": null },
                "viewers": {
                    "connected": 2,
                    "rtmp": 0,
                    "transcoded": 0,
                    "limited": 1,
                    "bitrate_bps": 5_000_000,
                },
                "video_frames": 0,
                "audio_frames": 0,
                "bytes": 0,
                "dropped_frames": 0,
            })
        );
        for (origin, word, transcoded) in [
            (RenditionOrigin::Track, "track", 0),
            (RenditionOrigin::Transcoded, "transcoded", 1),
        ] {
            let id = RenditionId::rung(720);
            let made = hub.publish_rendition(publisher.stream(), &id, origin, start);
            let made = made.unwrap();
            made.set_video_track(h264_track());
            let summary = StreamStatus::of(publisher.stream(), &hub, &viewers, later).unwrap();
            let summary = serde_json::to_value(summary).unwrap();
            assert_eq!(summary["viewers"]["transcoded"], transcoded);
            assert_eq!(summary["transcode"].is_object(), transcoded == 1);
            let renditions = summary["renditions"].as_array().unwrap();
            assert_eq!(renditions.len(), 2);
            let listed = renditions.iter().find(|one| one["id"] == id.as_str());
            let listed = listed.unwrap();
            assert_eq!(
                (&listed["origin"], &listed["viewers"]),
                (&word.into(), &1.into())
            );
        }
        // A frame, and one that is later than the cache may hold.
        for (millis, keyframe) in [(0, true), (40_000, false)] {
            let time = MediaTime::from_millis(millis);
            let frame = VideoFrame {
                codec: VideoCodec::H264,
                pts: time,
                dts: time,
                keyframe,
                info: FrameInfo::default(),
                units: vec![Bytes::from_static(&[0x65])],
            };
            let now = start + Duration::from_millis(millis as u64);
            publisher.push(Frame::Video(frame), now).unwrap();
        }
        let summary = StreamStatus::of(publisher.stream(), &hub, &viewers, later).unwrap();
        let summary = serde_json::to_value(summary).unwrap();
        assert_eq!(summary["cache"]["overflow"], "cache_duration");
        let advice = summary["advice"].as_str().unwrap();
        assert!(advice.contains("cache_duration"), "{advice}");
        publisher.set_missing_video(Some(MissingVideo {
            has_keyframe: true,
            reason: None,
        }));
        let summary = StreamStatus::of(publisher.stream(), &hub, &viewers, later).unwrap();
        let advice = summary.advice.unwrap();
        assert!(advice.contains("without a usable frame"), "{advice}");
        let stream = std::sync::Arc::clone(publisher.stream());
        drop(publisher);
        assert!(
            StreamStatus::of(&stream, &hub, &viewers, start).is_none(),
            "a stream without a publisher is not live"
        );
    }

    #[test]
    fn stream_status_has_its_standbys() {
        let start = Instant::now();
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let first = hub.stand_by(&name, Permit::default(), start).unwrap();
        let second = hub.stand_by(&name, Permit::default(), start).unwrap();
        second.set_video_track(h264_track());
        second.set_info(PublisherInfo {
            address: Some("192.0.2.8:40000".parse().unwrap()),
            encoder: Some("OBS".into()),
            ..PublisherInfo::default()
        });
        let stream = std::sync::Arc::clone(first.stream());
        let status = |millis| {
            let now = start + Duration::from_millis(millis);
            let status = StreamStatus::of(&stream, &hub, &Viewers::default(), now);
            serde_json::to_value(status.unwrap()).unwrap()
        };
        let shown = status(2_500);
        assert_eq!(shown["publisher"]["id"], 0);
        assert_eq!(
            shown["standbys"],
            serde_json::json!([{
                "id": 1,
                "address": "192.0.2.8:40000",
                "encoder": "OBS",
                "connected_seconds": 2,
                "silent_seconds": 2.5,
                "next": false,
                "video": {
                    "codec": "H264",
                    "width": 1280,
                    "height": 720,
                    "profile_level_id": "42c01f",
                    "frame_rate": 0.0,
                    "bitrate_bps": 0,
                    "gop": null,
                },
                "audio": null,
            }])
        );
        stream.set_successors(vec![Successor {
            node: "b".into(),
            standbys: 2,
            is_ready: true,
        }]);
        let shown = status(2_500);
        let node = serde_json::json!([{ "node": "b", "standbys": 2, "ready": true }]);
        assert_eq!(shown["standby_nodes"], node);
        drop(first);
        let shown = status(3_000);
        assert_eq!(shown["publisher"]["id"], serde_json::Value::Null);
        assert_eq!(shown["standbys"][0]["next"], true);
    }
}
