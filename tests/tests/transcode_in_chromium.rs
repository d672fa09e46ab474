//! Streams that are transcoded for a browser that cannot decode them.

use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::process::{is_running, kill};
use distributary_tests::publishers::{recent_ffmpeg_path, recent_ffmpeg_publishes};
use distributary_tests::report::VideoReport;
use distributary_tests::wait::eventually;

const STREAM: &str = "live/test";

/// Log message for a working ffmpeg.
const FOUND: &str = "streams are transcoded for viewers";

/// The offer of a Chromium that wants to watch.
const OFFER: &str = include_str!("../../crates/webrtc/tests/fixtures/offers/chromium-offer.sdp");

fn pyramid() -> Clip {
    Clip::encoded(2 * FRAME_RATE, Encoding::Pyramid)
}

async fn wait_for_frames(page: &WatchPage, count: usize) -> VideoReport {
    let enough =
        |report: &VideoReport| report.counters.len() > count && report.audio_energy() > 0.0;
    let browser = &page.browser;
    browser
        .wait_for("#viewer", "frames and audio", enough)
        .await
}

/// Waits for a running transcoder that is not `other`, and returns its pid.
async fn encoder(gateway: &Gateway, other: Option<u32>) -> u32 {
    eventually("an encoder runs", async || {
        let encoders = gateway.encoders();
        assert!(encoders.len() <= 1, "one for all viewers: {encoders:?}");
        encoders.into_iter().find(|pid| Some(*pid) != other)
    })
    .await
}

#[tokio::test]
async fn transcoded_frames_are_in_order_and_transcoder_runs_only_with_viewers() {
    let gateway = Gateway::start_configured("[transcode]\nidle_timeout = \"1s\"");
    gateway.logged_until(FOUND);
    let clip = pyramid();
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url(STREAM));
    gateway.wait_live(STREAM).await;
    assert!(gateway.encoders().is_empty(), "nobody watches");

    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url(STREAM)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let first = encoder(&gateway, None).await;
    page.browser.wait_for_all_frames("#viewer").await;
    let report = wait_for_frames(&page, 3 * FRAME_RATE as usize).await;
    report.assert_plays(&clip);
    page.browser.screenshot("transcode").await;
    let stream = gateway.stream(STREAM).expect("the stream is live");
    assert_eq!(stream["b_frames"], "reference", "{stream}");
    assert_eq!(stream["viewers"]["transcoded"], 1, "{stream}");
    assert_eq!(stream["transcode"]["video"]["codec"], "H264", "{stream}");

    // A new transcoder replaces one that dies, and the session continues.
    kill(first);
    encoder(&gateway, Some(first)).await;
    let shown = report.counters.len() + 2 * FRAME_RATE as usize;
    let report = wait_for_frames(&page, shown).await;
    assert_eq!(report.peers, 1, "{report:?}");
    report.assert_plays(&clip);

    assert_eq!(page.leave("viewer").await, 200);
    eventually("the encoder is gone", async || {
        // The transcoded stream is removed a moment after its process.
        let transcode = &gateway.stream(STREAM).expect("it is live")["transcode"];
        (gateway.encoders().is_empty() && transcode.is_null()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn session_older_than_its_stream_switches_to_the_transcode() {
    let gateway = Gateway::start_configured("[whep]\noffline = \"wait\"");
    gateway.logged_until(FOUND);
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url(STREAM)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let clip = pyramid();
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url(STREAM));
    eventually("the viewer has the transcode", async || {
        let stream = gateway.stream(STREAM)?;
        (stream["viewers"]["transcoded"] == 1).then_some(())
    })
    .await;
    let shown = page.browser.report("#viewer").await;
    let shown = shown.map_or(0, |report| report.counters.len());
    let report = wait_for_frames(&page, shown + 3 * FRAME_RATE as usize).await;
    assert_eq!(report.peers, 1, "{report:?}");
    report.assert_plays(&clip);
}

#[tokio::test]
async fn browser_without_hevc_gets_the_transcode() {
    let program = recent_ffmpeg_path()
        .to_str()
        .expect("a path of this system is text");
    let gateway = Gateway::start_configured(&format!("[transcode]\ncommand = \"{program}\""));
    gateway.logged_until(FOUND);
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let options = "-c:v libx265 -preset ultrafast -x265-params log-level=error -g 60 -b:v 1M \
                   -c:a copy -rtmp_enhanced_codecs hvc1";
    let _publisher = recent_ffmpeg_publishes(&clip, options, &gateway.rtmp_url(STREAM));
    gateway.wait_live(STREAM).await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url(STREAM)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    wait_for_frames(&page, FRAME_RATE as usize)
        .await
        .assert_plays(&clip);
    let stream = gateway.stream(STREAM).expect("the stream is live");
    assert_eq!(stream["video"]["codec"], "H265", "{stream}");
}

#[tokio::test]
async fn transcoder_ends_with_the_gateway() {
    let clip = pyramid();
    let ends: [fn(&Gateway); 2] = [Gateway::terminate, Gateway::kill];
    for end in ends {
        let mut gateway = Gateway::start();
        gateway.logged_until(FOUND);
        let _publisher = Publisher::start(&clip, &gateway.rtmp_url(STREAM));
        gateway.wait_live(STREAM).await;
        let headers = [("Content-Type", "application/sdp")];
        let path = format!("/whep/{STREAM}");
        let answer = gateway.request("POST", &path, &headers, OFFER.as_bytes());
        assert_eq!(answer.status, 201);
        let encoder = encoder(&gateway, None).await;
        end(&gateway);
        gateway.wait();
        eventually("the encoder is gone", async || {
            (!is_running(encoder)).then_some(())
        })
        .await;
    }
}
