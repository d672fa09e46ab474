//! Viewers come and go without disturbing each other.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::report::VideoReport;
use distributary_tests::wait::eventually;

/// 20 seconds between keyframes.
const GOP: u32 = 20 * FRAME_RATE;

#[tokio::test]
async fn viewer_that_joins_between_keyframes_starts_at_once() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(GOP);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    page.watch("first", &gateway.whep_url("live/test")).await;

    // Two to ten seconds after a keyframe: the viewer has frames to catch up with, and the next
    // keyframe is far, also on a busy machine.
    let is_mid_gop = |counter: u32| (GOP / 10..GOP / 2).contains(&(counter % GOP));
    let report = page
        .browser
        .wait_for("#first", "the middle of a GOP", |report| {
            report.last_counter().is_some_and(is_mid_gop)
        });
    let joined_at = report.await.last_counter().expect("a frame was shown");
    let answer = page.watch("second", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let report = page
        .browser
        .wait_for("#second", "a frame", |report| !report.counters.is_empty());
    let first_shown = report.await.counters[0].expect("the first frame is whole");
    assert_eq!(
        first_shown / GOP,
        joined_at / GOP,
        "joined at {joined_at}, but the first frame shown was {first_shown}"
    );

    // The viewer reaches the live edge, and neither viewer is disturbed by the other.
    let frames = 3 * FRAME_RATE as usize;
    let second = page
        .browser
        .wait_for("#second", "frames", |r| r.counters.len() > frames);
    second.await.assert_plays(&clip);
    let first = eventually("both are at the live edge", async || {
        // At the same moment.
        let reports = "Promise.all(['#first', '#second'].map(probe.report))";
        let [first, second]: [VideoReport; 2] = page.browser.evaluate(reports).await;
        let apart = first.last_counter()?.abs_diff(second.last_counter()?);
        (apart < FRAME_RATE).then_some(first)
    });
    first.await.assert_plays(&clip);
    page.browser.screenshot("two_viewers").await;
}

#[tokio::test]
async fn leaving_viewer_does_not_disturb_others() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    for viewer in ["leaving", "staying"] {
        page.watch(viewer, &gateway.whep_url("live/test")).await;
    }
    for viewer in ["#leaving", "#staying"] {
        page.browser
            .wait_for(viewer, "frames", |report| report.counters.len() > 30)
            .await;
    }

    assert_eq!(page.leave("leaving").await, 200);
    page.browser
        .wait_for("#leaving", "the gateway closed the connection", |r| {
            r.dtls_state == "closed"
        })
        .await;
    let seen = page
        .browser
        .report("#staying")
        .await
        .expect("the video is there")
        .counters
        .len();
    let report = page.browser.wait_for("#staying", "it plays on", |report| {
        report.counters.len() > seen + 2 * FRAME_RATE as usize
    });
    report.await.assert_plays(&clip);
    let viewers = gateway.ask("/api/viewers");
    let viewers = viewers["viewers"].as_array().map(Vec::len);
    assert_eq!(viewers, Some(1), "the session is gone");
    assert_eq!(
        page.leave("leaving").await,
        200,
        "and that is what it wants"
    );
}
