//! A viewer who joins before the publisher, and stays when it leaves.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;

#[tokio::test]
async fn waiting_session_survives_the_stream_coming_and_going() {
    let gateway = Gateway::start_configured(
        "[whep]\noffline = \"wait\"\n[viewers]\noffline_grace = \"1s\"\n",
    );
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/later")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(page.listen("viewer").await, 201);
    page.wait_for_event("viewer", "viewercount {\"viewercount\":1}")
        .await;

    let (mut shown, mut heard) = (0, 0.0);
    // The second publisher has other settings: stereo at 48 kHz becomes mono at 44.1 kHz.
    for clip in [Clip::with_gop, Clip::with_mono_audio] {
        let clip = clip(FRAME_RATE);
        let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/later"));
        let frames = shown + 2 * FRAME_RATE as usize;
        let report = page
            .browser
            .wait_for("#viewer", "frames and audio", |report| {
                // The energy grows by about the same amount in each second of the tone.
                report.counters.len() > frames && report.audio_energy() > 1.5 * heard
            });
        report.await;
        page.wait_for_event("viewer", "active {}").await;
        publisher.stop();
        page.wait_for_event("viewer", "inactive {}").await;
        let report = page.browser.report("#viewer").await;
        let report = report.expect("the video is there");
        (shown, heard) = (report.counters.len(), report.audio_energy());
        assert_eq!(report.peers, 1, "{report:?}");
    }
    assert_eq!(page.leave("viewer").await, 200);
}
