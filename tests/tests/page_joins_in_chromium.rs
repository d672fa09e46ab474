//! The player page joins in the session that came with it, in Chromium.

use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

/// Number of frames that proves playback.
const FRAMES: usize = 2 * FRAME_RATE as usize;

/// Withdraws every offer of the gateway before the page answers it.
const TOO_LATE: &str = "(() => {
  const native = window.fetch;
  window.fetch = async (url, init = {}) => {
    if (init.method === 'PATCH') await native(url, { method: 'DELETE' });
    return native(url, init);
  };
})();";

/// A gateway with a live stream.
struct Stage {
    gateway: Gateway,
    clip: Clip,
    _publisher: Publisher,
}

impl Stage {
    async fn new() -> Self {
        let gateway = Gateway::start();
        let clip = Clip::with_gop(FRAME_RATE);
        let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
        gateway.wait_live("live/test").await;
        Self {
            gateway,
            clip,
            _publisher: publisher,
        }
    }

    /// Returns the value of a metric.
    fn metric(&self, name: &str) -> String {
        let metrics = client::request(self.gateway.admin, "GET", "/metrics", &[], b"");
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("there is no {name}"))
            .to_owned()
    }

    async fn wait_for_frames(&self, browser: &Browser) {
        let report = browser
            .wait_for("video", "frames", |report| report.counters.len() > FRAMES)
            .await;
        report.assert_plays(&self.clip);
    }

    async fn wait_for_one_viewer(&self) {
        eventually("one viewer", async || {
            let stream = self.gateway.stream("live/test")?;
            (stream["viewers"]["connected"] == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn page_plays_in_the_session_that_came_with_it() {
    let stage = Stage::new().await;
    let browser = Browser::start().await;
    browser.open(&stage.gateway.page_url("live/test")).await;
    stage.wait_for_frames(&browser).await;
    stage.wait_for_one_viewer().await;
    assert_eq!(
        stage.metric("distributary_prepared_sessions_answered_total"),
        "1"
    );
    let report = browser.report("video").await.expect("the video is there");
    assert_eq!(report.peers, 1, "the player needs no connection of its own");
    assert!(
        browser.text(".viewers").await.contains("1 watching"),
        "events arrive"
    );
}

#[tokio::test]
async fn page_from_the_history_gets_a_session_of_its_own() {
    let stage = Stage::new().await;
    let browser = Browser::start().await;
    browser
        .open(&stage.gateway.page_url("live/test?embed"))
        .await;
    stage.wait_for_frames(&browser).await;
    browser.open(&stage.gateway.page_url("live/other")).await;
    eventually("the session is gone", async || {
        let stream = stage.gateway.stream("live/test")?;
        (stream["viewers"]["connected"] == 0).then_some(())
    })
    .await;
    let _: Option<u8> = browser.evaluate("history.back()").await;
    eventually("the page is back", async || {
        let path: String = browser.evaluate("location.pathname").await;
        (path == "/live/test").then_some(())
    })
    .await;
    stage.wait_for_frames(&browser).await;
    stage.wait_for_one_viewer().await;
}

#[tokio::test]
async fn page_whose_offer_has_expired_asks_for_a_session() {
    let stage = Stage::new().await;
    let browser = Browser::start().await;
    browser.run_in_all_pages(TOO_LATE).await;
    browser.open(&stage.gateway.page_url("live/test")).await;
    stage.wait_for_frames(&browser).await;
    stage.wait_for_one_viewer().await;
    assert_eq!(stage.metric("distributary_prepared_sessions_total"), "1");
    assert_eq!(
        stage.metric("distributary_prepared_sessions_answered_total"),
        "0"
    );
}
