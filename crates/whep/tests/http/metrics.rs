//! Metrics for Prometheus.

use crate::front::{Front, publish};
use axum::http::StatusCode;

#[tokio::test]
async fn streams_and_sessions_are_counted() {
    let front = Front::new();
    let _quoted = publish(&front.hub, "live/a\"b");
    let admin = front.admin("");
    let before = admin.request("GET", "/metrics").await;
    assert_eq!(before.status, StatusCode::OK);
    assert!(
        before
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    front.open().await;
    let answer = admin.request("GET", "/metrics").await;
    let text = answer.text();
    for line in [
        "distributary_stream_live{stream=\"live/test\"} 1",
        "distributary_stream_live{stream=\"live/a\\\"b\"} 1",
        "distributary_stream_video_frames_total{stream=\"live/test\"} 0",
        "distributary_stream_bytes_total{stream=\"live/test\"} 0",
        "distributary_sessions 1",
        "distributary_joins_total 1",
        "distributary_joins_connected_total 0",
        "distributary_joins_failed_total{reason=\"unreachable\"} 0",
        "distributary_shard_sessions{shard=\"0\"} 0",
        "# UNIT distributary_fan_out_p99_seconds seconds",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in:\n{text}"
        );
    }
    assert!(before.text().contains("distributary_sessions 0"));
    assert!(text.ends_with("# EOF\n"));
}
