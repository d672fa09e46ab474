//! The dashboard shows who publishes a stream and who stands by, and switches between them.

use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

const STREAM: &str = "live/test";

async fn is(browser: &Browser, expression: &str) {
    eventually(expression, async || {
        browser.evaluate::<bool>(expression).await.then_some(())
    })
    .await;
}

/// Returns whether the only standby is shown with these words.
fn standby_says(words: &str) -> String {
    format!(
        "(() => {{
           const items = document.querySelectorAll('.standby-list li');
           return items.length === 1 && items[0].textContent.includes('{words}');
         }})()"
    )
}

#[tokio::test]
async fn dashboard_shows_standbys_and_switches_to_one() {
    // A publisher that waits for its turn on a busy machine is not silent.
    let gateway = Gateway::start_configured(
        "[publishers]\non_duplicate = \"standby\"\nstandby_after = \"60s\"\n",
    );
    let large = Clip::new(640, 360, FRAME_RATE, Encoding::InOrder);
    let small = Clip::new(320, 240, FRAME_RATE, Encoding::InOrder);
    let _first = Publisher::start(&large, &gateway.rtmp_url(STREAM));
    gateway.wait_live(STREAM).await;
    let browser = &Browser::start().await;
    browser.load_axe().await;
    browser.open(&gateway.admin_url()).await;
    is(browser, "document.querySelector('.stream-card') !== null").await;
    let is_hidden = "document.querySelector('.standbys').hidden";
    is(browser, is_hidden).await;

    let mut second = Publisher::start(&small, &gateway.rtmp_url(STREAM));
    is(browser, &standby_says("H264 320×240")).await;
    browser.assert_accessible("dashboard", 1280, 800).await;
    browser.assert_accessible("dashboard", 390, 800).await;
    browser.click(".standby-list .promote").await;
    is(browser, &standby_says("H264 640×360")).await;
    let stream = gateway.stream(STREAM).expect("it is live");
    assert_eq!(stream["video"]["width"], 320);
    let shown =
        "[...document.querySelectorAll('#events li')].map((item) => item.textContent).join()";
    is(
        browser,
        &format!("{shown}.includes('requested through the API')"),
    )
    .await;

    // A question is about the publisher that was active when it was asked.
    let path = format!("/api/publishers/{STREAM}");
    browser.click(".end-publisher").await;
    let answer = client::request(gateway.admin, "POST", &path, &[], b"");
    assert_eq!(answer.status, 202);
    is(browser, &standby_says("H264 320×240")).await;
    browser.click("#ask [value=yes]").await;
    second.wait();
    is(browser, is_hidden).await;
    let stream = gateway.stream(STREAM).expect("it is live");
    assert_eq!(stream["video"]["width"], 640);
}
