//! Streams with B-frames in Chromium, whose decoder reports errors unless it is made to reorder.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::report::VideoReport;

/// Two seconds between keyframes.
const GOP: u32 = 2 * FRAME_RATE;

/// A viewer of a stream.
struct Viewer {
    page: WatchPage,
    _publisher: Publisher,
    _gateway: Gateway,
}

impl Viewer {
    async fn start(clip: &Clip, config: &str, query: &str) -> Self {
        let gateway = Gateway::start_configured(config);
        let publisher = Publisher::start(clip, &gateway.rtmp_url("live/test"));
        gateway.wait_live("live/test").await;
        let page = WatchPage::open().await;
        let url = format!("{}{query}", gateway.whep_url("live/test"));
        page.watch("viewer", &url).await;
        Self {
            page,
            _publisher: publisher,
            _gateway: gateway,
        }
    }

    /// Waits until more than `frames` frames were shown.
    async fn watches(&self, frames: usize) -> VideoReport {
        let is_enough = |report: &VideoReport| report.counters.len() > frames;
        let report = self.page.browser.wait_for("#viewer", "frames", is_enough);
        let report = report.await;
        self.page.browser.screenshot("b_frames").await;
        report
    }
}

/// Guards a workaround: if this fails with a later Chromium, only keyframes must be sent.
#[tokio::test]
async fn every_frame_of_a_stream_with_reference_b_frames_is_shown_in_order() {
    let clip = Clip::encoded(GOP, Encoding::Pyramid);
    let viewer = Viewer::start(&clip, "[streams]\nbframes = \"reorder\"", "").await;
    viewer.page.browser.wait_for_all_frames("#viewer").await;
    let report = viewer.watches(5 * FRAME_RATE as usize).await;
    report.assert_plays(&clip);
}

#[tokio::test]
async fn player_that_cannot_reorder_frames_gets_keyframes() {
    let clip = Clip::encoded(FRAME_RATE, Encoding::Pyramid);
    let config = "[streams]\nbframes = \"reorder\"";
    let viewer = Viewer::start(&clip, config, "?bframes=keyframes").await;
    let report = viewer.watches(5).await;
    report.assert_plays(&clip);
    let all_keyframes = |counter: &Option<u32>| counter.is_some_and(|n| n % FRAME_RATE == 0);
    assert!(report.counters.iter().all(all_keyframes), "{report:?}");
}

#[tokio::test]
async fn non_reference_b_frames_are_dropped() {
    let clip = Clip::encoded(GOP, Encoding::BFrames);
    let viewer = Viewer::start(&clip, "[streams]\nbframes = \"drop\"", "").await;
    let report = viewer.watches(25).await;
    report.assert_plays(&clip);
    let steps = report.steps();
    // Three B-frames between two others, and fewer at the end of a GOP. A busy page misses some.
    let fourths = steps.iter().filter(|step| **step > 0 && **step % 4 == 0);
    assert!(2 * fourths.count() > steps.len(), "{steps:?}");
}

#[tokio::test]
async fn publisher_with_b_frames_is_refused_if_configured() {
    let gateway = Gateway::start_configured("[[stream]]\nmatch = \"live/*\"\nbframes = \"refuse\"");
    let clip = Clip::encoded(GOP, Encoding::Pyramid);
    let (status, _) = Publisher::start(&clip, &gateway.rtmp_url("live/test")).wait();
    assert!(!status.success());
    gateway.logged_until("publishing ended reason=the stream has B-frames");
    // Other names are not affected.
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("other/test"));
    gateway.wait_live("other/test").await;
}

/// Makes the statistics of the connection look like those of a decoder that fails.
const STOP_DECODER: &str = r"(() => {
  const native = RTCPeerConnection.prototype.getStats;
  let stopped = null;
  let requests = 0;
  RTCPeerConnection.prototype.getStats = async function getStats(...parameters) {
    stopped ??= this;
    const report = await native.apply(this, parameters);
    if (this !== stopped) return report;
    requests += 2;
    const isVideo = ({ type, kind }) => type === 'inbound-rtp' && kind === 'video';
    const changed = { framesDecoded: 100, pliCount: requests };
    return new Map([...report].map(([id, one]) => [id, isVideo(one) ? { ...one, ...changed } : one]));
  };
  return true;
})()";

#[tokio::test]
async fn player_whose_decoder_fails_switches_to_keyframes() {
    let gateway = Gateway::start_configured("[streams]\nbframes = \"reorder\"");
    let clip = Clip::encoded(FRAME_RATE, Encoding::Pyramid);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    let all = browser.wait_for("video", "all frames", |report| {
        report.counters.len() > 2 * FRAME_RATE as usize
    });
    all.await;
    let words = "player.shadowRoot.textContent";
    let words = browser.evaluate::<String>(words).await;
    assert!(!words.contains("B-frames"), "{words}");
    let stopped: bool = browser.evaluate(STOP_DECODER).await;
    assert!(stopped);
    // Then one frame per second is shown.
    let keyframes = browser.wait_for("video", "the keyframes", |report| {
        let last = &report.counters[report.counters.len() - 3..];
        last.iter()
            .all(|counter| counter.is_some_and(|number| number % FRAME_RATE == 0))
    });
    keyframes.await;
}
