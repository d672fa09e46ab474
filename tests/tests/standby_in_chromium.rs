//! Two encoders publish one name, and Chromium watches while one of them fails.

use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::report::VideoReport;
use distributary_tests::wait::eventually;
use serde::Deserialize;

/// Frames from one keyframe to the next: half a second.
const GOP: u32 = FRAME_RATE / 2;

/// Longer times than the defaults, so that an encoder that waits for its turn on a busy machine is
/// neither silent nor gone.
const CONFIG: &str = "
    [publishers]
    on_duplicate = \"standby\"
    standby_after = \"3s\"
    read_timeout = \"60s\"
";

/// A frame that was shown.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Shown {
    /// Time at which it was shown, in milliseconds.
    at: f64,
    /// Its width in pixels, which tells the encoders apart.
    width: u32,
    /// Its RTP timestamp.
    time: u32,
}

/// Notes each frame that the viewer is shown.
async fn note_frames(page: &WatchPage) {
    let script = "(() => {
        const video = document.getElementById('viewer');
        video.shown = [];
        const next = (at, { width, rtpTimestamp }) => {
          video.shown.push({ at, width, time: rtpTimestamp });
          video.requestVideoFrameCallback(next);
        };
        video.requestVideoFrameCallback(next);
        return true;
    })()";
    let _: bool = page.browser.evaluate(script).await;
}

/// Waits until the viewer is shown frames of this width for half a second. Returns the frames that
/// it was shown since the last call: all but the newest, with which the next call begins.
async fn shown(page: &WatchPage, width: u32) -> Vec<Shown> {
    let mut all = Vec::new();
    let look = async || {
        let script = "(({ shown }) => shown.splice(0, Math.max(shown.length - 1, 0)))(
            document.getElementById('viewer'))";
        let shown: Vec<Shown> = page.browser.evaluate(script).await;
        all.extend(shown);
        let newest = all.iter().rev();
        let run = newest.take_while(|shown| shown.width == width);
        (run.count() >= GOP as usize).then_some(())
    };
    eventually(&format!("frames of width {width}"), look).await;
    all
}

/// Asserts that the viewer has moved from one encoder to the other once, on one timeline. Prints
/// how long it was shown no new frame, of which `failed` is the time of the failure.
fn assert_switched(what: &str, shown: &[Shown], failed: f64) {
    let changes = shown.windows(2).filter(|two| two[0].width != two[1].width);
    let changes: Vec<_> = changes.collect();
    assert_eq!(changes.len(), 1, "{what}: {shown:?}");
    // Wrapping, as the clock of RTP. A busy page may be shown a frame again.
    let goes_on = |two: &[Shown]| (two[1].time.wrapping_sub(two[0].time) as i32) >= 0;
    let broken = shown.windows(2).find(|two| !goes_on(two));
    assert!(broken.is_none(), "{what}: {broken:?}");
    let (last, first) = (changes[0][0], changes[0][1]);
    println!(
        "{what}: frozen for {:.0} ms, shown again {:.0} ms after the failure",
        first.at - last.at,
        first.at - failed
    );
}

async fn browser_time(page: &WatchPage) -> f64 {
    page.browser.evaluate("performance.now()").await
}

/// Waits until the only standby of the stream satisfies `condition`.
async fn wait_for_standby(gateway: &Gateway, condition: impl Fn(&serde_json::Value) -> bool) {
    let look = async || {
        let stream = gateway.stream("live/test")?;
        let standbys = stream["standbys"].as_array()?;
        (standbys.len() == 1 && condition(&standbys[0])).then_some(())
    };
    eventually("the standby", look).await;
}

#[tokio::test]
async fn video_goes_on_in_the_session_when_an_encoder_is_killed_or_frozen() {
    let gateway = Gateway::start_configured(CONFIG);
    let large = Clip::new(640, 360, GOP, Encoding::InOrder);
    let small = Clip::new(320, 240, GOP, Encoding::InOrder);
    let url = gateway.rtmp_url("live/test");
    let first = Publisher::start(&large, &url);
    gateway.wait_watchable("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(page.listen("viewer").await, 201);
    note_frames(&page).await;
    shown(&page, 640).await;

    let second = Publisher::start(&small, &url);
    let is_small = |standby: &serde_json::Value| standby["video"]["width"] == 320;
    wait_for_standby(&gateway, is_small).await;
    let failed = browser_time(&page).await;
    drop(first);
    assert_switched("killed", &shown(&page, 320).await, failed);

    let back = Publisher::start(&large, &url);
    wait_for_standby(&gateway, |standby| standby["video"]["width"] == 640).await;
    let failed = browser_time(&page).await;
    second.signal("STOP");
    assert_switched("frozen", &shown(&page, 640).await, failed);
    // The frozen one stands by, and is of use again.
    wait_for_standby(&gateway, is_small).await;
    second.signal("CONT");
    let sends = |standby: &serde_json::Value| standby["silent_seconds"].as_f64() < Some(0.5);
    wait_for_standby(&gateway, sends).await;
    let failed = browser_time(&page).await;
    back.stop();
    assert_switched("stopped", &shown(&page, 320).await, failed);

    let plays = |report: &VideoReport| report.audio_energy() > 0.0;
    let report = page.browser.wait_for("#viewer", "audio", plays).await;
    assert_eq!(report.peers, 1, "one session");
    assert_eq!(report.connection_state, "connected");
    let events: Vec<String> = page.browser.evaluate("events('viewer')").await;
    let is_offline = |event: &String| event == "inactive";
    assert!(!events.iter().any(is_offline), "{events:?}");
    let takeovers = gateway.ask("/api/journal");
    let takeovers = takeovers["entries"].as_array().expect("a list");
    let takeovers = takeovers.iter().filter(|entry| entry["kind"] == "takeover");
    let reasons: Vec<_> = takeovers.map(|entry| entry["detail"].clone()).collect();
    let gone = "the active publisher has left";
    let silent = "the active publisher is silent, or its video is frozen";
    assert_eq!(reasons, [gone, silent, gone]);
    drop(second);
}
