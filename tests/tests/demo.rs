//! The demo plays with nothing else installed.

use distributary_tests::browser::Browser;
use distributary_tests::gateway::Gateway;

#[tokio::test]
async fn demo_plays_on_its_page() {
    let gateway = Gateway::start_with(&["--demo"]);
    assert!(
        gateway
            .printed_until("/live/demo")
            .contains(&gateway.page_url("live/demo"))
    );
    gateway.wait_live("live/demo").await;

    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/demo")).await;
    // Pages start muted, and the browser measures no audio that it does not play.
    browser.click(".mute").await;
    // Longer than the clip, which loops without a gap.
    let report = browser.wait_for("video", "frames and audio", |report| {
        let decoded = report
            .video
            .as_ref()
            .map_or(0, |video| video.frames_decoded);
        decoded > 300 && report.audio_energy() > 0.0
    });
    let report = report.await;
    browser.screenshot("demo").await;
    assert_eq!(report.connection_state, "connected");
    assert!(
        report.width >= 320 && report.height >= 180,
        "{}x{}",
        report.width,
        report.height
    );
    report.assert_decodes();
}
