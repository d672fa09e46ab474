//! Viewers of a cluster in Chromium: their gateway fails, ends or is full, and they go on at another
//! one in the same page.

use distributary_cluster::test_util::NatsServer;
use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::{Gateway, free_port};
use distributary_tests::wait::eventually;

/// Number of frames that proves playback.
const FRAMES: usize = 2 * FRAME_RATE as usize;

/// Number of times that a publisher falls silent.
const SILENCES: usize = 3;

const STREAM: &str = "live/test";

/// Starts a gateway as a node that players reach. `more` are further lines of `[cluster]`, and other
/// sections.
fn node(nats: &NatsServer, name: &str, more: &str) -> Gateway {
    let http = format!("127.0.0.1:{}", free_port());
    let text = format!(
        "http = \"{http}\"\nrtmp = \"127.0.0.1:0\"\nwebrtc = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         drain_timeout = \"60s\"\n[cluster]\nnats = [\"{}\"]\nnode = \"{name}\"\n\
         public_url = \"http://{http}\"\n{more}\n",
        nats.url()
    );
    Gateway::start_as_configured(&text)
}

/// Waits until a node sees this many nodes.
async fn sees(gateway: &Gateway, nodes: usize) {
    eventually("the node sees the others", async || {
        let cluster = &gateway.ask("/api/cluster")["cluster"];
        (cluster["nodes"].as_array()?.len() == nodes).then_some(())
    })
    .await;
}

/// Starts two nodes, and a publisher at the first.
async fn two_nodes(nats: &NatsServer, of_second: &str) -> (Gateway, Gateway, Publisher) {
    let (a, b) = (node(nats, "a", ""), node(nats, "b", of_second));
    sees(&a, 2).await;
    sees(&b, 2).await;
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &a.rtmp_url(STREAM));
    a.wait_live(STREAM).await;
    (a, b, publisher)
}

/// Opens the page of the stream at a node, and waits until it plays. The page is marked, to see that
/// it stays the same.
async fn watch(gateway: &Gateway) -> Browser {
    let browser = Browser::start().await;
    browser.open(&gateway.page_url(STREAM)).await;
    browser
        .wait_for("video", "frames", |report| report.counters.len() > FRAMES)
        .await;
    let _: bool = browser.evaluate("globalThis.isMarked = true").await;
    browser
}

/// Waits until the page plays further frames, and checks that it is the same page.
async fn plays_on(browser: &Browser) {
    let seen = browser
        .report("video")
        .await
        .map_or(0, |report| report.counters.len());
    let plays =
        |report: &distributary_tests::report::VideoReport| report.counters.len() > seen + FRAMES;
    browser.wait_for("video", "it plays on", plays).await;
    let is_same: bool = browser.evaluate("globalThis.isMarked === true").await;
    assert!(is_same, "the page was loaded again");
}

/// Notes when frames are shown from now on, for [`longest_gap`].
async fn note_frames(browser: &Browser) {
    let script = "void (() => {
        globalThis.shown = [performance.now()];
        let video;
        const next = (of) => of.requestVideoFrameCallback(() => {
            shown.push(performance.now());
            if (of === video) next(of);
        });
        // Another session may come with another element.
        setInterval(() => {
            if (player.video !== video) next(video = player.video);
        }, 10);
    })()";
    let _: () = browser.evaluate(script).await;
}

/// Returns the longest time between two frames, in ms. It depends on the machine, so it is not checked.
async fn longest_gap(browser: &Browser) -> f64 {
    let script = "Math.max(0, ...shown.slice(1).map((at, n) => at - shown[n]))";
    browser.evaluate(script).await
}

/// Returns the number of connections that the page has opened.
async fn peers(browser: &Browser) -> u64 {
    let report = browser.report("video").await;
    report.map_or(0, |report| report.peers.into())
}

/// Waits until a node has this many viewers.
async fn has_viewers(gateway: &Gateway, viewers: u64) {
    eventually("the node has the viewers", async || {
        let list = gateway.ask("/api/viewers");
        (list["total"].as_u64()? == viewers).then_some(())
    })
    .await;
}

#[tokio::test]
async fn page_goes_on_at_another_node_when_its_own_is_killed() {
    let nats = NatsServer::start();
    let (a, b, _publisher) = two_nodes(&nats, "").await;
    let browser = watch(&b).await;
    assert_eq!(a.ask("/api/viewers")["total"], 0);
    let _: () = browser
        .evaluate("void (player.volume = 0.3, player.muted = true)")
        .await;
    note_frames(&browser).await;
    b.kill();
    has_viewers(&a, 1).await;
    plays_on(&browser).await;
    println!("{:.0} ms without a frame", longest_gap(&browser).await);
    let (volume, muted): (f64, bool) = browser.evaluate("[player.volume, player.muted]").await;
    assert!((volume - 0.3).abs() < 1e-6 && muted);
    // Several if the machine was too busy to bring one up in time.
    assert!(peers(&browser).await >= 2, "a session was opened elsewhere");
}

#[tokio::test]
async fn page_waits_for_a_silent_publisher_at_its_own_node() {
    let nats = NatsServer::start();
    let (_a, b, publisher) = two_nodes(&nats, "").await;
    let browser = watch(&b).await;
    // A busy machine may delay the sender reports until the node seems to be gone. This does not happen each time.
    for _ in 0..SILENCES {
        let before = peers(&browser).await;
        publisher.signal("STOP");
        eventually("the page says that nothing arrives", async || {
            let state: String = browser.evaluate("player.dataset.state").await;
            (state == "stalled").then_some(())
        })
        .await;
        publisher.signal("CONT");
        plays_on(&browser).await;
        if peers(&browser).await == before {
            return;
        }
    }
    panic!("it leaves its session each time");
}

#[tokio::test]
async fn draining_node_hands_its_viewers_over_before_it_ends() {
    let nats = NatsServer::start();
    let (a, mut b, _publisher) = two_nodes(&nats, "").await;
    let browser = watch(&b).await;
    let _: () = browser
        .evaluate(
            "void (globalThis.states = [], \
             player.addEventListener('statechange', ({ detail }) => states.push(detail.state)))",
        )
        .await;
    b.terminate();
    // It ends when its last viewer has left.
    assert!(b.wait().success());
    has_viewers(&a, 1).await;
    plays_on(&browser).await;
    let states: Vec<String> = browser.evaluate("states").await;
    // Frames come late on a busy machine.
    let is_delay = |state: &String| ["stalled", "live"].contains(&state.as_str());
    assert!(states.iter().all(is_delay), "the viewer saw {states:?}");
}

#[tokio::test]
async fn full_node_redirects_the_next_viewer() {
    let nats = NatsServer::start();
    let (a, b, _publisher) = two_nodes(&nats, "[viewers]\nmax = 1").await;
    let browser = watch(&b).await;
    has_viewers(&b, 1).await;
    // A test has one browser. The window of the first viewer is hidden from now on.
    browser.open_window(&b.page_url(STREAM)).await;
    eventually("the second viewer sees frames", async || {
        let is_live = "player.dataset.state === 'live' && player.video.videoWidth > 0";
        browser.evaluate::<bool>(is_live).await.then_some(())
    })
    .await;
    has_viewers(&a, 1).await;
    has_viewers(&b, 1).await;
    let origin: String = browser.evaluate("location.origin").await;
    assert_eq!(origin, format!("http://{}", b.http), "the page stays");
}
