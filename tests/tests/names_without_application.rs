//! Streams whose name is one part, `rtmp://host/stream`: published by each kind of encoder, pulled,
//! and watched at each kind of path.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::publishers::librtmp_publishes;
use distributary_tests::report::VideoReport;
use distributary_tests::wait::eventually;

const STREAM: &str = "cam";

/// Number of frames that proves playback.
const FRAMES: usize = 2 * FRAME_RATE as usize;

/// Publishers need a key, those of `cam` another one than all others.
const KEYS: &str = "[auth]\npublish = \"keys\"\n\
                    [[auth.key]]\nmatch = \"cam\"\npublish = [\"secret\"]\n\
                    [[auth.key]]\nmatch = \"*\"\npublish = [\"another\"]\n";

fn clip() -> Clip {
    Clip::with_gop(2 * FRAME_RATE)
}

/// Watches the endpoint at `url` until the clip has played with audio.
async fn watch(page: &WatchPage, viewer: &str, url: &str) {
    let answer = page.watch(viewer, url).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let plays =
        |report: &VideoReport| report.counters.len() >= FRAMES && report.audio_energy() > 0.0;
    let video = format!("#{viewer}");
    let report = page.browser.wait_for(&video, "frames and audio", plays);
    report.await.assert_plays(&clip());
}

#[tokio::test]
async fn ffmpeg_names_the_stream_in_the_application() {
    let gateway = Gateway::start_configured(KEYS);
    let url = format!("{}?key=secret", gateway.rtmp_url(STREAM));
    let _publisher = Publisher::start(&clip(), &url);
    gateway.wait_live(STREAM).await;
    let pull = format!(
        "[[pull]]\nmatch = \"cam\"\nfrom = \"{}\"\n",
        gateway.rtmp_url(STREAM)
    );
    let edge = Gateway::start_configured(&pull);
    let page = WatchPage::open().await;
    watch(&page, "whep", &gateway.whep_url(STREAM)).await;
    watch(&page, "alias", &gateway.page_url("cam/whep")).await;
    watch(&page, "pulled", &edge.whep_url(STREAM)).await;
    let stream = gateway.stream(STREAM).expect("the API has the stream");
    // Both players of the page, and the edge.
    assert_eq!(stream["viewers"]["connected"], 3, "{stream}");
    let keyframe = gateway.request("GET", "/cam/keyframe", &[], b"");
    assert_eq!(keyframe.status, 200);
}

#[tokio::test]
async fn page_that_waits_links_to_live_streams_of_its_application_only() {
    let gateway = Gateway::start();
    let _publisher = Publisher::start(&clip(), &gateway.rtmp_url("cam/front"));
    gateway.wait_live("cam/front").await;
    let browser = Browser::start().await;
    let waits = "globalThis.player?.dataset.state === 'waiting'";
    let hint = "document.querySelector('#hint')";
    for (stream, shown) in [
        ("other", format!("{hint}.hidden")),
        (
            STREAM,
            format!("{hint}.innerText === 'Live now: cam/front'"),
        ),
    ] {
        browser.open(&gateway.page_url(stream)).await;
        eventually("the page waits, with the hint", async || {
            let looks = format!("{waits} && {shown}");
            browser.evaluate::<bool>(&looks).await.then_some(())
        })
        .await;
    }
    browser.screenshot("player_waits_with_hint").await;
    browser.click("#hint a").await;
    let plays = |report: &VideoReport| report.counters.len() >= FRAMES;
    browser.wait_for("video", "frames", plays).await;
}

#[tokio::test]
async fn stream_without_a_page_has_no_link_to_one() {
    let gateway = Gateway::start();
    let _publisher = Publisher::start(&clip(), &gateway.rtmp_url("metrics"));
    gateway.wait_live("metrics").await;
    let browser = Browser::start().await;
    browser.open(&gateway.admin_url()).await;
    let titles =
        "[...document.querySelectorAll('.addresses dt')].map((title) => title.textContent)";
    eventually("the dashboard has the other addresses", async || {
        let shown: Vec<String> = browser.evaluate(titles).await;
        (shown == ["WHEP", "RTMP server", "Stream key"]).then_some(())
    })
    .await;
    let hidden = "document.querySelector('a.watch').hidden";
    assert!(browser.evaluate::<bool>(hidden).await);
    browser.open(&gateway.page_url("")).await;
    eventually(
        "the front page lists the stream without a link",
        async || {
            let hidden = "document.querySelector('#streams a')?.hidden ?? false";
            browser.evaluate::<bool>(hidden).await.then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn obs_names_the_stream_in_the_key() {
    let gateway = Gateway::start_configured(KEYS);
    // OBS sends an empty application for the server `rtmp://host`, as librtmp does.
    let url = format!("rtmp://{} playpath=cam?key=secret", gateway.rtmp);
    let _publisher = librtmp_publishes(&clip(), &url, &[]);
    gateway.wait_live(STREAM).await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url(STREAM)).await;
    let plays = |report: &VideoReport| report.counters.len() >= FRAMES;
    browser.wait_for("video", "frames", plays).await;
    let hint = "document.querySelector('#hint').hidden";
    eventually("the hint for those who wait is hidden", async || {
        browser.evaluate::<bool>(hint).await.then_some(())
    })
    .await;

    browser.open(&gateway.admin_url()).await;
    let codes = "[...document.querySelectorAll('.addresses code')].map((code) => code.textContent)";
    let addresses: Vec<String> = eventually("the dashboard has the addresses", async || {
        let shown: Vec<String> = browser.evaluate(codes).await;
        (shown.len() == 4).then_some(shown)
    })
    .await;
    assert_eq!(
        addresses,
        [
            gateway.page_url(STREAM),
            gateway.whep_url(STREAM),
            format!("rtmp://{}/", gateway.rtmp),
            STREAM.to_owned(),
        ]
    );
    browser.screenshot("dashboard_name_of_one_part").await;
}
