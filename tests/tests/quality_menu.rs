//! The player's quality menu, used by keyboard and mouse.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

const STREAM: &str = "live/test";

/// Renditions that are made of the stream when somebody needs them.
const LADDER: &str =
    "[transcode]\nladder = [\"360p 500k\", \"180p 200k\"]\nidle_timeout = \"1s\"\n";

/// The menu, and the text of its selected item.
const MENU: &str = "player.shadowRoot.querySelector('.quality')";
const SELECTED: &str =
    "(({ selectedOptions: [item] }) => item?.text)(player.shadowRoot.querySelector('.quality'))";

async fn is(browser: &Browser, expression: &str) {
    eventually(expression, async || {
        browser.evaluate::<bool>(expression).await.then_some(())
    })
    .await;
}

/// Waits until the video has this height, and the menu shows this item.
async fn plays(browser: &Browser, height: u32, item: &str) {
    is(browser, &format!("player.video.videoHeight === {height}")).await;
    is(browser, &format!("{SELECTED} === '{item}'")).await;
}

/// A stream of 576 lines and its gateway.
async fn published(configuration: &str) -> (Gateway, Publisher) {
    let gateway = Gateway::start_configured(configuration);
    let clip = Clip::new(1024, 576, FRAME_RATE, Encoding::InOrder);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url(STREAM));
    gateway.wait_live(STREAM).await;
    (gateway, publisher)
}

/// Returns the number of viewers of a rendition.
fn viewers(gateway: &Gateway, rendition: &str) -> Option<u64> {
    let stream = gateway.stream(STREAM)?;
    let renditions = stream["renditions"].as_array()?;
    let wanted = renditions.iter().find(|one| one["id"] == rendition)?;
    wanted["viewers"].as_u64()
}

#[tokio::test]
async fn viewer_chooses_a_quality_by_keyboard_and_mouse_within_one_session() {
    let (gateway, _publisher) = published(LADDER).await;
    gateway.logged_until("streams are transcoded for viewers");
    let browser = Browser::start().await;
    browser.load_axe().await;
    browser.open(&gateway.page_url(STREAM)).await;
    is(&browser, "globalThis.player?.dataset.state === 'live'").await;
    plays(&browser, 576, "Auto (576p)").await;
    let items: Vec<String> = browser
        .evaluate(&format!("[...{MENU}.options].map(({{ text }}) => text)"))
        .await;
    assert_eq!(items, ["Auto (576p)", "576p", "360p", "180p"]);

    // By keyboard: each key chooses the next item.
    let _: () = browser.evaluate(&format!("{MENU}.focus()")).await;
    browser.press("ArrowDown").await;
    is(&browser, &format!("{SELECTED} === '576p'")).await;
    browser.press("ArrowDown").await;
    plays(&browser, 360, "360p").await;
    is(
        &browser,
        &format!("{MENU}.options[0].text === 'Auto (360p)'"),
    )
    .await;
    assert!(!browser.evaluate::<bool>("player.video.paused").await);
    eventually("the gateway counts the viewer", async || {
        (viewers(&gateway, "360p") == Some(1)).then_some(())
    })
    .await;

    // By mouse: a click opens the menu, which keeps what it shows.
    browser.click(".quality").await;
    browser.screenshot("player_quality_menu").await;
    browser
        .assert_accessible("player with an open quality menu", 1000, 800)
        .await;
    browser.press("Escape").await;
    plays(&browser, 360, "360p").await;
    browser.click(".quality option[value=\"180p\"]").await;
    plays(&browser, 180, "180p").await;

    // The choice holds on the next page of this site.
    let first: usize = browser.evaluate("probe.sessions().length").await;
    assert_eq!(first, 1, "it is one session");
    browser.open(&gateway.page_url(STREAM)).await;
    is(&browser, "globalThis.player?.dataset.state === 'live'").await;
    plays(&browser, 180, "180p").await;

    browser.click(".quality option[value=\"auto\"]").await;
    plays(&browser, 576, "Auto (576p)").await;
}

#[tokio::test]
async fn attribute_sets_the_quality_of_an_embedded_player() {
    let (gateway, _publisher) = published(LADDER).await;
    gateway.logged_until("streams are transcoded for viewers");
    let browser = Browser::start().await;
    let page = gateway.page_url(&format!("{STREAM}?autoplay=0"));
    browser.open(&page).await;
    let embed = format!(
        "import('/assets/player.js').then(() => {{
           globalThis.player.remove();
           const made = document.createElement('distributary-player');
           for (const name of ['autoplay', 'muted']) made.setAttribute(name, '');
           made.setAttribute('quality', '360p');
           made.style.height = '600px';
           made.src = '/whep/{STREAM}';
           document.body.append(made);
           globalThis.player = made;
           return true;
         }})"
    );
    assert!(browser.evaluate::<bool>(&embed).await);
    plays(&browser, 360, "360p").await;
    let change = |quality: &str| format!("player.setAttribute('quality', '{quality}')");
    let _: () = browser.evaluate(&change("180p")).await;
    plays(&browser, 180, "180p").await;
    let _: () = browser.evaluate(&change("auto")).await;
    plays(&browser, 576, "Auto (576p)").await;
}

#[tokio::test]
async fn stream_with_one_rendition_has_no_menu() {
    let (gateway, _publisher) = published("[transcode]\nladder = []\n").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url(STREAM)).await;
    is(&browser, "globalThis.player?.dataset.state === 'live'").await;
    // The gateway has sent its events by then.
    is(&browser, "player.viewers === 1").await;
    is(&browser, "player.video.videoHeight === 576").await;
    assert!(browser.evaluate::<bool>(&format!("{MENU}.hidden")).await);
}
