//! Addresses that are meant for programs, and wrong ones, opened in a browser.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

#[tokio::test]
async fn addresses_for_programs_and_wrong_ones_show_a_page_that_helps() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.load_axe().await;
    let admin = gateway.admin_url();
    for (name, url, text) in [
        (
            "whep",
            gateway.whep_url("live/test"),
            "WHEP address of live/test",
        ),
        (
            "whep_alias",
            gateway.page_url("live/test/whep"),
            "Watch the stream",
        ),
        ("app", gateway.page_url("live/"), "Go to the live streams"),
        ("admin", gateway.page_url("admin"), "listener of their own"),
        (
            "wrong",
            gateway.page_url("session/a/b"),
            "There is nothing here",
        ),
        ("wrong_admin", format!("{admin}x/y"), "Go to the dashboard"),
    ] {
        browser.open(&url).await;
        let shown = browser.text("main").await;
        assert!(shown.contains(text), "{url}: {shown}");
        browser.look(375, 667, name == "app").await;
        browser.screenshot(&format!("help_{name}")).await;
        let overflow: i64 = browser
            .evaluate("document.documentElement.scrollWidth - innerWidth")
            .await;
        assert!(overflow <= 0, "{name} is {overflow} pixels too wide");
        browser.assert_accessible(name, 375, 667).await;
    }
    // The links lead to pages, from the alias of another server too.
    browser.open(&gateway.page_url("live/test/whep")).await;
    browser.click(".ways-on a").await;
    eventually("the stream plays", async || {
        let state = "globalThis.player?.dataset.state === 'live'";
        browser.evaluate::<bool>(state).await.then_some(())
    })
    .await;
    let title = "document.querySelector('meta[property=\"og:title\"]').content";
    assert_eq!(browser.evaluate::<String>(title).await, "live/test");
}

#[tokio::test]
async fn page_shows_the_last_keyframe_before_it_plays() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser
        .open(&gateway.page_url("live/test?autoplay=0"))
        .await;
    let poster = "probe.find('.poster')";
    eventually("the keyframe is drawn", async || {
        let is_drawn = format!(
            "!{poster}.hidden && {poster}.offsetWidth > 0 &&
             new Set({poster}.getContext('2d').getImageData(0, 0, 320, 180).data).size > 10"
        );
        browser.evaluate::<bool>(&is_drawn).await.then_some(())
    })
    .await;
    browser.screenshot("player_poster").await;
    browser.click(".play").await;
    eventually("the video is shown", async || {
        let is_live = format!("player.dataset.state === 'live' && {poster}.offsetWidth === 0");
        browser.evaluate::<bool>(&is_live).await.then_some(())
    })
    .await;
    let title = "navigator.mediaSession.metadata.title";
    assert_eq!(browser.evaluate::<String>(title).await, "live/test");
}
