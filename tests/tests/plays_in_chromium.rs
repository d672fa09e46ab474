//! The main job: a stream of ffmpeg over RTMP plays in Chromium.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::report::VideoReport;

/// Number of frames to check: several GOPs.
const FRAMES: usize = 5 * FRAME_RATE as usize;

#[tokio::test]
async fn stream_of_ffmpeg_plays_with_audio_and_video() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;

    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let report = wait_for_video_and_audio(&page.browser, "#viewer").await;
    page.browser.screenshot("plays_in_chromium").await;
    report.assert_plays(&clip);
    report.assert_hears_all();

    let audio = report.audio.expect("statistics of received audio");
    assert!(
        audio.concealed_samples < audio.total_samples_received / 2,
        "mostly made up: {audio:?}"
    );
}

#[tokio::test]
async fn audio_sent_together_with_video_has_no_gaps() {
    let (_, [before, after]) = watch_with("[viewers]\nbundle_audio_from = 0\n").await;
    after.assert_hears_all();
    let received = |report: &VideoReport| {
        let (audio, video) = (report.audio.as_ref()?, report.video.as_ref()?);
        Some((audio.packets_received, video.frames_received))
    };
    let (before, now) = received(&before).zip(received(&after)).expect("statistics");
    // Most packets have two Opus frames: there is one for each video frame, instead of 50 for 30.
    let (packets, frames) = (now.0 - before.0, now.1 - before.1);
    assert!(
        3 * packets < 4 * frames,
        "{packets} packets, {frames} frames"
    );
    let audio = after.audio.expect("statistics of received audio");
    assert!(
        audio.concealed_samples < audio.total_samples_received / 2,
        "mostly made up: {audio:?}"
    );
}

#[tokio::test]
async fn redundant_audio_plays() {
    let (answer, _) = watch_with("[viewers]\naudio_red = true\n").await;
    assert!(answer.contains(" red/48000/2"), "{answer}");
}

/// Watches a gateway with this configuration until enough video and audio has played, and then as long
/// again. Returns the SDP answer and both states of the video.
async fn watch_with(configuration: &str) -> (String, [VideoReport; 2]) {
    let gateway = Gateway::start_configured(configuration);
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let before = wait_for_video_and_audio(&page.browser, "#viewer").await;
    let enough = before.counters.len() + FRAMES;
    let is_enough = |report: &VideoReport| report.counters.len() >= enough;
    let after = page.browser.wait_for("#viewer", "more frames", is_enough);
    let after = after.await;
    after.assert_plays(&clip);
    (answer.body, [before, after])
}

#[tokio::test]
async fn player_page_plays_over_ipv6() {
    let gateway = Gateway::start_on("[::1]:0", &[]);
    let clip = Clip::new(1280, 720, 2 * FRAME_RATE, Encoding::InOrder);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;

    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    browser.click(".mute").await;
    let report = wait_for_video_and_audio(&browser, "video").await;
    browser.screenshot("player_page_ipv6").await;
    report.assert_plays(&clip);
}

async fn wait_for_video_and_audio(browser: &Browser, video: &str) -> VideoReport {
    let plays = |report: &VideoReport| {
        let audible = report
            .audio
            .as_ref()
            .is_some_and(|audio| audio.audio_level > 0.0);
        report.counters.len() >= FRAMES && audible && report.audio_energy() > 0.0
    };
    browser.wait_for(video, "frames and audio", plays).await
}
