//! Several gateways share their streams: a viewer of one watches a publisher of another.

use distributary_cluster::test_util::NatsServer;
use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::report::VideoReport;
use distributary_tests::wait::eventually;

/// Number of frames to check: several GOPs.
const FRAMES: usize = 5 * FRAME_RATE as usize;

/// Backup encoders, with longer times than the defaults: an encoder that waits for its turn on a
/// busy machine is neither silent nor gone.
const STANDBY: &str = "
    [publishers]
    on_duplicate = \"standby\"
    standby_after = \"3s\"
    read_timeout = \"60s\"
";

/// Starts the nodes a and b with a further part of their configuration, and waits until they see each
/// other.
async fn two_nodes(nats: &NatsServer, further: &str) -> (Gateway, Gateway) {
    let url = nats.url();
    let start = |name| {
        Gateway::start_configured(&format!(
            "[cluster]\nnats = [\"{url}\"]\nnode = \"{name}\"\n{further}"
        ))
    };
    let (a, b) = (start("a"), start("b"));
    ready(&a, 2).await;
    ready(&b, 2).await;
    (a, b)
}

/// Waits until the owner of the stream shows that another node could take over.
async fn succeeded_by(owner: &Gateway, node: &str) {
    eventually(&format!("{node} stands by"), async || {
        let stream = owner.stream("live/test")?;
        let one = &stream["standby_nodes"][0];
        (one["node"] == node && one["ready"] == true).then_some(())
    })
    .await;
}

/// Waits until the viewer is shown video of this width.
async fn shows(page: &WatchPage, width: u32) {
    let is_shown = |report: &VideoReport| report.width == width;
    page.browser
        .wait_for("#viewer", &format!("video of width {width}"), is_shown)
        .await;
}

/// Waits until a node is ready, and sees this many nodes.
async fn ready(gateway: &Gateway, nodes: usize) {
    eventually("the node is ready", async || {
        let ready = client::request(gateway.http, "GET", "/readyz", &[], b"");
        (ready.status == 200).then_some(())
    })
    .await;
    eventually("it sees the others", async || {
        let cluster = &gateway.ask("/api/cluster")["cluster"];
        (cluster["nodes"].as_array()?.len() == nodes).then_some(())
    })
    .await;
}

#[tokio::test]
async fn chromium_on_one_node_plays_what_ffmpeg_publishes_on_another() {
    let nats = NatsServer::start();
    let (a, b) = two_nodes(&nats, "").await;
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &a.rtmp_url("live/test"));
    a.wait_live("live/test").await;

    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &b.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let plays = |report: &VideoReport| {
        report.counters.len() >= FRAMES && report.audio.is_some() && report.audio_energy() > 0.0
    };
    let report = page
        .browser
        .wait_for("#viewer", "frames and audio", plays)
        .await;
    report.assert_plays(&clip);

    assert_eq!(b.stream("live/test").unwrap()["node"], "a");
    assert!(a.stream("live/test").unwrap().get("node").is_none());
    // On a busy machine it may join more than once, which viewers do not notice.
    eventually("the stream is watched", async || {
        let cluster = &b.ask("/api/cluster")["cluster"];
        let is_watched = cluster["watched"] == 1 && cluster["counters"]["joins"].as_u64()? >= 1;
        is_watched.then_some(())
    })
    .await;
    eventually("the other node names the stream", async || {
        let cluster = &b.ask("/api/cluster")["cluster"];
        let named = &cluster["streams"][0];
        (named["name"] == "live/test" && named["node"] == "a").then_some(())
    })
    .await;
    let metrics = client::request(b.admin, "GET", "/metrics", &[], b"");
    for family in [
        "distributary_cluster_connected ",
        "distributary_cluster_watched ",
        "distributary_cluster_joins_total{outcome=\"joined\"} ",
        "distributary_cluster_gaps_total ",
    ] {
        assert!(metrics.text().contains(family), "{family}");
    }
    assert_eq!(a.ask("/api/cluster")["cluster"]["owned"], 1);
}

#[tokio::test]
async fn every_node_changes_and_ends_the_sessions_of_another_one() {
    const OFFER: &str =
        include_str!("../../crates/webrtc/tests/fixtures/offers/chromium-offer.sdp");
    let nats = NatsServer::start();
    let (a, b) = two_nodes(&nats, "").await;
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &a.rtmp_url("live/test"));
    a.wait_watchable("live/test").await;
    let open = || {
        let offer = [("Content-Type", "application/sdp")];
        let answer = client::request(a.http, "POST", "/whep/live/test", &offer, OFFER.as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    };
    let session = open();
    assert!(session.starts_with("/session/") && session.ends_with(".a"));
    let change = |path: &str| {
        let fragment = [("Content-Type", "application/trickle-ice-sdpfrag")];
        let candidates = b"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef012345\r\n";
        client::request(b.http, "PATCH", path, &fragment, candidates).status
    };
    let state = client::request(b.http, "GET", &session, &[], b"");
    assert_eq!(state.header("stream-state"), Some("live"));
    assert_eq!(change(&session), 204);
    assert_eq!(change(&session.replace(".a", ".c")), 404, "no such node");
    let none = format!("/session/{}.a", "0".repeat(32));
    assert_eq!(change(&none), 404, "no such session");
    let ended = client::request(b.http, "DELETE", &session, &[], b"");
    assert_eq!(ended.status, 200);
    let gone = client::request(a.http, "GET", &session, &[], b"");
    assert_eq!(gone.status, 404);

    let session = open();
    a.kill();
    let status = change(&session);
    assert!(matches!(status, 404 | 503), "{status}");
    eventually("the node has left", async || {
        (change(&session) == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn dashboard_of_any_node_shows_the_nodes_and_their_streams() {
    let nats = NatsServer::start();
    let (a, b) = two_nodes(&nats, "").await;
    let browser = Browser::start().await;
    browser.load_axe().await;
    browser.open(&b.admin_url()).await;
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &a.rtmp_url("live/test"));
    eventually(
        "the dashboard shows the stream of the other node",
        async || {
            let text = browser.text("#cluster").await;
            let shows = text.contains("1: live/test") && text.contains("b (this one)");
            shows.then_some(())
        },
    )
    .await;
    browser
        .assert_accessible("dashboard_cluster", 1280, 800)
        .await;
    browser.screenshot("dashboard_cluster").await;
}

#[tokio::test]
async fn encoder_is_refused_where_another_node_has_its_name() {
    let nats = NatsServer::start();
    let (a, b) = two_nodes(&nats, "").await;
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &a.rtmp_url("live/test"));
    a.wait_live("live/test").await;
    let _refused = Publisher::start(&clip, &b.rtmp_url("live/test"));
    eventually("the journal says why", async || {
        let journal = b.ask("/api/journal");
        let entries = journal["entries"].as_array()?;
        let refused = entries.iter().find(|entry| entry["kind"] == "refused")?;
        let detail = refused["detail"].as_str()?;
        assert_eq!(
            detail,
            "live/test cannot be published: it is live on the node a of the cluster."
        );
        Some(())
    })
    .await;
}

#[tokio::test]
async fn session_goes_on_with_the_encoder_of_another_node_when_one_is_frozen_or_killed() {
    let nats = NatsServer::start();
    let (a, b) = two_nodes(&nats, STANDBY).await;
    let large = Clip::new(640, 360, FRAME_RATE, Encoding::InOrder);
    let small = Clip::new(320, 240, FRAME_RATE, Encoding::InOrder);
    let _first = Publisher::start(&large, &a.rtmp_url("live/test"));
    a.wait_watchable("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &b.whep_url("live/test")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(page.listen("viewer").await, 201);
    shows(&page, 640).await;
    let second = Publisher::start(&small, &b.rtmp_url("live/test"));
    succeeded_by(&a, "b").await;

    // The machine of the first node stands still, and goes on.
    a.freeze();
    shows(&page, 320).await;
    a.thaw();
    succeeded_by(&b, "a").await;
    // The second encoder leaves, and comes back.
    second.stop();
    shows(&page, 640).await;
    let _second = Publisher::start(&small, &b.rtmp_url("live/test"));
    succeeded_by(&a, "b").await;
    // The first node dies.
    a.kill();
    shows(&page, 320).await;

    let plays = |report: &VideoReport| report.audio_energy() > 0.0;
    let report = page.browser.wait_for("#viewer", "audio", plays).await;
    assert_eq!(report.peers, 1, "one session");
    assert_eq!(report.connection_state, "connected");
    let events: Vec<String> = page.browser.evaluate("events('viewer')").await;
    let is_offline = |event: &String| event == "inactive";
    assert!(!events.iter().any(is_offline), "{events:?}");
}
