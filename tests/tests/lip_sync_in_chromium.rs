//! Audio and video stay in sync in Chromium: a flash and a beep each second.

use distributary_tests::ffmpeg::{Clip, Encoding, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::publishers::librtmp_publishes;
use distributary_tests::publishers::obs::ObsPublisher;
use distributary_tests::report::VideoReport;
use distributary_tests::wait::{Deadline, TIMEOUT, pause};

/// Tolerance in milliseconds: smaller offsets are not noticed either way (ITU-R BT.1359). Chromium
/// does not correct up to 30 ms, and plays audio in blocks of 10 ms.
const MOST: f64 = 40.0;

/// Number of consecutive pairs of flash and beep that have to be in sync.
const PAIRS: usize = 3;

#[tokio::test]
async fn audio_is_in_sync_with_b_frames_and_after_a_reconnect() {
    let gateway = Gateway::start_configured("[streams]\nbframes = \"reorder\"\n");
    let clip = Clip::flash_and_beep(Encoding::Pyramid);
    let url = gateway.rtmp_url("live/test");
    let publisher = Publisher::start(&clip, &url);
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_in_sync(&page, "viewer", "at first").await;

    // The decoder still delays frames, although it no longer needs to.
    publisher.stop();
    let _publisher = Publisher::start(&Clip::flash_and_beep(Encoding::InOrder), &url);
    gateway.wait_live("live/test").await;
    assert_in_sync(&page, "viewer", "after a reconnect").await;
}

#[tokio::test]
async fn audio_that_begins_later_is_in_sync() {
    let gateway = Gateway::start();
    let clip = Clip::flash_and_beep(Encoding::InOrder).cut(0..=90_000, 2500..=90_000);
    let _publisher = librtmp_publishes(&clip, &gateway.rtmp_url("live/test"), &[]);
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_in_sync(&page, "viewer", "with late audio").await;
}

#[tokio::test]
async fn audio_is_in_sync_in_each_rendition() {
    let gateway = Gateway::start_configured("[transcode]\nladder = []\n");
    let clips = [(320, 240), (160, 120)]
        .map(|(width, height)| Clip::flash_and_beep_of(width, height, Encoding::InOrder));
    let _publisher = ObsPublisher::start(&clips, gateway.rtmp, "live/test").await;
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_in_sync(&page, "viewer", "at first").await;
    for (rid, height) in [("track1", 120), ("source", 240)] {
        let status = page.select("viewer", &format!("{{ rid: '{rid}' }}")).await;
        assert_eq!(status, 200);
        let has_height = |report: &VideoReport| report.height == height;
        page.browser.wait_for("#viewer", rid, has_height).await;
        assert_in_sync(&page, "viewer", rid).await;
    }
}

/// Waits until beeps are in sync with their flashes. A browser that joins has a separate delay for
/// each track, and aligns them by some ten milliseconds per second, using the sender reports.
async fn assert_in_sync(page: &WatchPage, viewer: &str, when: &str) {
    let start = page.flashes_to_beeps(viewer).await.len();
    let deadline = Deadline::after(2 * TIMEOUT);
    loop {
        let offsets = page.flashes_to_beeps(viewer).await.split_off(start);
        let last = &offsets[offsets.len().saturating_sub(PAIRS)..];
        if last.len() == PAIRS && last.iter().all(|offset| offset.abs() <= MOST) {
            println!("{when}: beeps come after their flashes by ms {offsets:.0?}");
            return;
        }
        assert!(deadline.left().is_some(), "{when}: {offsets:.0?} ms");
        pause().await;
    }
}
