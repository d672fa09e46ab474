//! The player page joins in the session that came with it, in Chromium.

use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::ffmpeg::FRAME_RATE;
use distributary_tests::live::LiveGateway;
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

/// Holds the files of the page back until `releaseFiles()`.
const HELD_FILES: &str = "(() => {
  const native = Element.prototype.append;
  Element.prototype.append = function append(...nodes) {
    if (this === document.head) window.releaseFiles = () => native.apply(this, nodes);
    else native.apply(this, nodes);
  };
})();";

/// A gateway with a live stream.
struct Stage(LiveGateway);

impl Stage {
    async fn new() -> Self {
        Self(LiveGateway::start().await)
    }

    /// Returns the value of a metric.
    fn metric(&self, name: &str) -> String {
        let metrics = client::request(self.0.gateway.admin, "GET", "/metrics", &[], b"");
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
        report.assert_plays(&self.0.clip);
    }

    async fn wait_for_one_viewer(&self) {
        eventually("one viewer", async || {
            let stream = self.0.gateway.stream("live/test")?;
            (stream["viewers"]["connected"] == 1).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn page_plays_in_the_session_that_came_with_it() {
    let stage = Stage::new().await;
    let browser = Browser::start().await;
    browser.open(&stage.0.gateway.page_url("live/test")).await;
    stage.wait_for_frames(&browser).await;
    stage.wait_for_one_viewer().await;
    assert_eq!(
        stage.metric("distributary_prepared_sessions_answered_total"),
        "1"
    );
    let report = browser.report("video").await.expect("the video is there");
    assert_eq!(report.peers, 1, "the player needs no connection of its own");
    eventually("events arrive", async || {
        let viewers = browser.text(".viewers").await;
        viewers.contains("1 watching").then_some(())
    })
    .await;
    let first_frame = eventually("the time of the first frame", async || {
        let stats = "document.querySelector('distributary-player').stats?.firstFrame ?? null";
        browser.evaluate::<Option<f64>>(stats).await
    });
    assert!(first_frame.await > 0.0, "it counts from the page's arrival");
}

#[tokio::test]
async fn video_plays_before_the_player_is_there_and_stays_the_same() {
    let stage = Stage::new().await;
    let browser = Browser::start().await;
    browser.run_in_all_pages(HELD_FILES).await;
    browser.open(&stage.0.gateway.page_url("live/test")).await;
    stage.wait_for_frames(&browser).await;
    browser.screenshot("player_before_its_files").await;
    let script = "(() => {
      const video = document.querySelector('video');
      const { x, y, width, height } = video.getBoundingClientRect();
      const note = ({ type }) => window.before.events.push(type);
      window.before = { video, events: [], place: [x, y, width, height].join() };
      for (const type of ['emptied', 'pause', 'loadstart']) video.addEventListener(type, note);
      return [customElements.get('distributary-player') === undefined, video.ariaHidden === 'true'];
    })()";
    let [is_alone, is_hidden]: [bool; 2] = browser.evaluate(script).await;
    assert!(is_alone && is_hidden);

    let states: Vec<String> = browser
        .evaluate(
            "new Promise((done) => {
              const element = document.querySelector('distributary-player');
              const states = [];
              const look = () => {
                const { state } = element.dataset;
                if (state && state !== states.at(-1)) states.push(state);
                if (state === 'live') done(states);
                else requestAnimationFrame(look);
              };
              requestAnimationFrame(look);
              releaseFiles();
            })",
        )
        .await;
    assert_eq!(states, ["live"], "nothing lies over the video");
    let seen = browser.report("video").await.expect("the video is there");
    let enough = seen.counters.len() + FRAMES;
    let report = browser
        .wait_for("video", "more frames", |report| {
            report.counters.len() > enough
        })
        .await;
    report.assert_plays(&stage.0.clip);
    let [is_same, is_named]: [bool; 2] = browser
        .evaluate(
            "[player.video === window.before.video && probe.find('video') === player.video,
              player.video.ariaHidden === null && player.video.ariaLabel !== null]",
        )
        .await;
    assert!(is_same && is_named);
    let (events, place, now): (Vec<String>, String, String) = browser
        .evaluate(
            "(() => {
              const { x, y, width, height } = player.video.getBoundingClientRect();
              return [before.events, before.place, [x, y, width, height].join()];
            })()",
        )
        .await;
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(place, now, "the video keeps its place");
}

#[tokio::test]
async fn page_from_the_history_gets_a_session_of_its_own() {
    let stage = Stage::new().await;
    let browser = Browser::start().await;
    browser
        .open(&stage.0.gateway.page_url("live/test?embed"))
        .await;
    stage.wait_for_frames(&browser).await;
    browser.open(&stage.0.gateway.page_url("live/other")).await;
    eventually("the session is gone", async || {
        let stream = stage.0.gateway.stream("live/test")?;
        (stream["viewers"]["connected"] == 0).then_some(())
    })
    .await;
    browser.go_back().await;
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
    browser.open(&stage.0.gateway.page_url("live/test")).await;
    stage.wait_for_frames(&browser).await;
    stage.wait_for_one_viewer().await;
    assert_eq!(stage.metric("distributary_prepared_sessions_total"), "1");
    assert_eq!(
        stage.metric("distributary_prepared_sessions_answered_total"),
        "0"
    );
}
