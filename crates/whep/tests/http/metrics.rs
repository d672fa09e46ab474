//! Metrics for Prometheus.

use crate::front::{Admin, Answer, Front, OFFER, publish};
use axum::body::Body;
use axum::http::{Request, StatusCode};

/// Returns the metrics as this `Accept` asks for them.
async fn metrics(admin: &Admin, accept: &str) -> Answer {
    let request = Request::get("/metrics").header("host", "localhost");
    let request = request.header("accept", accept).body(Body::empty());
    admin.send(request.unwrap()).await
}

const OPEN: &str = "application/openmetrics-text; version=1.0.0";

#[tokio::test]
async fn streams_and_sessions_are_counted() {
    let front = Front::new();
    let _quoted = publish(&front.hub, "live/a\"b");
    let admin = front.admin("");
    let before = metrics(&admin, OPEN).await;
    assert_eq!(before.status, StatusCode::OK);
    assert!(
        before
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    front.open().await;
    for _ in 0..2 {
        let offline = front
            .post("/whep/live/other", "application/sdp", OFFER)
            .await;
        offline.problem(StatusCode::CONFLICT);
    }
    front
        .post("/whep/live/test", "text/plain", "hello")
        .await
        .problem(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let unknown = format!("/session/{}/events", "0".repeat(32));
    front.post(&unknown, "application/json", "[]").await;
    let answer = metrics(&admin, OPEN).await;
    let text = answer.text();
    for line in [
        "distributary_stream_live{stream=\"live/test\"} 1",
        "distributary_stream_live{stream=\"live/a\\\"b\"} 1",
        "distributary_stream_video_frames_total{stream=\"live/test\"} 0",
        "distributary_stream_bytes_total{stream=\"live/test\"} 0",
        "distributary_viewers{stream=\"live/test\"} 0",
        "distributary_rtmp_players{stream=\"live/test\"} 0",
        "distributary_viewers_limited{stream=\"live/test\"} 0",
        "distributary_sessions 1",
        "distributary_joins_total 1",
        "distributary_joins_connected_total 0",
        "distributary_joins_failed_total{reason=\"unreachable\"} 0",
        "distributary_viewers_refused_total{reason=\"not_live\"} 2",
        "distributary_viewers_refused_total{reason=\"offer\"} 1",
        "distributary_viewers_refused_total{reason=\"full\"} 0",
        "distributary_shard_sessions{shard=\"0\"} 0",
        "# UNIT distributary_fan_out_seconds seconds",
        "distributary_fan_out_seconds_count 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in:\n{text}"
        );
    }
    assert!(before.text().contains("distributary_sessions 0"));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn client_that_asks_for_nothing_gets_the_format_of_prometheus() {
    let front = Front::new();
    let answer = metrics(&front.admin(""), "*/*").await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = answer.text();
    assert!(
        text.contains("# TYPE distributary_joins_total counter\n"),
        "{text}"
    );
    assert!(
        !text.contains("# EOF") && !text.contains("# UNIT"),
        "{text}"
    );
}
