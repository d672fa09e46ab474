//! RTMP publishers play in Chromium: each has its own RTMP implementation or handshake.

use std::process::Command;

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::origin::Nginx;
use distributary_tests::page::WatchPage;
use distributary_tests::publishers::{
    gstreamer_publishes, librtmp_publishes, recent_ffmpeg_publishes,
};
use distributary_tests::report::VideoReport;
use distributary_tests::wait::eventually;

/// Number of frames that proves playback.
const FRAMES: usize = 2 * FRAME_RATE as usize;

const STREAM: &str = "live/test";

/// Enables RTMPS with a self-signed certificate, besides RTMP.
const RTMPS: &str = "[rtmps]\nlisten = \"127.0.0.1:0\"\n";

fn clip() -> Clip {
    Clip::with_gop(2 * FRAME_RATE)
}

/// Watches the stream until enough video and audio has played.
async fn watch(gateway: &Gateway, name: &str) -> VideoReport {
    let page = WatchPage::open().await;
    watch_as(&page, "viewer", &gateway.whep_url(name)).await
}

/// Does the same as one of several viewers on a page.
async fn watch_as(page: &WatchPage, viewer: &str, url: &str) -> VideoReport {
    let answer = page.watch(viewer, url).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let plays =
        |report: &VideoReport| report.counters.len() >= FRAMES && report.audio_energy() > 0.0;
    let video = format!("#{viewer}");
    page.browser
        .wait_for(&video, "frames and audio", plays)
        .await
}

/// Asserts that each frame of the clip arrives intact and in order, with audio.
async fn assert_seen_and_heard(gateway: &Gateway) {
    gateway.wait_live(STREAM).await;
    watch(gateway, STREAM).await.assert_plays(&clip());
}

#[tokio::test]
async fn ffmpeg_over_tls() {
    let gateway = Gateway::start_configured(RTMPS);
    let url = format!("rtmps://{}/{STREAM}", gateway.rtmps());
    let _publisher = Publisher::start(&clip(), &url);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn recent_ffmpeg_over_rtmp() {
    let gateway = Gateway::start();
    let _publisher = recent_ffmpeg_publishes(&clip(), "-c copy", &gateway.rtmp_url(STREAM));
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn recent_ffmpeg_over_rtmpe() {
    let gateway = Gateway::start();
    let url = format!("rtmpe://{}/{STREAM}", gateway.rtmp);
    let _publisher = recent_ffmpeg_publishes(&clip(), "-c copy", &url);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn recent_ffmpeg_over_tls() {
    let gateway = Gateway::start_configured(RTMPS);
    let url = format!("rtmps://{}/{STREAM}", gateway.rtmps());
    let _publisher = recent_ffmpeg_publishes(&clip(), "-c copy -tls_verify 0", &url);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn h264_with_opus_by_enhanced_rtmp() {
    let gateway = Gateway::start();
    let clip = clip();
    let url = gateway.rtmp_url(STREAM);
    let _publisher = recent_ffmpeg_publishes(
        &clip,
        "-c:v copy -c:a libopus -rtmp_enhanced_codecs avc1,Opus",
        &url,
    );
    assert_seen_and_heard(&gateway).await;
    let stream = gateway.stream(STREAM).expect("the stream is live");
    assert_eq!(stream["audio"]["codec"], "Opus");
}

#[tokio::test]
async fn gstreamer_over_rtmp() {
    let gateway = Gateway::start();
    let sink = format!("rtmp2sink location={}", gateway.rtmp_url(STREAM));
    let _publisher = gstreamer_publishes(&clip(), &sink);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn gstreamer_over_tls() {
    let gateway = Gateway::start_configured(RTMPS);
    let address = gateway.rtmps();
    let sink = format!("rtmp2sink location=rtmps://{address}/{STREAM} tls-validation-flags=0");
    let _publisher = gstreamer_publishes(&clip(), &sink);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn librtmp_with_a_simple_handshake() {
    let gateway = Gateway::start();
    let _publisher = librtmp_publishes(&clip(), &gateway.rtmp_url(STREAM), &[]);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn librtmp_with_a_digest_in_its_handshake() {
    let gateway = Gateway::start();
    let _publisher = librtmp_publishes(&clip(), &gateway.rtmp_url(STREAM), &["0", "prove"]);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn librtmp_over_rtmpe() {
    let gateway = Gateway::start();
    let url = format!("rtmpe://{}/{STREAM}", gateway.rtmp);
    let _publisher = librtmp_publishes(&clip(), &url, &[]);
    assert_seen_and_heard(&gateway).await;
}

#[tokio::test]
async fn timestamps_beyond_24_bits_that_wrap_after_32() {
    let gateway = Gateway::start();
    // A second before the end of the 32 bits.
    let _publisher = librtmp_publishes(&clip(), &gateway.rtmp_url(STREAM), &["0xFFFFFC18"]);
    assert_seen_and_heard(&gateway).await;
}

/// Encoder options of a recent ffmpeg, with the name of the codec.
const AV1: &str = "-c:v libsvtav1 -preset 12 -crf 20 -g 60 -c:a copy -rtmp_enhanced_codecs av01";
const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M -g 60 -c:a copy \
                   -rtmp_enhanced_codecs vp09";
const H265: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0 -g 60 \
                    -c:a copy -rtmp_enhanced_codecs hvc1";

#[tokio::test]
async fn av1_and_vp9_play_with_audio() {
    let gateway = Gateway::start();
    let clip = Clip::small();
    let page = WatchPage::open().await;
    for (name, options, codec) in [("av1", AV1, "AV1"), ("vp9", VP9, "VP9")] {
        let stream = format!("live/{name}");
        let _publisher = recent_ffmpeg_publishes(&clip, options, &gateway.rtmp_url(&stream));
        gateway.wait_live(&stream).await;
        let url = gateway.whep_url(&stream);
        watch_as(&page, name, &url).await.assert_plays(&clip);
        // In the middle of a GOP.
        let late = watch_as(&page, &format!("{name}-late"), &url).await;
        late.assert_plays(&clip);
        let stream = gateway.stream(&stream).expect("the stream is live");
        assert_eq!(stream["video"]["codec"], codec, "{stream}");
        assert_eq!(stream["video"]["width"], clip.width, "{stream}");
    }
}

/// Options of ffmpeg that encode the tone of 440 Hz, with the name of the codec in the API and that
/// of ffmpeg.
const OTHER_AUDIO: [(&str, &str, &str); 3] = [
    ("-c:a libmp3lame -ar 44100 -b:a 128k", "MP3", "mp3"),
    ("-c:a pcm_alaw -ar 8000 -ac 1", "G.711 A-law", "pcm_alaw"),
    ("-c:a pcm_mulaw -ar 8000 -ac 1", "G.711 mu-law", "pcm_mulaw"),
];

#[tokio::test]
async fn mp3_and_g711_are_heard_and_reach_rtmp_players_as_published() {
    let gateway = Gateway::start();
    let page = WatchPage::open().await;
    for (options, codec, published) in OTHER_AUDIO {
        let name = format!("live/{published}");
        let url = gateway.rtmp_url(&name);
        let _publisher = recent_ffmpeg_publishes(&clip(), &format!("-c:v copy {options}"), &url);
        gateway.wait_live(&name).await;
        let report = watch_as(&page, published, &gateway.whep_url(&name)).await;
        report.assert_plays(&clip());
        eventually(&format!("the tone of {codec} is heard"), async || {
            let hertz = page.pitch(published).await;
            (430.0..450.0).contains(&hertz).then_some(())
        })
        .await;
        let stream = gateway.stream(&name).expect("the stream is live");
        assert_eq!(stream["audio"]["codec"], codec, "{stream}");
        assert!(stream["audio"]["level_dbfs"].is_number(), "{stream}");
        let mut probe = Command::new("ffprobe");
        probe.args(["-v", "error", "-select_streams", "a", "-of", "csv=p=0"]);
        probe.args(["-show_entries", "stream=codec_name", &url]);
        let output = probe.output().expect("ffprobe can be run");
        assert_eq!(output.stdout.trim_ascii(), published.as_bytes());
    }
}

#[tokio::test]
async fn browser_without_h265_gets_audio() {
    let gateway = Gateway::start();
    let url = gateway.rtmp_url(STREAM);
    let _publisher = recent_ffmpeg_publishes(&Clip::small(), H265, &url);
    gateway.wait_live(STREAM).await;
    let stream = gateway.stream(STREAM).expect("the stream is live");
    assert_eq!(stream["video"]["codec"], "H265", "{stream}");
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url(STREAM)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.body.contains("m=video 0 "), "{}", answer.body);
    assert!(answer.body.contains("opus/48000/2"), "{}", answer.body);
}

#[tokio::test]
async fn open_page_plays_on_after_a_codec_change() {
    let gateway = Gateway::start();
    let (clip, url) = (Clip::small(), gateway.rtmp_url(STREAM));
    let publisher = Publisher::start(&clip, &url);
    gateway.wait_live(STREAM).await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url(STREAM)).await;
    let plays = |report: &VideoReport| report.counters.len() >= FRAMES;
    let first = browser.wait_for("video", "H264", plays).await;
    publisher.stop();
    let _publisher = recent_ffmpeg_publishes(&clip, VP9, &url);
    let goes_on = |report: &VideoReport| {
        report.peers > first.peers
            && report.counters.len() >= first.counters.len() + FRAMES
            && report.connection_state == "connected"
    };
    browser.wait_for("video", "VP9", goes_on).await;
    gateway.logged_until("the publisher has changed the video codec");
}

#[tokio::test]
async fn further_audio_tracks_are_listed_and_further_video_tracks_are_renditions() {
    let gateway = Gateway::start();
    let clip = clip();
    let url = gateway.rtmp_url(STREAM);
    let _publisher = recent_ffmpeg_publishes(
        &clip,
        "-map 0:v -map 0:a -map 0:v -map 0:a -c copy -rtmp_enhanced_codecs avc1,mp4a",
        &url,
    );
    assert_seen_and_heard(&gateway).await;
    let stream = gateway.stream(STREAM).expect("the stream is live");
    let others = stream["publisher"]["other_tracks"].as_array();
    let others: Vec<_> = others
        .expect("a list")
        .iter()
        .map(|track| (track["kind"].as_str(), track["id"].as_u64()))
        .collect();
    assert_eq!(others, [(Some("audio"), Some(1))]);
    let renditions = stream["renditions"].as_array();
    let mut renditions: Vec<_> = renditions
        .expect("a list")
        .iter()
        .filter(|rendition| rendition["origin"] != "transcoded")
        .map(|rendition| (rendition["id"].as_str(), rendition["origin"].as_str()))
        .collect();
    renditions.sort_unstable();
    let expected = [("source", "source"), ("track1", "track")];
    assert_eq!(
        renditions,
        expected.map(|(id, origin)| (Some(id), Some(origin)))
    );
}

#[tokio::test]
async fn stream_of_another_server_is_pulled_on_demand() {
    let origin = Nginx::start().await;
    let _publisher = Publisher::start(&clip(), &origin.url("test"));
    let pull = format!(
        "[[pull]]\nmatch = \"live/*\"\nfrom = \"rtmp://{}/live\"\nidle_timeout = \"0s\"\n",
        origin.rtmp
    );
    let gateway = Gateway::start_configured(&pull);
    assert!(gateway.stream(STREAM).is_none(), "nobody watches yet");
    watch(&gateway, STREAM).await.assert_plays(&clip());
    // Closing the page ends the session.
    eventually("the pull has ended", async || {
        gateway.stream(STREAM).is_none().then_some(())
    })
    .await;
}
