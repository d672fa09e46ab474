//! One publisher for each name.

use distributary_tests::ffmpeg::{Clip, Coding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::wait::eventually;

#[tokio::test]
async fn a_second_publisher_on_a_live_name_is_refused_and_the_first_goes_on() {
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
async fn publishers_on_different_names_live_side_by_side() {
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
async fn a_name_is_free_again_after_its_publisher_stopped_or_died() {
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
async fn viewers_stay_in_their_session_when_the_publisher_comes_back_with_other_settings() {
    let gateway = Gateway::start();
    let (small, large) = (
        Clip::coded(FRAME_RATE, Coding::InOrder),
        Clip::new(1280, 720, 2 * FRAME_RATE, Coding::InOrder),
    );
    let publisher = Publisher::start(&small, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    page.watch("viewer", &gateway.whep_url("live/test")).await;
    let shows = async |clip: &Clip, heard: u64| {
        let shown = page.browser.wait_for("#viewer", "the picture", |report| {
            let sound = report.audio.as_ref();
            report.width == clip.width
                && sound.is_some_and(|sound| sound.packets_received > heard + 25)
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
        .map_or(0, |sound| sound.packets_received);
    let after = shows(&large, heard).await;
    assert_eq!(
        (after.peers, after.connection_state.as_str()),
        (1, "connected")
    );
    let pictures = after.counters.len() + 2 * FRAME_RATE as usize;
    let after = page.browser.wait_for("#viewer", "pictures", |report| {
        report.counters.len() > pictures
    });
    let after = after.await;
    assert!(
        after.counters[pictures - 30..].iter().all(Option::is_some),
        "{after:?}"
    );
    let video = after.video.as_ref().expect("statistics of received video");
    // A browser short of CPU time drops pictures; it asks for a keyframe where it cannot decode one.
    assert!(
        video.frames_decoded + video.frames_dropped + 5 >= video.frames_received,
        "{video:?}"
    );
    assert_eq!(video.pli_count, 0, "{video:?}");
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
    eventually("more pictures", async || {
        frames().filter(|frames| *frames > before + 30)
    })
    .await;
}

async fn wait_for_end(gateway: &Gateway, name: &str) {
    let gone = async || gateway.stream(name).is_none().then_some(());
    eventually(&format!("{name} is no longer live"), gone).await;
}
