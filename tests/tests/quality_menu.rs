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

/// The controls that are not wholly within the video and the window, or whose text is cut.
const CUT: &str = "[...player.shadowRoot.querySelectorAll('.bar > *')].flatMap((part) => {
    const [inner, outer] = [part, player].map((one) => one.getBoundingClientRect());
    if (inner.width === 0 || part.className === 'gap') return [];
    const isOutside = inner.left < outer.left || inner.right > Math.min(outer.right, innerWidth) ||
      inner.top < outer.top || inner.bottom > Math.min(outer.bottom, innerHeight);
    const pen = document.createElement('canvas').getContext('2d');
    const style = getComputedStyle(part);
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const text = part.selectedOptions ? pen.measureText(part.selectedOptions[0].text).width : 0;
    const room = part.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return isOutside || text > room || part.scrollWidth > part.clientWidth + 1 ? [part.className] : [];
}).join(' ')";

/// The controls that can be used.
const USABLE: &str = "[...player.shadowRoot.querySelectorAll('.bar > *')]
    .filter((part) => part.offsetWidth > 0).map((part) => part.className).join(' ')";

#[tokio::test]
async fn every_control_is_inside_the_video_at_every_size() {
    let (gateway, _publisher) = published(LADDER).await;
    gateway.logged_until("streams are transcoded for viewers");
    let browser = Browser::start().await;
    for (page, width, height) in [
        ("live/test", 320, 568),
        ("live/test", 360, 740),
        ("live/test", 390, 844),
        ("live/test", 414, 896),
        ("live/test", 500, 400),
        ("live/test", 844, 390),
        // As an iframe of this size.
        ("live/test?embed", 400, 225),
        ("live/test?embed", 320, 180),
        ("live/test", 1280, 720),
    ] {
        browser.look(width, height, false).await;
        browser.open(&gateway.page_url(page)).await;
        is(
            &browser,
            "player.dataset.state === 'live' && player.hasAttribute('data-audio')",
        )
        .await;
        is(
            &browser,
            &format!("{MENU}.offsetWidth > 0 && player.viewers === 1"),
        )
        .await;
        for muted in [true, false] {
            let _: () = browser
                .evaluate(&format!("void (player.muted = {muted})"))
                .await;
            is(&browser, &format!("{CUT} === ''")).await;
            let usable: String = browser.evaluate(USABLE).await;
            for name in ["pause", "mute", "viewers", "quality", "full"] {
                assert!(usable.contains(name), "{width}x{height}: {usable}");
            }
            browser
                .screenshot(&format!("player_{width}x{height}_{muted}"))
                .await;
        }
    }
    // What a small player leaves out is back in a large one.
    let usable: String = browser.evaluate(USABLE).await;
    assert_eq!(
        usable,
        "pause mute volume viewers gap quality stats pip full"
    );
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
