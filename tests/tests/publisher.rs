//! One publisher per name.

use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::wait::eventually;

#[tokio::test]
async fn second_publisher_of_a_name_is_refused() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let mut first = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;

    let mut second = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    let (status, output) = second.wait();
    assert!(!status.success(), "{output}");
    assert!(
        output.contains("live/test"),
        "ffmpeg was not told the name: {output}"
    );

    assert!(first.is_running());
    wait_for_more_frames(&gateway, "live/test").await;
}

#[tokio::test]
async fn publishers_of_different_names_coexist() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _one = Publisher::start(&clip, &gateway.rtmp_url("live/one"));
    let _two = Publisher::start(&clip, &gateway.rtmp_url("live/two"));
    for name in ["live/one", "live/two"] {
        gateway.wait_live(name).await;
        wait_for_more_frames(&gateway, name).await;
    }
}

#[tokio::test]
async fn name_is_free_after_its_publisher_stopped_or_died() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let stopped = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    stopped.stop();
    wait_for_end(&gateway, "live/test").await;

    let killed = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    drop(killed);
    wait_for_end(&gateway, "live/test").await;

    let _third = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
}

#[tokio::test]
async fn viewers_stay_when_the_publisher_returns_with_other_settings() {
    let gateway = Gateway::start();
    let (small, large) = (
        Clip::encoded(FRAME_RATE, Encoding::InOrder),
        Clip::new(1280, 720, 2 * FRAME_RATE, Encoding::InOrder),
    );
    let publisher = Publisher::start(&small, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    page.watch("viewer", &gateway.whep_url("live/test")).await;
    let shows = async |clip: &Clip, heard: u64| {
        let shown = page.browser.wait_for("#viewer", "the frame", |report| {
            let audio = report.audio.as_ref();
            report.width == clip.width
                && audio.is_some_and(|audio| audio.packets_received > heard + 25)
        });
        shown.await
    };
    let before = shows(&small, 0).await;
    publisher.stop();
    wait_for_end(&gateway, "live/test").await;
    let _publisher = Publisher::start(&large, &gateway.rtmp_url("live/test"));
    let heard = before
        .audio
        .as_ref()
        .map_or(0, |audio| audio.packets_received);
    let after = shows(&large, heard).await;
    assert_eq!(
        (after.peers, after.connection_state.as_str()),
        (1, "connected")
    );
    let frames = after.counters.len() + 2 * FRAME_RATE as usize;
    let after = page
        .browser
        .wait_for("#viewer", "frames", |report| report.counters.len() > frames);
    let after = after.await;
    assert!(
        after.counters[frames - 30..].iter().all(Option::is_some),
        "{after:?}"
    );
    after.assert_decodes();
    assert!(after.audio_energy() > before.audio_energy());
    page.browser.screenshot("publisher_is_back").await;
}

async fn wait_for_more_frames(gateway: &Gateway, name: &str) {
    let frames = || {
        gateway
            .stream(name)
            .and_then(|stream| stream["video_frames"].as_u64())
    };
    let before = frames().expect("the stream is live");
    eventually("more frames", async || {
        frames().filter(|frames| *frames > before + 30)
    })
    .await;
}

async fn wait_for_end(gateway: &Gateway, name: &str) {
    let gone = async || gateway.stream(name).is_none().then_some(());
    eventually(&format!("{name} is no longer live"), gone).await;
}
