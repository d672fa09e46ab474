//! The admin API: the viewers.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use distributary_egress::engine::SessionInfo;
use distributary_hub::PlayerInfo;
use distributary_names::StreamName;
use distributary_net::canonical_address;
use distributary_webrtc::ice::Transport;
use serde::{Deserialize, Serialize};

use super::answer::{fresh, now};
use super::door::AdminDoor;
use super::renditions::Transcodes;
use super::track_status::{millis, tenths};
use super::watching::{Watching, watching};
use crate::problem::Problem;
use crate::query::Parameters;

/// Viewers listed where the query asks for no other number.
const DEFAULT_LIMIT: usize = 1000;

/// The query parameters of `GET /api/viewers`.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    /// List only the viewers of this stream.
    stream: Option<String>,
    /// Maximum number of viewers to list.
    limit: Option<usize>,
    /// Number of viewers to skip.
    offset: Option<usize>,
    /// Their order.
    #[serde(default)]
    sort: Order,
}

/// An order of viewers. Those that are equal stay in the order of their age.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// The oldest first.
    #[default]
    Age,
    /// Those with the worst path first: limited ones, then by loss, then by round trip.
    Trouble,
    /// Those that lose most first.
    Loss,
    /// Those with the longest round trip first.
    RoundTrip,
    /// Those that receive most first.
    Bitrate,
}

impl Order {
    /// Sorts viewers that are in the order of their age.
    fn sort(self, viewers: &mut [Watching]) {
        match self {
            Self::Age => {}
            Self::Trouble => viewers.sort_by_cached_key(|viewer| Reverse(Path::of(viewer))),
            Self::Loss => viewers.sort_by_cached_key(|viewer| Reverse(Path::of(viewer).loss)),
            Self::RoundTrip => {
                viewers.sort_by_cached_key(|viewer| Reverse(Path::of(viewer).round_trip));
            }
            Self::Bitrate => viewers.sort_by_cached_key(|viewer| Reverse(viewer.bitrate())),
        }
    }
}

/// The path to a viewer; a greater one is worse. Of an RTMP player nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Path {
    limited: bool,
    /// Tenths of a percent, as they are shown.
    loss: u32,
    round_trip: Duration,
}

impl Path {
    fn of(viewer: &Watching) -> Self {
        match viewer {
            Watching::Session(report) => Self {
                limited: report.stats.peer.is_limited,
                loss: report
                    .stats
                    .loss()
                    .map_or(0, |loss| (1000.0 * loss).round() as u32),
                round_trip: report.stats.peer.round_trip.unwrap_or_default(),
            },
            Watching::Player(_) => Self::default(),
        }
    }
}

/// The response of `GET /api/viewers`: the viewers that have sent a packet. Stats are at most a
/// second old.
#[derive(Serialize)]
struct ViewerList {
    /// Number of all viewers, listed or not.
    total: usize,
    viewers: Vec<ViewerStatus>,
}

/// One viewer.
#[derive(Default, Serialize)]
struct ViewerStatus {
    /// The first digits of the session id, as in the log.
    id: String,
    stream: String,
    /// The rendition whose video it receives; `source` is the stream as published.
    rendition: Option<String>,
    /// It receives a transcoded video.
    transcoded: bool,
    /// Seconds since its offer was answered, or since an RTMP player began to play.
    uptime_seconds: u64,
    /// `connecting` until the DTLS handshake is complete, then `connected`.
    state: &'static str,
    /// The viewer's address.
    address: Option<String>,
    /// The address that asked for the session, which a block refuses.
    asked_from: Option<String>,
    /// Its browser or program.
    browser: Option<String>,
    /// The page with its player.
    page: Option<String>,
    /// Transport of its media: `udp` or `tcp` for WebRTC, or `rtmp`.
    transport: Option<&'static str>,
    /// The SRTP protection profile of its media.
    srtp_profile: Option<String>,
    /// Bits of media per second, without headers.
    bitrate_bps: u64,
    round_trip_ms: Option<f64>,
    /// Percentage of packets lost, from the viewer's newest receiver report.
    loss_percent: Option<f64>,
    jitter_ms: Option<f64>,
    /// Estimated path bandwidth in bits per second. A path that is faster than the stream has not
    /// shown how much it could carry.
    bandwidth_bps: Option<u64>,
    /// The path is slower than the stream, so that frames are dropped.
    limited: bool,
    /// Shortest playout delay that the viewer was asked to keep, so that repairs of lost packets
    /// arrive in time; 0 on a path without loss. Absent if it does not follow the path.
    playout_delay_ms: Option<f64>,
    packets: u64,
    /// Payload bytes of these packets.
    bytes: u64,
    retransmitted: u64,
    /// Packets that the viewer requested again.
    nacks: u64,
    keyframe_requests: u64,
    /// Keyframe requests that were answered by sending the GOP again.
    replays: u64,
    /// Dropped frames that no other frame references.
    dropped_frames: u64,
    /// Number of times that everything up to the next keyframe was skipped.
    skips: u64,
}

pub(super) async fn list(
    State(door): State<AdminDoor>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Response, Problem> {
    let stream = query.stream.as_deref().map(StreamName::parse).transpose();
    let stream =
        stream.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let now = now();
    let mut viewers = watching(&door, stream.as_ref(), now);
    query.sort.sort(&mut viewers);
    let listed = viewers
        .iter()
        .skip(query.offset.unwrap_or(0))
        .take(query.limit.unwrap_or(DEFAULT_LIMIT));
    let mut transcodes = Transcodes::new(&door.hub, now);
    Ok(fresh(ViewerList {
        total: viewers.len(),
        viewers: listed
            .map(|viewer| ViewerStatus::of(viewer, &mut transcodes, now))
            .collect(),
    }))
}

impl ViewerStatus {
    fn of(viewer: &Watching, transcodes: &mut Transcodes<'_>, now: Instant) -> Self {
        match viewer {
            Watching::Session(report) => {
                let is_transcoded = transcodes.contains(&report.stream);
                Self::of_session(report, is_transcoded, now)
            }
            Watching::Player(report) => Self::of_player(report, now),
        }
    }

    /// Describes an RTMP player. TCP hides the loss on its path.
    fn of_player(report: &PlayerInfo, now: Instant) -> Self {
        Self {
            id: report.id.to_string(),
            stream: report.stream.to_string(),
            uptime_seconds: now.saturating_duration_since(report.since).as_secs(),
            state: "connected",
            address: Some(canonical_address(report.address).to_string()),
            asked_from: Some(canonical_address(report.address).ip().to_string()),
            transport: Some("rtmp"),
            bitrate_bps: report.bitrate,
            bytes: report.sent.bytes,
            skips: report.sent.skips,
            ..Self::default()
        }
    }

    fn of_session(report: &SessionInfo, transcoded: bool, now: Instant) -> Self {
        let stats = &report.stats;
        let client = report.client.as_deref();
        let (video, audio, peer) = (&stats.video, &stats.audio, &stats.peer);
        Self {
            id: report.id.to_string(),
            stream: report.stream.to_string(),
            rendition: Some(report.stream.rendition_id().to_string()),
            transcoded,
            uptime_seconds: now.saturating_duration_since(report.since).as_secs(),
            state: if stats.is_connected {
                "connected"
            } else {
                "connecting"
            },
            address: stats
                .pair
                .map(|pair| canonical_address(pair.remote).to_string()),
            asked_from: report.asked_from.map(|ip| ip.to_canonical().to_string()),
            browser: client.and_then(|client| client.browser.clone()),
            page: client.and_then(|client| client.page.clone()),
            transport: stats.pair.map(|pair| match pair.transport {
                Transport::Udp => "udp",
                Transport::Tcp(_) => "tcp",
            }),
            srtp_profile: stats.profile.map(|profile| profile.to_string()),
            bitrate_bps: stats.bitrate,
            round_trip_ms: peer.round_trip.map(|time| tenths(millis(time))),
            loss_percent: stats.loss().map(|loss| tenths(100.0 * loss)),
            jitter_ms: stats.jitter().map(|time| tenths(millis(time))),
            bandwidth_bps: peer.bandwidth,
            limited: peer.is_limited,
            playout_delay_ms: peer.playout_delay.map(|time| tenths(millis(time))),
            packets: video.packets + audio.packets,
            bytes: stats.octets(),
            retransmitted: video.retransmitted,
            nacks: peer.nacks,
            keyframe_requests: peer.keyframe_requests,
            replays: video.replays,
            dropped_frames: video.dropped_frames,
            skips: video.skips,
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
    use std::sync::Arc;

    use distributary_egress::engine::{SessionStats, ViewerClient};
    use distributary_egress::session::SessionId;
    use distributary_webrtc::ice::CandidatePair;
    use distributary_webrtc::peer::PeerStats;
    use distributary_webrtc::rtcp::ReportBlock;
    use distributary_webrtc::sender::SenderStats;
    use distributary_webrtc::srtp::SrtpProfile;

    /// Returns a viewer with this path and bitrate.
    fn viewer(limited: bool, fraction_lost: u8, millis: u64, bitrate: u64) -> Watching {
        let id: SessionId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let report = ReportBlock {
            ssrc: 5,
            fraction_lost,
            cumulative_lost: 0,
            highest_sequence: 0,
            jitter: 0,
            last_sender_report: 0,
            delay: 0,
        };
        Watching::Session(Box::new(SessionInfo {
            id: id.short(),
            stream: StreamName::parse("live/test").unwrap(),
            since: Instant::now(),
            asked_from: None,
            client: None,
            stats: SessionStats {
                bitrate,
                peer: PeerStats {
                    report: Some(report),
                    round_trip: Some(Duration::from_millis(millis)),
                    is_limited: limited,
                    ..PeerStats::default()
                },
                ..SessionStats::default()
            },
        }))
    }

    #[test]
    fn viewers_are_sorted_by_what_the_query_asks_for() {
        let sorted = |order: &str| {
            let mut viewers = vec![
                viewer(false, 0, 5, 1),
                viewer(true, 0, 40, 2),
                viewer(false, 26, 20, 3),
                viewer(false, 26, 300, 4),
                viewer(true, 13, 1, 5),
            ];
            let order: Order = serde_json::from_value(order.into()).unwrap();
            order.sort(&mut viewers);
            viewers.iter().map(Watching::bitrate).collect::<Vec<_>>()
        };
        assert_eq!(sorted("age"), [1, 2, 3, 4, 5]);
        assert_eq!(sorted("trouble"), [5, 2, 4, 3, 1]);
        assert_eq!(sorted("loss"), [3, 4, 5, 1, 2]);
        assert_eq!(sorted("round_trip"), [4, 2, 3, 1, 5]);
        assert_eq!(sorted("bitrate"), [5, 4, 3, 2, 1]);
    }

    #[test]
    fn viewer_is_described_by_receiver_reports_and_sender_stats() {
        let now = Instant::now();
        let id: SessionId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let video = SenderStats {
            packets: 1000,
            octets: 1_000_000,
            retransmitted: 7,
            ..SenderStats::default()
        };
        let peer = PeerStats {
            report: Some(ReportBlock {
                ssrc: 5,
                fraction_lost: 13,
                cumulative_lost: 9,
                highest_sequence: 1000,
                jitter: 180,
                last_sender_report: 0,
                delay: 0,
            }),
            round_trip: Some(Duration::from_micros(20_040)),
            bandwidth: Some(3_750_000),
            playout_delay: Some(Duration::from_millis(280)),
            nacks: 9,
            ..PeerStats::default()
        };
        let report = SessionInfo {
            id: id.short(),
            stream: StreamName::parse("live/test").unwrap(),
            since: now,
            asked_from: Some([192, 0, 2, 7].into()),
            client: Some(Arc::new(ViewerClient {
                browser: Some("Firefox 140 on Linux".to_owned()),
                page: Some("https://a.example".to_owned()),
            })),
            stats: SessionStats {
                is_connected: true,
                pair: Some(CandidatePair::udp(
                    None,
                    "[::ffff:192.0.2.7]:40000".parse().unwrap(),
                )),
                profile: Some(SrtpProfile::AeadAes128Gcm),
                bitrate: 2_500_000,
                peer,
                video,
                audio: SenderStats::default(),
            },
        };
        let viewer = ViewerStatus::of_session(&report, false, now + Duration::from_secs(60));
        assert_eq!(
            serde_json::to_value(viewer).unwrap(),
            serde_json::json!({
                "id": "01234567",
                "stream": "live/test",
                "rendition": "source",
                "transcoded": false,
                "uptime_seconds": 60,
                "state": "connected",
                "address": "192.0.2.7:40000",
                "asked_from": "192.0.2.7",
                "browser": "Firefox 140 on Linux",
                "page": "https://a.example",
                "transport": "udp",
                "srtp_profile": "SRTP_AEAD_AES_128_GCM",
                "bitrate_bps": 2_500_000,
                "round_trip_ms": 20.0,
                "loss_percent": 5.1,
                "jitter_ms": 2.0,
                "bandwidth_bps": 3_750_000,
                "limited": false,
                "playout_delay_ms": 280.0,
                "packets": 1000,
                "bytes": 1_000_000,
                "retransmitted": 7,
                "nacks": 9,
                "keyframe_requests": 0,
                "replays": 0,
                "dropped_frames": 0,
                "skips": 0,
            })
        );
    }
}
