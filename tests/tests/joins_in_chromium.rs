//! Joining streams without regular keyframes.

use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;

/// A recovery point every second.
const REFRESH: u32 = FRAME_RATE;

#[tokio::test]
async fn stream_without_regular_keyframes_is_joined_at_a_recovery_point() {
    let gateway = Gateway::start();
    let clip = Clip::encoded(REFRESH, Encoding::IntraRefresh);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let url = gateway.whep_url("live/test");
    page.watch("first", &url).await;
    // The only keyframe is too old to start there.
    let far = 12 * FRAME_RATE;
    let first = page.browser.wait_for("#first", "a later frame", |report| {
        report.last_counter().is_some_and(|counter| counter > far)
    });
    first.await.assert_plays(&clip);

    page.watch("second", &url).await;
    let frames = 3 * FRAME_RATE as usize;
    let second = page
        .browser
        .wait_for("#second", "frames", |report| report.counters.len() > frames);
    let second = second.await;
    // The video is correct after all columns have been refreshed.
    let right = &second.counters[second.counters.len() - FRAME_RATE as usize..];
    assert!(right.iter().all(Option::is_some), "{right:?}");
    assert!(right[0] > Some(far), "{right:?}");
    second.assert_decodes();
    let first = page
        .browser
        .report("#first")
        .await
        .expect("the first video is there");
    first.assert_plays(&clip);
    page.browser.screenshot("recovery_point").await;
}
