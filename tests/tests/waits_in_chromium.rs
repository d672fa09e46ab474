//! A viewer who is there before the publisher, and stays when it goes.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;

#[tokio::test]
async fn a_stream_comes_goes_and_comes_back_in_the_session_of_who_waits_for_it() {
    let gateway = Gateway::start_configured(
        "[whep]\noffline = \"wait\"\n[viewers]\noffline_grace = \"1s\"\n",
    );
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/later")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(page.listen("viewer").await, 201);
    page.wait_for_event("viewer", "viewercount {\"viewercount\":1}")
        .await;

    let clip = Clip::with_gop(FRAME_RATE);
    let mut shown = 0;
    for _ in 0..2 {
        let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/later"));
        let pictures = shown + 2 * FRAME_RATE as usize;
        let report = page.browser.wait_for("#viewer", "pictures", |report| {
            report.counters.len() > pictures
        });
        report.await;
        page.wait_for_event("viewer", "active {}").await;
        publisher.stop();
        page.wait_for_event("viewer", "inactive {}").await;
        let report = page.browser.report("#viewer").await;
        shown = report.expect("the video is there").counters.len();
    }
    assert_eq!(page.leave("viewer").await, 200);
}
