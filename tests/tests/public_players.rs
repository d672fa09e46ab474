//! Public players play in a browser, at the paths that they use.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::Page;
use distributary_tests::wait::eventually;

/// Number of frames that proves playback.
const FRAMES: usize = 3 * FRAME_RATE as usize;

async fn plays(browser: &Browser, name: &str, clip: &Clip) {
    let selector = format!("#{name}");
    let report = browser.wait_for(&selector, "frames", |report| report.counters.len() > FRAMES);
    report.await.assert_plays(clip);
}

#[tokio::test]
async fn public_players_play_and_leave() {
    let gateway = Gateway::start_configured(
        "[auth]\nplay = \"keys\"\n[[auth.key]]\nmatch = \"live/*\"\nplay = [\"guest\"]\n",
    );
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&Page::serve_public_players().url()).await;

    // The client of the draft's author, at the path of MediaMTX.
    let url = format!("http://{}/live/test/whep?token=guest", gateway.http);
    let events: String = browser
        .evaluate(&format!("whipWhep('client', '{url}')"))
        .await;
    assert!(events.ends_with("/events"), "{events}");
    // A player that sends its key without a scheme.
    let url = gateway.whep_url("live/test");
    let _: bool = browser
        .evaluate(&format!("eyevinn('eyevinn', '{url}', 'guest')"))
        .await;
    // Players that answer the gateway's offer.
    let url = format!("{url}?token=guest");
    let asks: [u16; 2] = browser
        .evaluate(&format!("answering('asks', '{url}', '')"))
        .await;
    assert_eq!(asks, [201, 204]);
    let script = format!("offerToSend().then((offer) => answering('countered', '{url}', offer))");
    let countered: [u16; 2] = browser.evaluate(&script).await;
    assert_eq!(countered, [406, 204]);

    for name in ["client", "eyevinn", "asks", "countered"] {
        plays(&browser, name, &clip).await;
    }
    browser.screenshot("public_players").await;
    for name in ["client", "eyevinn", "asks", "countered"] {
        let _: bool = browser.evaluate(&format!("stop('{name}')")).await;
    }
    eventually("all have left", async || {
        let viewers = gateway.ask("/api/viewers");
        viewers["viewers"].as_array()?.is_empty().then_some(())
    })
    .await;
}
