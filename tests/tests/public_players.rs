//! Players that others have written play in a browser, at a path that they know.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::Page;

/// How many pictures it has to show.
const PICTURES: usize = 3 * FRAME_RATE as usize;

async fn plays(browser: &Browser, name: &str, clip: &Clip) {
    let selector = format!("#{name}");
    let report = browser.wait_for(&selector, "pictures", |report| {
        report.counters.len() > PICTURES
    });
    report.await.assert_plays(clip);
}

#[tokio::test]
async fn the_client_of_the_drafts_author_plays_and_leaves() {
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
    let _: bool = browser.evaluate("stop('client')").await;
}
