//! The gateway's own page finds its stream, keeps it, and lets go of it.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

/// Some pictures, enough to be sure that it plays.
const PICTURES: usize = 2 * FRAME_RATE as usize;

#[tokio::test]
async fn the_player_waits_for_its_stream_and_comes_back_after_a_restart_of_the_publisher() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    wait_for_state(&browser, "waiting").await;
    let words = browser.text(".player-words").await;
    assert!(words.to_lowercase().contains("not live"), "{words}");
    browser.screenshot("player_waiting").await;

    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    let report = browser
        .wait_for("video", "pictures", |r| r.counters.len() > PICTURES)
        .await;
    wait_for_state(&browser, "live").await;
    browser.screenshot("player_live").await;
    assert!(
        report.muted,
        "a page that plays by itself plays without sound at first"
    );

    // Not unpublished: the publisher is just gone.
    drop(publisher);
    eventually("the stream is gone", async || {
        gateway.stream("live/test").is_none().then_some(())
    })
    .await;
    let seen = browser
        .report("video")
        .await
        .expect("the video is there")
        .counters
        .len();
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    browser
        .wait_for("video", "it plays again", |r| {
            r.counters.len() > seen + PICTURES
        })
        .await;
    wait_for_state(&browser, "live").await;
}

#[tokio::test]
async fn the_front_page_lists_what_is_live_and_plays_it_with_sound_when_asked() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("")).await;
    let shows = |text: &'static str| {
        let browser = &browser;
        async move {
            let what = format!("the page shows {text:?}");
            let look = async || browser.text("body").await.contains(text).then_some(());
            eventually(&what, look).await;
        }
    };
    shows("Nothing is live").await;
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    shows("live/test").await;
    browser
        .wait_for("video", "pictures", |report| {
            report.counters.len() > PICTURES
        })
        .await;
    browser.screenshot("front_page").await;

    browser.click(".player-sound").await;
    browser
        .wait_for("video", "sound", |report| {
            !report.muted && report.audio_energy() > 0.0
        })
        .await;
}

#[tokio::test]
async fn a_viewer_who_closes_the_page_ends_the_session() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    browser
        .wait_for("video", "pictures", |report| {
            report.counters.len() > PICTURES
        })
        .await;
    let session: String = browser.evaluate("probe.sessions().at(-1)").await;
    assert_ne!(
        gateway.request("GET", &session, &[], b"").status,
        404,
        "{session}"
    );

    browser.open("about:blank").await;
    eventually("the session is gone", async || {
        (gateway.request("GET", &session, &[], b"").status == 404).then_some(())
    })
    .await;
}

async fn wait_for_state(browser: &Browser, wanted: &str) {
    eventually(&format!("the player is {wanted}"), async || {
        let state = "document.querySelector('.player').dataset.state";
        (browser.evaluate::<String>(state).await == wanted).then_some(())
    })
    .await;
}
