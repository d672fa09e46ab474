//! The dashboard shows streams and viewers, and ends them.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::Page;
use distributary_tests::wait::eventually;

/// Waits until the page shows `text`.
async fn shows(browser: &Browser, text: &str) {
    eventually(&format!("the page shows {text:?}"), async || {
        browser.text("body").await.contains(text).then_some(())
    })
    .await;
}

/// Serves a page with a player of the stream beside the dashboard, like two windows.
fn both(gateway: &Gateway) -> Page {
    Page::serve_text(&format!(
        "<!doctype html><iframe src='{}?embed' allow=autoplay></iframe>",
        gateway.page_url("live/test")
    ))
}

#[tokio::test]
async fn dashboard_shows_streams_and_viewers_and_ends_them() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(2 * FRAME_RATE);
    let browser = Browser::start().await;
    browser.open(&gateway.admin_url()).await;
    shows(&browser, "Nothing is live right now").await;
    let mut publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    shows(&browser, "live/test").await;
    shows(&browser, "30 fps").await;
    shows(&browser, "keyframe every 2.0 s").await;
    shows(&browser, "No viewers").await;

    let dashboard = browser.window().await;
    browser.open_window(&both(&gateway).url()).await;
    browser.show_window(&dashboard).await;
    eventually("a viewer is listed", async || {
        let rows: usize = browser
            .evaluate("document.querySelectorAll('td[data-title=Path]').length")
            .await;
        (rows == 1).then_some(())
    })
    .await;
    shows(&browser, "UDP").await;
    for (name, width, height, is_dark) in [
        ("dashboard_light", 1280, 800, false),
        ("dashboard_dark", 1280, 800, true),
        ("dashboard_phone", 390, 844, false),
        ("dashboard_phone_dark", 390, 844, true),
    ] {
        browser.look(width, height, is_dark).await;
        browser.screenshot(name).await;
        let overflow: i64 = browser
            .evaluate("document.documentElement.scrollWidth - innerWidth")
            .await;
        assert!(overflow <= 0, "{name} is {overflow} pixels too wide");
    }
    browser.look(1280, 800, false).await;

    let viewer = browser.text("td").await;
    browser.click("td button").await;
    browser.screenshot("dashboard_question").await;
    browser.click("#ask [value=yes]").await;
    eventually("that viewer is gone", async || {
        let viewers = browser
            .evaluate::<String>("document.querySelector('tbody').innerText")
            .await;
        (!viewers.contains(&viewer)).then_some(())
    })
    .await;

    browser.click(".end-publisher").await;
    browser.click("#ask [value=no]").await;
    assert!(publisher.is_running());
    browser.click(".end-publisher").await;
    browser.click("#ask [value=yes]").await;
    publisher.wait();
    shows(&browser, "Nothing is live right now").await;
}

#[tokio::test]
async fn dashboard_shows_nothing_before_sign_in() {
    let gateway = Gateway::start_configured("admin_token = \"correct horse\"");
    let browser = Browser::start().await;
    browser.open(&gateway.admin_url()).await;
    shows(&browser, "Admin token").await;
    browser.look(390, 844, true).await;
    browser.screenshot("dashboard_sign_in").await;
    let sign_in = |token: &str| {
        format!(
            "(document.querySelector('#token').value = '{token}',
              document.querySelector('#sign-in button').click())"
        )
    };
    let _: () = browser.evaluate(&sign_in("battery")).await;
    shows(&browser, "The admin token is wrong.").await;
    let _: () = browser.evaluate(&sign_in("correct horse")).await;
    shows(&browser, "Nothing is live right now").await;
}
