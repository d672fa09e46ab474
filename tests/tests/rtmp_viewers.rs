//! RTMP players count as viewers: with the same limits, in the same lists, and ended in the same
//! way.

use distributary_bench::socket::ReceiveMode;
use distributary_bench::swarm::{self, Departures, SwarmConfig};
use distributary_tests::client;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher, play};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::{TIMEOUT, eventually};
use distributary_webrtc::srtp::SrtpProfile;
use serde_json::Value;

const OFFER: &[u8] = include_bytes!("../../crates/webrtc/tests/fixtures/offers/chromium-offer.sdp");

/// Waits until the API lists this many viewers, and returns them.
async fn viewers(gateway: &Gateway, count: usize) -> Vec<Value> {
    eventually(&format!("{count} viewers are listed"), async || {
        let list = gateway.ask("/api/viewers?stream=live/test");
        let viewers = list["viewers"].as_array()?.clone();
        (viewers.len() == count).then_some(viewers)
    })
    .await
}

#[tokio::test]
async fn rtmp_player_is_limited_counted_and_ended_like_any_viewer() {
    let gateway = Gateway::start_configured("[viewers]\nmax_per_stream = 1\n");
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let mut player = play(&gateway.rtmp_url("live/test"));
    let listed = viewers(&gateway, 1).await;
    assert_eq!(listed[0]["transport"], "rtmp");
    assert_eq!(listed[0]["state"], "connected");
    eventually("its bitrate is measured", async || {
        let stream = gateway.stream("live/test")?;
        assert_eq!(stream["viewers"]["connected"], 1);
        assert_eq!(stream["viewers"]["rtmp"], 1);
        (stream["viewers"]["bitrate_bps"].as_u64()? > 0).then_some(())
    })
    .await;
    assert_eq!(gateway.ask("/api/server")["sessions"], 1);
    let metrics = client::request(gateway.admin, "GET", "/metrics", &[], b"");
    for series in ["viewers", "rtmp_players"] {
        let line = format!("distributary_{series}{{stream=\"live/test\"}} 1\n");
        assert!(metrics.text().contains(&line), "{line}");
    }

    // The stream has reached its limit.
    let offer = || {
        let sdp = [("Content-Type", "application/sdp")];
        gateway.request("POST", "/whep/live/test", &sdp, OFFER)
    };
    assert_eq!(offer().status, 503);

    let path = format!("/api/viewers/{}", listed[0]["id"].as_str().unwrap());
    let ended = client::request(gateway.admin, "DELETE", &path, &[], b"");
    assert_eq!(ended.status, 204);
    player.wait();
    viewers(&gateway, 0).await;
    assert_eq!(offer().status, 201);

    // And the other way round.
    let mut refused = play(&gateway.rtmp_url("live/test"));
    assert!(!refused.wait().success());
}

#[tokio::test]
async fn block_ends_connected_viewers_of_both_kinds() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let mut player = play(&gateway.rtmp_url("live/test"));
    // The swarm would watch for longer than the test may take.
    let config = SwarmConfig {
        url: gateway.whep_url("live/test").parse().expect("a URL"),
        streams: 1,
        viewers: 1,
        ramp: 100.0,
        duration: 2 * TIMEOUT,
        churn: None,
        departures: Departures::default(),
        decrypt: 1,
        server_pid: None,
        receive: ReceiveMode::Gro,
        feedback: true,
        profiles: SrtpProfile::ALL.to_vec(),
    };
    let watching = std::thread::spawn(|| swarm::run(config));
    eventually("both are connected", async || {
        let stream = gateway.stream("live/test")?;
        (stream["viewers"]["connected"] == 2).then_some(())
    })
    .await;

    let block = br#"{ "viewer": "127.0.0.1", "seconds": 600 }"#;
    let json = [("Content-Type", "application/json")];
    let blocked = client::request(gateway.admin, "POST", "/api/blocks", &json, block);
    assert_eq!(blocked.status, 201, "{}", blocked.text());
    player.wait();
    viewers(&gateway, 0).await;
    assert!(!play(&gateway.rtmp_url("live/test")).wait().success());
    drop(watching);
}
