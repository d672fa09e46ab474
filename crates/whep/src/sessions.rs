//! The API: who watches, as JSON.

use std::time::{Duration, Instant};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use distributary_hub::StreamName;
use distributary_webrtc::engine::SessionReport;
use serde::Serialize;

use crate::api::fresh;
use crate::problem::Problem;
use crate::router::FrontDoor;

/// `GET /api/sessions[?stream=<name>]`: the viewers that have been heard of, the oldest first, in
/// figures that are a second old at most.
#[derive(Serialize)]
struct SessionList {
    sessions: Vec<SessionSummary>,
}

/// One viewer.
#[derive(Serialize)]
struct SessionSummary {
    /// The first digits of the session's name, as logs have them.
    id: String,
    stream: String,
    /// Seconds since its offer was answered.
    uptime_seconds: u64,
    /// Whether media is sent.
    connected: bool,
    round_trip_ms: Option<f64>,
    /// Percent of the packets that were lost before the viewer's newest report.
    loss_percent: Option<f64>,
    jitter_ms: Option<f64>,
    /// Bits per second that the path is estimated to carry; a path that carries the stream with ease
    /// has not shown how much more it would take.
    bandwidth_bps: Option<u64>,
    /// Whether the path is slower than the stream, so that pictures are left out.
    limited: bool,
    packets: u64,
    /// Payload bytes of them.
    bytes: u64,
    retransmitted: u64,
    /// Packets that the viewer asked for again.
    nacks: u64,
    keyframe_requests: u64,
    /// Requests for a keyframe that were answered by sending the group of pictures anew.
    replays: u64,
    /// Pictures left out that no other referred to.
    dropped_pictures: u64,
    /// How often everything up to the next keyframe was left out.
    skips: u64,
}

pub(crate) async fn sessions(
    State(front): State<FrontDoor>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    #[expect(
        clippy::disallowed_methods,
        reason = "requests are answered at the moment they come"
    )]
    let now = Instant::now();
    let stream = asked_for(query.as_deref().unwrap_or_default())?;
    let reports = front.engine.report(stream.as_ref());
    let summary = |report: &SessionReport| SessionSummary::of(report, now);
    Ok(fresh(SessionList {
        sessions: reports.iter().map(summary).collect(),
    }))
}

/// The stream that the query names; `None` asks for all.
fn asked_for(query: &str) -> Result<Option<StreamName>, Problem> {
    let mut parameters = query.split('&').filter_map(|part| part.split_once('='));
    let Some((_, name)) = parameters.find(|(key, _)| *key == "stream") else {
        return Ok(None);
    };
    // Names consist of what stands for itself in a URL, but some clients escape the slash.
    let name = name.replace("%2F", "/").replace("%2f", "/");
    StreamName::parse(&name)
        .map(Some)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))
}

impl SessionSummary {
    fn of(report: &SessionReport, now: Instant) -> Self {
        let figures = &report.figures;
        let (video, audio, peer) = (&figures.video, &figures.audio, &figures.peer);
        Self {
            id: report.id.to_string(),
            stream: report.stream.to_string(),
            uptime_seconds: now.saturating_duration_since(report.since).as_secs(),
            connected: figures.is_connected,
            round_trip_ms: peer.round_trip.map(millis),
            loss_percent: figures.loss().map(|loss| tenths(100.0 * loss)),
            jitter_ms: figures.jitter().map(millis),
            bandwidth_bps: peer.bandwidth,
            limited: peer.is_limited,
            packets: video.packets + audio.packets,
            bytes: video.octets + audio.octets,
            retransmitted: video.retransmitted,
            nacks: peer.nacks,
            keyframe_requests: peer.keyframe_requests,
            replays: video.replays,
            dropped_pictures: video.dropped_pictures,
            skips: video.skips,
        }
    }
}

fn millis(time: Duration) -> f64 {
    tenths(time.as_secs_f64() * 1000.0)
}

/// Rounded to one decimal: more means nothing here.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    use distributary_webrtc::engine::SessionFigures;
    use distributary_webrtc::peer::PeerStats;
    use distributary_webrtc::rtcp::ReportBlock;
    use distributary_webrtc::sender::SenderStats;
    use distributary_webrtc::session::SessionId;

    #[test]
    fn a_viewer_is_described_by_its_reports_and_what_was_sent() {
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
            nacks: 9,
            ..PeerStats::default()
        };
        let report = SessionReport {
            id: id.short(),
            stream: StreamName::parse("live/test").unwrap(),
            since: now,
            figures: SessionFigures {
                is_connected: true,
                peer,
                video,
                audio: SenderStats::default(),
            },
        };
        let summary = SessionSummary::of(&report, now + Duration::from_secs(60));
        assert_eq!(
            serde_json::to_value(summary).unwrap(),
            serde_json::json!({
                "id": "01234567",
                "stream": "live/test",
                "uptime_seconds": 60,
                "connected": true,
                "round_trip_ms": 20.0,
                "loss_percent": 5.1,
                "jitter_ms": 2.0,
                "bandwidth_bps": 3_750_000,
                "limited": false,
                "packets": 1000,
                "bytes": 1_000_000,
                "retransmitted": 7,
                "nacks": 9,
                "keyframe_requests": 0,
                "replays": 0,
                "dropped_pictures": 0,
                "skips": 0,
            })
        );
    }

    #[test]
    fn the_stream_is_named_in_the_query_or_all_are_meant() {
        let name = |query| asked_for(query).unwrap().map(|name| name.to_string());
        assert_eq!(name(""), None);
        assert_eq!(name("x=1"), None);
        assert_eq!(name("stream=live/test"), Some("live/test".to_owned()));
        assert_eq!(name("x=1&stream=live%2Ftest"), Some("live/test".to_owned()));
        assert!(asked_for("stream=live/../x").is_err());
    }
}
