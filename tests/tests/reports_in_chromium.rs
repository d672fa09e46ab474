//! Reports between Chromium and the gateway about their path and clocks.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::{Clocks, WatchPage};
use distributary_tests::wait::eventually;

/// Milliseconds from 1900-01-01 to 1970-01-01: capture times are NTP times.
const UNIX_EPOCH_IN_NTP: f64 = 2_208_988_800_000.0;

#[tokio::test]
async fn browser_gets_capture_times_and_gateway_gets_path_stats() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let url = gateway.whep_url("live/test");
    let answer = page.watch_with_capture_times("viewer", &url).await;
    assert_eq!(answer.status, 201, "{}", answer.body);

    // The capture time of the newest frame is now, but for what a busy machine delays.
    let is_recent = |clocks: &Clocks| {
        clocks.capture_timestamp.is_some_and(|captured| {
            let age = clocks.now - (captured - UNIX_EPOCH_IN_NTP);
            age.abs() < 2000.0
        })
    };
    let is_complete = |clocks: &Clocks| {
        clocks.frames_decoded > u64::from(4 * FRAME_RATE)
            && is_recent(clocks)
            && clocks.estimated_playout_timestamp.is_some()
            && clocks.round_trip_measurements > 0
    };
    let clocks = page.wait_for_clocks("viewer", is_complete).await;
    assert_eq!(clocks.sender_capture_time_offset, Some(0.0), "{clocks:?}");

    let session = eventually("the viewer's reports", async || {
        let list = gateway.ask("/api/viewers?stream=live/test");
        let session = list["viewers"][0].clone();
        let is_known = session["round_trip_ms"].is_number() && session["bandwidth_bps"].is_number();
        (is_known && session["limited"] == false).then_some(session)
    })
    .await;
    assert_eq!(session["state"], "connected", "{session}");
}
