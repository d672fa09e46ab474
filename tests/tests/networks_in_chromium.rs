//! Viewers in Chromium on difficult networks.

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::WatchPage;
use distributary_tests::wait::eventually;

/// Number of frames that proves playback.
const FRAMES: usize = 2 * FRAME_RATE as usize;

async fn wait_for_more_frames(page: &WatchPage, clip: &Clip) {
    let seen = page.browser.report("#viewer").await;
    let seen = seen.map_or(0, |report| report.counters.len());
    let more = page.browser.wait_for("#viewer", "more frames", |report| {
        report.counters.len() > seen + FRAMES
    });
    more.await.assert_plays(clip);
}

#[tokio::test]
async fn viewer_without_udp_watches_over_tcp() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let answer = page
        .watch_over_tcp("viewer", &gateway.whep_url("live/test"))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    wait_for_more_frames(&page, &clip).await;
    assert_eq!(page.path("viewer").await.protocol, "tcp");
    page.browser.screenshot("over_tcp").await;

    assert_eq!(page.leave("viewer").await, 200);
    let closed = page
        .browser
        .wait_for("#viewer", "the gateway closed the connection", |report| {
            report.dtls_state == "closed"
        });
    closed.await;
}

#[tokio::test]
async fn viewer_that_restarts_ice_stays_in_its_session() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let answer = page.watch("viewer", &gateway.whep_url("live/test")).await;
    wait_for_more_frames(&page, &clip).await;
    let before = page.path("viewer").await;
    let path = answer.session.unwrap();
    let path = &path[path.find("/session/").unwrap()..];
    let fragment = "a=ice-ufrag:next\r\na=ice-pwd:0123456789012345678901\r\n";
    let fragment_type = [("Content-Type", "application/trickle-ice-sdpfrag")];
    let refused = gateway.request("PATCH", path, &fragment_type, fragment.as_bytes());
    assert_eq!(refused.status, 428);
    let needed = format!("If-Match: {}", answer.etag.unwrap());
    assert!(
        refused.text().replace('\\', "").contains(&needed),
        "{}",
        refused.text()
    );
    for _ in 0..2 {
        assert_eq!(page.restart_ice("viewer").await, 200);
        wait_for_more_frames(&page, &clip).await;
    }
    let after = eventually("a pair of the new generation", async || {
        let after = page.path("viewer").await;
        (after.ufrag != before.ufrag).then_some(after)
    });
    assert_eq!(after.await.protocol, "udp");
    let report = page.browser.report("#viewer").await;
    assert_eq!(report.map(|report| report.peers), Some(1));
    assert_eq!(page.leave("viewer").await, 200, "it is the same session");
}

#[tokio::test]
async fn data_channel_carries_metadata_and_pongs() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    let answer = page
        .watch_with_channel("viewer", &gateway.whep_url("live/test"), "events")
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let text = |kind: &'static str| {
        let page = &page;
        eventually(kind, async move || {
            let texts = page.texts("viewer").await.into_iter();
            let mut values = texts.map(|text| {
                serde_json::from_str::<serde_json::Value>(&text).expect("the text is JSON")
            });
            values.find(|value| value["type"] == kind)
        })
    };
    // ffmpeg sends it once, before the viewer joined.
    let metadata = text("metadata").await;
    assert_eq!(metadata["data"]["width"], clip.width, "{metadata}");
    assert!(metadata["time"].is_i64(), "{metadata}");

    page.say("viewer", r#"{"type":"ping","id":"a"}"#).await;
    let pong = text("pong").await;
    assert_eq!(pong["id"], "a");
    assert!(
        pong["time"].as_i64() > metadata["time"].as_i64(),
        "{pong} after {metadata}"
    );
    wait_for_more_frames(&page, &clip).await;
}
