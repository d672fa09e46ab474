//! A viewer that cannot reach the media port is visible to the operator.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

/// An address of no machine (RFC 5737).
const NOWHERE: &str = "203.0.113.7";

#[tokio::test]
async fn viewer_that_cannot_reach_the_media_port_is_reported_counted_and_shown() {
    let gateway = Gateway::start_with(&["--advertise", NOWHERE]);
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    let failed = eventually("the failed join is listed", async || {
        let joins = gateway.ask("/api/joins");
        joins["last_failed"].get(0).cloned()
    })
    .await;
    assert_eq!(failed["reason"], "unreachable", "{failed}");
    let report = failed["report"].as_str().unwrap();
    let tried = format!("UDP {NOWHERE}:{}", gateway.webrtc.port());
    assert!(
        report.starts_with("ICE ") && report.contains(&tried),
        "{report}"
    );

    gateway.logged_until("the player reports that it cannot connect");
    gateway.logged_until("no packet of viewers arrives: open port");
    browser.open(&gateway.admin_url()).await;
    eventually("the dashboard shows the joins", async || {
        let text = browser.text("#tiles").await;
        text.contains(" asked, 0 connected").then_some(())
    })
    .await;
    publisher.stop();
}
