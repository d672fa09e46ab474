//! Renditions in a cluster: one encoder for a stream, at the node of its publisher, whatever the node
//! of the viewers.

use distributary_cluster::test_util::NatsServer;
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::report::VideoReport;
use distributary_tests::wait::eventually;

const STREAM: &str = "live/test";

/// Starts two gateways as nodes that know each other.
async fn nodes(nats: &NatsServer) -> [Gateway; 2] {
    let url = nats.url();
    let nodes = ["a", "b"].map(|name| {
        Gateway::start_configured(&format!(
            "[cluster]\nnats = [\"{url}\"]\nnode = \"{name}\"\n[transcode]\nidle_timeout = \"1s\""
        ))
    });
    for node in &nodes {
        node.logged_until("streams are transcoded for viewers");
        eventually("the nodes see each other", async || {
            let cluster = &node.ask("/api/cluster")["cluster"];
            (cluster["nodes"].as_array()?.len() == 2).then_some(())
        })
        .await;
    }
    nodes
}

/// Returns how many encoders run at each node, as the API says.
fn encoders(nodes: &[Gateway; 2]) -> [u64; 2] {
    let running = |node: &Gateway| node.ask("/api/server")["transcoders"]["running"].as_u64();
    nodes
        .each_ref()
        .map(|node| running(node).expect("a number"))
}

#[tokio::test]
async fn smaller_rendition_for_a_viewer_of_another_node_is_made_once_by_the_owner() {
    let nats = NatsServer::start();
    let nodes = nodes(&nats).await;
    let [a, b] = &nodes;
    let clip = Clip::of_bitrate(640, 480, 2 * FRAME_RATE, 1500);
    let _publisher = Publisher::start(&clip, &a.rtmp_url(STREAM));
    a.wait_live(STREAM).await;

    let page = WatchPage::open().await;
    let url = format!("{}?max_height=360", b.whep_url(STREAM));
    let answer = page.watch("viewer", &url).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let is_small = |report: &VideoReport| report.height == 360 && report.audio_energy() > 0.0;
    page.browser
        .wait_for("#viewer", "the smaller rendition", is_small)
        .await;
    assert_eq!(encoders(&nodes), [1, 0]);
    eventually("it counts the viewer", async || {
        let stream = b.stream(STREAM)?;
        let mut renditions = stream["renditions"].as_array()?.iter();
        let watched = renditions.find(|one| one["viewers"] == 1)?;
        (watched["id"] == "360p" && watched["origin"] == "transcoded").then_some(())
    })
    .await;
    // A viewer of the other node gets the same one.
    let url = format!("{}?max_height=360", a.whep_url(STREAM));
    let answer = page.watch("other", &url).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    page.browser
        .wait_for("#other", "the smaller rendition", is_small)
        .await;
    assert_eq!(encoders(&nodes), [1, 0]);

    page.leave("other").await;
    page.leave("viewer").await;
    eventually("the encoder ends", async || {
        (encoders(&nodes) == [0, 0]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn stream_with_b_frames_is_transcoded_by_the_owner_for_viewers_of_another_node() {
    let nats = NatsServer::start();
    let nodes = nodes(&nats).await;
    let [a, b] = &nodes;
    let clip = Clip::encoded(2 * FRAME_RATE, Encoding::Pyramid);
    let _publisher = Publisher::start(&clip, &a.rtmp_url(STREAM));
    a.wait_live(STREAM).await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &b.whep_url(STREAM)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let plays = |report: &VideoReport| {
        report.counters.len() >= 3 * FRAME_RATE as usize && report.audio_energy() > 0.0
    };
    let report = page
        .browser
        .wait_for("#viewer", "frames and audio", plays)
        .await;
    report.assert_plays(&clip);
    assert_eq!(encoders(&nodes), [1, 0]);
}

#[tokio::test]
async fn rtmp_player_of_another_node_gets_the_audio_as_published() {
    let nats = NatsServer::start();
    let nodes = nodes(&nats).await;
    let [a, b] = &nodes;
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &a.rtmp_url(STREAM));
    a.wait_live(STREAM).await;
    // Browsers of both nodes hear the same stream as Opus.
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &b.whep_url(STREAM)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let probe = |node: &Gateway| {
        let mut probe = std::process::Command::new("ffprobe");
        probe.args(["-loglevel", "error", "-show_entries"]);
        probe.args(["stream=codec_name,sample_rate,channels", "-of", "csv=p=0"]);
        let output = probe.arg(node.rtmp_url(STREAM)).output();
        String::from_utf8(output.expect("ffprobe can be run").stdout).expect("a text")
    };
    let (there, here) = (probe(a), probe(b));
    assert!(there.contains("aac"), "{there}");
    assert_eq!(there, here);
    let heard = |report: &VideoReport| report.audio_energy() > 0.0;
    page.browser.wait_for("#viewer", "audio", heard).await;
}
