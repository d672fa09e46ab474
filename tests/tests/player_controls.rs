//! The player's controls and words, and the accessibility of the pages.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::wait::eventually;

/// Name of the control that has the focus; the player itself is `player`.
const FOCUS: &str =
    "document.activeElement === player ? (player.shadowRoot.activeElement?.className ?? 'player')
      : document.activeElement.className";

async fn is(browser: &Browser, expression: &str) {
    eventually(expression, async || {
        browser.evaluate::<bool>(expression).await.then_some(())
    })
    .await;
}

/// Opens the page of a live stream, and waits until all controls are there.
async fn live(path: &str) -> (Gateway, Publisher, Browser) {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.load_axe().await;
    browser.open(&gateway.page_url(path)).await;
    is(&browser, "globalThis.player?.dataset.state === 'live'").await;
    is(&browser, "player.hasAttribute('data-audio')").await;
    (gateway, publisher, browser)
}

#[tokio::test]
async fn every_control_is_reached_by_tab_and_used_by_keys() {
    let (_gateway, _publisher, browser) = live("live/test").await;
    let mut reached = Vec::new();
    while reached.len() < 10 && reached.last().is_none_or(|name| name != "full") {
        browser.press("Tab").await;
        reached.push(browser.evaluate::<String>(FOCUS).await);
    }
    let expected = ["brand", "player", "pause", "mute", "stats", "pip", "full"];
    assert_eq!(reached, expected);

    let focus = async |name: &str| {
        let script = format!("player.shadowRoot.querySelector('.{name}').focus()");
        let _: () = browser.evaluate(&script).await;
    };
    focus("mute").await;
    browser.press("Enter").await;
    is(&browser, "!player.muted").await;
    // The browser reports the change to the player in a task of its own.
    let slider = "player.shadowRoot.querySelector('.volume').offsetWidth > 0";
    is(&browser, slider).await;
    browser.press("Tab").await;
    assert_eq!(browser.evaluate::<String>(FOCUS).await, "volume");
    focus("stats").await;
    browser.press(" ").await;
    is(&browser, "player.hasAttribute('stats')").await;
    for (key, effect) in [
        ("i", "!player.hasAttribute('stats')"),
        ("m", "player.muted"),
        ("k", "player.video.paused"),
        ("k", "!player.video.paused"),
        (
            "f",
            "document.fullscreenElement === player && player.hasAttribute('data-full')",
        ),
        (
            "f",
            "document.fullscreenElement === null && !player.hasAttribute('data-full')",
        ),
    ] {
        browser.press(key).await;
        is(&browser, effect).await;
    }
    let _: () = browser.evaluate("player.focus()").await;
    browser.press(" ").await;
    is(&browser, "player.video.paused").await;
}

#[tokio::test]
async fn removed_player_is_no_longer_announced_to_media_keys() {
    let (_gateway, _publisher, browser) = live("live/test").await;
    is(&browser, "navigator.mediaSession.metadata !== null").await;
    let _: () = browser.evaluate("player.remove()").await;
    is(&browser, "navigator.mediaSession.metadata === null").await;
    is(&browser, "navigator.mediaSession.playbackState === 'none'").await;
}

#[tokio::test]
async fn properties_set_before_the_element_is_in_the_page_hold() {
    let gateway = Gateway::start();
    let browser = Browser::start().await;
    browser
        .open(&gateway.page_url("live/test?autoplay=0"))
        .await;
    let _: () = browser
        .evaluate(
            "void import('/assets/player.js').then(() => {
               const make = (muted) => {
                 const made = document.createElement('distributary-player');
                 made.muted = muted;
                 made.stats = muted;
                 document.body.append(made);
                 return made;
               };
               globalThis.made = [make(true), make(false)];
             })",
        )
        .await;
    is(&browser, "globalThis.made?.length === 2").await;
    for (expression, expected) in [
        ("made[0].muted", true),
        ("made[0].hasAttribute('stats')", true),
        ("made[1].muted", false),
        ("made[1].hasAttribute('stats')", false),
    ] {
        let found = browser.evaluate::<bool>(expression).await;
        assert_eq!(found, expected, "{expression}");
    }
}

#[tokio::test]
async fn pause_keeps_the_session_and_volume_is_remembered() {
    let (gateway, _publisher, browser) = live("live/test").await;
    browser.click(".pause").await;
    is(
        &browser,
        "player.video.paused && player.hasAttribute('data-paused')",
    )
    .await;
    browser.screenshot("player_paused").await;
    let report = browser.report("video").await.expect("the video is there");
    let seen = report.counters.len();
    browser.click(".play").await;
    let report = browser
        .wait_for("video", "frames", |report| {
            report.counters.len() > seen + 10
        })
        .await;
    assert_eq!(report.peers, 1, "it is the same session");

    browser.click(".mute").await;
    is(&browser, "!player.muted").await;
    browser
        .open(&gateway.page_url("live/test?autoplay=0"))
        .await;
    is(&browser, "!player.muted").await;
    let page = gateway.page_url("live/test?autoplay=0&muted=1");
    browser.open(&page).await;
    is(&browser, "player.muted").await;
}

#[tokio::test]
async fn controls_hide_without_input_and_fit_a_small_phone() {
    let (_gateway, _publisher, browser) = live("live/test").await;
    browser.look(320, 568, false).await;
    browser.screenshot("player_live_small_phone").await;
    let opacity = |control: &str, value: u8| {
        format!(
            "getComputedStyle(player.shadowRoot.querySelector('{control}')).opacity === '{value}'"
        )
    };
    assert!(browser.evaluate::<bool>("player.muted").await);
    is(&browser, &opacity(".pause", 0)).await;
    is(&browser, "getComputedStyle(player).cursor === 'none'").await;
    // The button that says that there is no audio yet stays.
    is(&browser, &opacity(".mute", 1)).await;
    browser.screenshot("player_live_small_phone_idle").await;
    let _: () = browser.evaluate("player.focus()").await;
    browser.press("Tab").await;
    is(&browser, &opacity(".pause", 1)).await;
    let _: () = browser.evaluate("void (player.muted = false)").await;
    let _: () = browser.evaluate("document.activeElement.blur()").await;
    is(&browser, &opacity(".mute", 0)).await;
}

#[tokio::test]
async fn keys_of_the_gateways_own_page_work_at_once_and_a_click_gives_audio() {
    let (gateway, _publisher, browser) = live("live/test").await;
    assert!(
        browser
            .evaluate::<bool>("document.activeElement === document.body")
            .await
    );
    for (key, effect) in [
        ("i", "player.hasAttribute('stats')"),
        ("i", "!player.hasAttribute('stats')"),
        ("m", "!player.muted"),
        ("m", "player.muted"),
        (" ", "player.video.paused"),
        ("k", "!player.video.paused"),
    ] {
        browser.press(key).await;
        is(&browser, effect).await;
    }

    // A frame in another page leaves that page its keys, and a click gives audio.
    let page = gateway.page_url("live/test?embed&muted=1");
    browser.open(&page).await;
    is(&browser, "player.dataset.state === 'live'").await;
    is(&browser, "player.hasAttribute('data-audio')").await;
    browser.press("i").await;
    browser.press("m").await;
    browser.click("video").await;
    is(&browser, "!player.muted").await;
    assert!(
        !browser
            .evaluate::<bool>("player.hasAttribute('stats')")
            .await
    );
    // Who has chosen between audio and none clicks for nothing.
    let mute = "player.shadowRoot.querySelector('.mute').click()";
    let _: () = browser.evaluate(mute).await;
    is(&browser, "player.muted").await;
    browser.click("video").await;
    assert!(browser.evaluate::<bool>("player.muted").await);
}

#[tokio::test]
async fn video_of_an_unsupported_codec_is_explained_while_the_audio_plays() {
    let gateway = Gateway::start();
    let video = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10"];
    let audio = ["-re", "-f", "lavfi", "-i", "sine=sample_rate=44100"];
    let codecs = ["-c:v", "flv", "-c:a", "aac"];
    let arguments = [&video[..], &audio, &codecs].concat();
    let _publisher = Publisher::encoding(&arguments, &gateway.rtmp_url("live/test"));
    eventually("the audio is there", async || {
        gateway.stream("live/test")?["audio"]
            .is_object()
            .then_some(())
    })
    .await;
    let browser = Browser::start().await;
    for page in ["live/test", "live/test?events=0"] {
        // The page is loaded, although its video never shows a frame.
        browser.open(&gateway.page_url(page)).await;
        is(&browser, "player.dataset.state === 'live'").await;
        let shown = "player.shadowRoot.querySelector('.no-video').offsetHeight > 0";
        is(&browser, shown).await;
        let words = browser.text(".no-video").await;
        assert_eq!(words, "The video cannot be shown. Only the audio plays.");
    }
    browser.screenshot("player_unsupported_video").await;
}

#[tokio::test]
async fn page_of_a_stream_is_accepted_in_place_of_its_endpoint() {
    let (gateway, _publisher, browser) = live("live/test").await;
    let src = format!("player.src = '{}'", gateway.page_url("live/test"));
    let _: () = browser
        .evaluate(&format!("void (probeBefore = player.player, {src})"))
        .await;
    is(
        &browser,
        "player.player !== probeBefore && player.state === 'live'",
    )
    .await;
    for other in ["/rtc/v1/whep/?app=live&stream=test", "/live/test/whep"] {
        let script = format!("import('/assets/path.js').then(({{ whepOf }}) => whepOf('{other}'))");
        assert_eq!(browser.evaluate::<String>(&script).await, other);
    }
}

#[tokio::test]
async fn viewer_enters_a_key_and_reads_no_words_for_experts() {
    let gateway = Gateway::start_configured(
        "[auth]\nplay = \"keys\"\n[[auth.key]]\nmatch = \"live/*\"\nplay = [\"guest\"]\n",
    );
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.load_axe().await;
    browser.open(&gateway.page_url("live/test")).await;
    is(&browser, "globalThis.player?.dataset.state === 'locked'").await;
    let words = browser.text(".words").await;
    assert_eq!(words, "This stream needs a password or key.");
    browser.look(320, 568, true).await;
    browser.screenshot("player_locked_phone_dark").await;
    browser.assert_accessible("player, locked", 1000, 800).await;
    for (key, state) in [("mf", "locked"), ("guest", "live")] {
        let empty = "(player.shadowRoot.querySelector('.key').value = '',
            player.shadowRoot.querySelector('.key').focus())";
        let _: () = browser.evaluate(empty).await;
        for letter in key.split("").filter(|letter| !letter.is_empty()) {
            browser.press(letter).await;
        }
        browser.press("Enter").await;
        is(
            &browser,
            &format!("player.getAttribute('token') === '{key}'"),
        )
        .await;
        let wrong = "player.text.includes('wrong')";
        let reached = format!("player.dataset.state === '{state}'");
        is(&browser, if state == "locked" { wrong } else { &reached }).await;
    }
}

#[tokio::test]
async fn stream_that_its_publisher_ends_is_over_at_once() {
    let gateway = Gateway::start_configured("[viewers]\noffline_grace = \"1h\"\n");
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    is(&browser, "player.viewers === 1").await;
    is(&browser, "player.dataset.state === 'live'").await;
    publisher.stop();
    is(&browser, "player.dataset.state === 'ended'").await;
    let is_shown = "player.shadowRoot.querySelector('.viewers').offsetWidth > 0";
    assert!(!browser.evaluate::<bool>(is_shown).await);
    browser.screenshot("player_ended").await;
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    is(&browser, "player.dataset.state === 'live'").await;
    let sessions: usize = browser.evaluate("probe.sessions().length").await;
    assert_eq!(sessions, 1, "it is the same session");
}

#[tokio::test]
async fn player_without_events_says_that_the_stream_has_ended() {
    let gateway = Gateway::start_configured("[viewers]\noffline_grace = \"1h\"\n");
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    let page = gateway.page_url("live/test?events=0");
    browser.open(&page).await;
    is(&browser, "globalThis.player?.dataset.state === 'live'").await;
    publisher.stop();
    is(&browser, "player.dataset.state === 'ended'").await;
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    is(&browser, "player.dataset.state === 'live'").await;
    let sessions: usize = browser.evaluate("probe.sessions().length").await;
    assert_eq!(sessions, 1, "it is the same session");
    // A connection that breaks is no end.
    drop(publisher);
    is(&browser, "player.dataset.state === 'stalled'").await;
}

#[tokio::test]
async fn tap_shows_and_hides_the_controls() {
    let (_gateway, _publisher, browser) = live("live/test").await;
    browser.look(375, 667, false).await;
    is(&browser, "player.hasAttribute('data-idle')").await;
    // From now on only taps hide them: between two steps, a busy machine may let their time pass.
    let script = "void ((native) => {
        globalThis.setTimeout = (done, delay) => (delay < 3000 ? native(done, delay) : 0);
      })(setTimeout)";
    let _: () = browser.evaluate(script).await;
    browser.tap(180, 150).await;
    is(&browser, "!player.hasAttribute('data-idle')").await;
    browser.tap(180, 150).await;
    is(&browser, "player.hasAttribute('data-idle')").await;
    // The first tap on a hidden control only shows it.
    let place = "(({ left, top, width, height }) => [left + width / 2, top + height / 2])(
        player.shadowRoot.querySelector('.pause').getBoundingClientRect())";
    let [x, y]: [f64; 2] = browser.evaluate(place).await;
    browser.tap(x as u32, y as u32).await;
    is(&browser, "!player.hasAttribute('data-idle')").await;
    assert!(!browser.evaluate::<bool>("player.video.paused").await);
    browser.tap(x as u32, y as u32).await;
    is(&browser, "player.video.paused").await;
}

#[tokio::test]
async fn browser_without_webrtc_hears_which_browsers_can() {
    let gateway = Gateway::start();
    let browser = Browser::start_with("delete window.RTCPeerConnection;").await;
    browser.open(&gateway.page_url("live/test")).await;
    is(&browser, "player.dataset.state === 'unsupported'").await;
    is(&browser, "player.text.includes('Firefox')").await;
}

#[tokio::test]
async fn pages_pass_the_accessibility_checks_of_axe() {
    let (gateway, _publisher, browser) = live("live/test").await;
    browser.assert_accessible("player", 1000, 800).await;
    browser.open(&gateway.page_url("")).await;
    is(&browser, "globalThis.player?.dataset.state === 'live'").await;
    browser.assert_accessible("front page", 1000, 800).await;
    browser.open(&gateway.admin_url()).await;
    is(&browser, "document.body.innerText.includes('live/test')").await;
    browser.assert_accessible("dashboard", 1000, 800).await;
}
