//! The dashboard shows the renditions of a stream, and how OBS makes them itself.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::Page;
use distributary_tests::wait::eventually;
use serde_json::Value;

const STREAM: &str = "live/test";

/// The configuration for OBS in the documentation.
const DOCUMENTED: &str = include_str!("../../docs/renditions.md");

async fn is(browser: &Browser, expression: &str) {
    eventually(expression, async || {
        browser.evaluate::<bool>(expression).await.then_some(())
    })
    .await;
}

/// Opens the dashboard, which shows the card of the only stream.
async fn open_card(browser: &Browser, gateway: &Gateway) {
    browser.open(&gateway.admin_url()).await;
    is(browser, "document.querySelector('.stream-card') !== null").await;
}

/// Returns whether the card says that `id` has these words.
fn says(id: &str, words: &str) -> String {
    format!(
        "[...document.querySelectorAll('.renditions li')].some(({{ textContent: line }}) =>
           line.startsWith('{id} · ') && line.includes('{words}'))"
    )
}

/// Returns the names of all members, with those of the members of a list's first item.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), shape(member)))
            .collect(),
        Value::Array(items) => items.first().map_or(Value::Null, shape),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn dashboard_shows_renditions_with_their_viewers_and_a_configuration_for_obs() {
    let ladder = "[transcode]\nladder = [\"360p 500k\", \"180p 200k\"]\nidle_timeout = \"1s\"\n";
    let gateway = Gateway::start_configured(ladder);
    gateway.logged_until("streams are transcoded for viewers");
    let clip = Clip::new(1024, 576, FRAME_RATE, Encoding::InOrder);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url(STREAM));
    gateway.wait_live(STREAM).await;
    let browser = &Browser::start().await;
    browser.load_axe().await;
    open_card(browser, &gateway).await;
    is(browser, &says("source", "1024×576")).await;
    is(browser, &says("180p", "up to 200 kbit/s")).await;
    let dashboard = browser.window().await;
    browser.open_window(&Page::serve().url()).await;
    let url = gateway.whep_url(&format!("{STREAM}?layer=180p"));
    let watch = format!("watch('viewer', '{url}').then(({{ status }}) => status)");
    assert_eq!(browser.evaluate::<u16>(&watch).await, 201);
    browser.show_window(&dashboard).await;
    is(browser, &says("source", "1024×576")).await;
    is(
        browser,
        &says("360p", "up to 500 kbit/s · made when a viewer needs it"),
    )
    .await;
    is(browser, &says("180p", "made by the gateway · 1 viewer")).await;

    browser.click(".obs summary").await;
    let text: String = browser
        .evaluate("document.querySelector('.obs pre').textContent")
        .await;
    let config: Value = serde_json::from_str(&text).expect("it is JSON");
    let encoders = config["encoder_configurations"].as_array().expect("a list");
    let sizes: Vec<_> = encoders
        .iter()
        .map(|encoder| (encoder["width"].as_u64(), encoder["height"].as_u64()))
        .collect();
    let expected = [(1024, 576), (640, 360), (320, 180)];
    assert_eq!(
        sizes,
        expected.map(|(width, height)| (Some(width), Some(height)))
    );
    let rates = encoders
        .iter()
        .map(|encoder| &encoder["settings"]["bitrate"]);
    let rates: Vec<_> = rates.filter_map(Value::as_u64).collect();
    assert_eq!(rates[1..], [500, 200], "{rates:?}");
    let documented = DOCUMENTED.split("```json\n").nth(1);
    let documented = documented.and_then(|rest| rest.split("```").next());
    let documented: Value = serde_json::from_str(documented.expect("there is one")).expect("JSON");
    assert_eq!(shape(&config), shape(&documented));

    browser
        .assert_accessible("dashboard with renditions", 1280, 900)
        .await;
    browser.look(375, 900, false).await;
    let overflow = "document.documentElement.scrollWidth - innerWidth";
    assert!(browser.evaluate::<i64>(overflow).await <= 0);
    browser.screenshot("dashboard_renditions").await;
    browser.look(1280, 900, false).await;
}
