//! Players that others have written play in a browser, at the paths that they know.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::Page;
use distributary_tests::wait::eventually;

/// How many pictures each has to show.
const PICTURES: usize = 3 * FRAME_RATE as usize;

async fn plays(browser: &Browser, name: &str, clip: &Clip) {
    let selector = format!("#{name}");
    let report = browser.wait_for(&selector, "pictures", |report| {
        report.counters.len() > PICTURES
    });
    report.await.assert_plays(clip);
}

#[tokio::test]
async fn public_players_play_restart_and_leave() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&Page::serve_public_players().url()).await;

    let url = format!("http://{}/live/test/whep", gateway.http);
    let events: String = browser
        .evaluate(&format!("whipWhep('client', '{url}')"))
        .await;
    assert!(events.ends_with("/events"), "{events}");
    plays(&browser, "client", &clip).await;
    let [before, after]: [String; 2] = browser.evaluate("restart('client')").await;
    assert_ne!(before, after);
    let shown = browser
        .report("#client")
        .await
        .expect("its video")
        .counters
        .len();
    let more = browser.wait_for("#client", "pictures after the restart", |report| {
        report.counters.len() > shown + PICTURES
    });
    more.await;
    let _: bool = browser.evaluate("stop('client')").await;

    let url = format!("http://{}/rtc/v1/whep/?app=live&stream=test", gateway.http);
    let _: bool = browser
        .evaluate(&format!("eyevinn('player', '{url}')"))
        .await;
    plays(&browser, "player", &clip).await;
    let _: bool = browser.evaluate("stop('player')").await;

    let all_gone = async || {
        let list = gateway.request("GET", "/api/sessions", &[], b"").json();
        (list["sessions"].as_array()?.is_empty()).then_some(())
    };
    eventually("the end of the sessions", all_gone).await;
}
