//! The gateway's own pages and player.

use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::Page;
use distributary_tests::wait::eventually;
use serde::Deserialize;
use serde_json::{Value, json};

/// Number of frames that proves playback.
const FRAMES: usize = 2 * FRAME_RATE as usize;

#[tokio::test]
async fn player_waits_for_its_stream_and_recovers_after_a_publisher_restart() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    wait_for_state(&browser, "waiting").await;
    let words = browser.text(".words").await;
    assert!(words.contains("Waiting for the stream"), "{words}");
    browser.screenshot("player_waiting").await;

    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    let report = browser
        .wait_for("video", "frames", |r| r.counters.len() > FRAMES)
        .await;
    wait_for_state(&browser, "live").await;
    browser.screenshot("player_live").await;
    browser.look(390, 844, true).await;
    browser.screenshot("player_live_phone").await;
    assert!(
        report.muted,
        "a page that plays by itself plays without audio at first"
    );

    // Not unpublished: the connection just ends.
    drop(publisher);
    eventually("the stream is gone", async || {
        gateway.stream("live/test").is_none().then_some(())
    })
    .await;
    let seen = browser
        .report("video")
        .await
        .expect("the video is there")
        .counters
        .len();
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    browser
        .wait_for("video", "it plays again", |r| {
            r.counters.len() > seen + FRAMES
        })
        .await;
    wait_for_state(&browser, "live").await;
}

#[tokio::test]
async fn front_page_lists_and_plays_live_streams_with_audio() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("")).await;
    let shows = |text: &'static str| {
        let browser = &browser;
        async move {
            let what = format!("the page shows {text:?}");
            let look = async || browser.text("body").await.contains(text).then_some(());
            eventually(&what, look).await;
        }
    };
    shows("Nothing is live").await;
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    shows("live/test").await;
    browser
        .wait_for("video", "frames", |report| report.counters.len() > FRAMES)
        .await;
    for (name, width, height, is_dark) in [
        ("front_page", 1280, 800, false),
        ("front_page_dark", 1280, 800, true),
        ("front_page_phone", 390, 844, false),
    ] {
        browser.look(width, height, is_dark).await;
        browser.screenshot(name).await;
    }
    browser.look(1000, 800, false).await;

    browser.click(".mute").await;
    browser
        .wait_for("video", "audio", |report| {
            !report.muted && report.audio_energy() > 0.0
        })
        .await;
}

#[tokio::test]
async fn closing_the_page_ends_the_session() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    browser
        .wait_for("video", "frames", |report| report.counters.len() > FRAMES)
        .await;
    let session: String = browser.evaluate("probe.sessions().at(-1)").await;
    assert_ne!(
        gateway.request("GET", &session, &[], b"").status,
        404,
        "{session}"
    );

    browser.open("about:blank").await;
    eventually("the session is gone", async || {
        (gateway.request("GET", &session, &[], b"").status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_site_embeds_the_player_as_module_and_iframe_with_stats() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let (page, whep) = (gateway.page_url("live/test"), gateway.whep_url("live/test"));
    let site = Page::serve_text(&format!(
        "<!doctype html><title>Another site</title><style>body {{ margin: 2rem; }}</style>
         <script type=module src='{}assets/player.js'></script>
         <distributary-player src='{whep}' autoplay muted stats></distributary-player>
         <iframe src='{page}?embed&stats' width=480 height=270 allow='autoplay; fullscreen'></iframe>",
        gateway.page_url("")
    ));
    let browser = Browser::start().await;
    browser.open(&site.url()).await;
    browser
        .wait_for("video", "frames", |report| report.counters.len() > FRAMES)
        .await;
    eventually("the frame plays, too", async || {
        let streams = gateway.ask("/api/streams");
        (streams["streams"][0]["viewers"]["connected"] == 2).then_some(())
    })
    .await;

    let player = "document.querySelector('distributary-player')";
    let stats: Stats = eventually("all stats", async || {
        let stats = browser
            .evaluate::<Option<Stats>>(&format!("{player}.stats"))
            .await?;
        let is_complete = stats.round_trip.is_some() && !stats.is_estimate;
        // A busy machine delays or loses some of it for a while.
        let is_plausible = stats.latency.is_some_and(|latency| latency < 2000.0)
            && stats.bitrate > Some(100_000.0)
            && stats.loss == Some(0.0);
        (is_complete && is_plausible).then_some(stats)
    })
    .await;
    assert!(stats.first_frame > Some(0.0), "{stats:?}");
    assert_eq!(stats.codecs, ["H264", "opus"], "{stats:?}");
    assert_eq!(stats.path.as_deref(), Some("UDP"), "{stats:?}");
    wait_for_text(&browser, ".stats-list", "First frame").await;
    wait_for_text(&browser, ".stats-list", "Latency").await;
    browser.screenshot("player_on_another_site").await;

    // With keys, once the player has the focus.
    let _: () = browser.evaluate(&format!("{player}.focus()")).await;
    browser.press("i").await;
    let hidden: bool = browser.evaluate("probe.find('.stats-list').hidden").await;
    assert!(hidden);
    browser.press("m").await;
    browser
        .wait_for("video", "audio", |report| !report.muted)
        .await;

    // Nothing listens on that port.
    let script = format!("{player}.src = 'http://127.0.0.1:1/whep/live/test'");
    let _: String = browser.evaluate(&script).await;
    wait_for_state(&browser, "retrying").await;
    let words = browser.text(".words").await;
    assert_eq!(words, "No connection to the stream. Trying again…");
}

#[tokio::test]
async fn page_follows_redirects_and_shows_events() {
    let gateway = Gateway::start_configured(
        "[auth]\nplay = \"keys\"\n[[auth.key]]\nmatch = \"live/*\"\nplay = [\"guest\"]\n\
         [whep]\noffline = \"wait\"\n[viewers]\noffline_grace = \"1s\"\n",
    );
    let front = Gateway::start_configured(&format!(
        "[[redirect]]\nmatch = \"live/*\"\nto = \"http://{}/whep/live\"\n",
        gateway.http
    ));
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    let page = format!("{}?token=guest", front.page_url("live/test"));
    browser.open(&page).await;
    let report = browser.wait_for("video", "frames", |report| report.counters.len() > FRAMES);
    report.await;
    wait_for_text(&browser, ".viewers", "1 watching").await;
    browser.look(390, 844, false).await;
    browser.screenshot("player_with_events_phone").await;
    browser.look(1000, 800, false).await;
    browser.screenshot("player_with_events").await;
    browser.click(".pip").await;
    eventually("the video is in a window of its own", async || {
        let is_there = "document.pictureInPictureElement !== null";
        browser.evaluate::<bool>(is_there).await.then_some(())
    })
    .await;
    browser.click(".pip").await;

    publisher.stop();
    wait_for_state(&browser, "ended").await;
    wait_for_text(&browser, ".words", "has ended").await;
    browser.screenshot("player_ended").await;
    let seen = browser.report("video").await;
    let seen = seen.expect("the video is there").counters.len();
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    let report = browser.wait_for("video", "it plays again", |report| {
        report.counters.len() > seen + FRAMES
    });
    report.await;
    wait_for_state(&browser, "live").await;
    let sessions: usize = browser.evaluate("probe.sessions().length").await;
    assert_eq!(sessions, 1, "it is the same session");

    // No other gateway accepts it, so it stays, and switches as soon as it can.
    let drain = |method| client::request(gateway.admin, method, "/api/drain", &[], b"").status;
    assert_eq!(drain("POST"), 200);
    let asked = "performance.getEntriesByType('resource')
        .filter(({ responseStatus }) => responseStatus === 503).length";
    eventually("the player has asked for another session", async || {
        (browser.evaluate::<usize>(asked).await > 0).then_some(())
    })
    .await;
    wait_for_state(&browser, "live").await;
    assert_eq!(drain("DELETE"), 200);
    eventually("the player has gone over", async || {
        let sessions: usize = browser.evaluate("probe.sessions().length").await;
        let viewers = gateway.ask("/api/viewers");
        (sessions == 2 && viewers["viewers"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let more = browser.wait_for("video", "it plays on", |report| {
        report.counters.len() > seen + 3 * FRAMES
    });
    more.await;
    wait_for_state(&browser, "live").await;
}

#[tokio::test]
async fn announced_ice_servers_are_used_if_the_direct_path_fails() {
    // Nothing listens at that address.
    let gateway = Gateway::start_configured(
        "advertise = [\"127.0.0.2\"]\n\
         [[ice_server]]\nurl = \"stun:127.0.0.1:9\"\n\
         [[ice_server]]\nurl = \"turn:127.0.0.1:9?transport=tcp\"\nsecret = \"shared\"\n",
    );
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    let servers = eventually("a connection with servers", async || {
        let servers: Vec<Value> = browser.evaluate("probe.iceServers()").await;
        (!servers.is_empty()).then_some(servers)
    })
    .await;
    assert_eq!(servers[0]["urls"], json!(["stun:127.0.0.1:9"]));
    assert_eq!(
        servers[1]["urls"],
        json!(["turn:127.0.0.1:9?transport=tcp"])
    );
    // The user name is the expiry time, as coturn requires.
    let user = servers[1]["username"].as_str().unwrap();
    assert!(
        user.starts_with(|first: char| first.is_ascii_digit()),
        "{user}"
    );
    assert!(!servers[1]["credential"].as_str().unwrap().is_empty());
}

async fn wait_for_text(browser: &Browser, selector: &str, text: &str) {
    eventually(&format!("{selector} says {text:?}"), async || {
        browser.text(selector).await.contains(text).then_some(())
    })
    .await;
}

/// The player's stats, as far as they are asserted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    first_frame: Option<f64>,
    latency: Option<f64>,
    is_estimate: bool,
    bitrate: Option<f64>,
    loss: Option<f64>,
    round_trip: Option<f64>,
    codecs: Vec<String>,
    path: Option<String>,
}

async fn wait_for_state(browser: &Browser, wanted: &str) {
    eventually(&format!("the player is {wanted}"), async || {
        let state = "document.querySelector('distributary-player').dataset.state";
        (browser.evaluate::<String>(state).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn latency_is_never_less_than_the_way_that_a_frame_has_taken() {
    let gateway = Gateway::start();
    let browser = Browser::start().await;
    browser
        .open(&gateway.page_url("live/test?autoplay=0"))
        .await;
    // A capture clock that is a second ahead, as of a publisher whose first frame came late.
    let measure = "Promise.all([import('/assets/stats.js'), import('/assets/element-markup.js')])
      .then(([{ measure }, { latencyOf }]) => {
        const now = performance.timeOrigin + performance.now();
        const report = (at, frames) => new Map(Object.entries({
          V: { type: 'inbound-rtp', kind: 'video', timestamp: at, framesDecoded: frames,
            jitterBufferDelay: frames * 0.03, jitterBufferEmittedCount: frames, totalDecodeTime: frames * 0.005 },
          S: { type: 'remote-outbound-rtp', kind: 'video', timestamp: at, remoteTimestamp: at },
          T: { type: 'transport', selectedCandidatePairId: 'P' },
          P: { type: 'candidate-pair', currentRoundTripTime: 0.08 },
        }));
        const session = { capturedAt: now + 1000, firstFrame: 1 };
        const first = measure(report(now - 500, 0), session, null);
        const { latency } = measure(report(now, 15), session, first);
        return [latency, latencyOf({ latency: 7, isEstimate: false })];
      })";
    let (latency, small): (f64, String) = browser.evaluate(measure).await;
    // Half a round trip, 30 ms in the buffer and 5 ms in the decoder.
    assert!((latency - 75.0).abs() < 0.1, "{latency}");
    assert_eq!(small, "< 50 ms");
}

#[tokio::test]
async fn links_that_are_no_urls_do_not_end_a_session() {
    let gateway = Gateway::start();
    let browser = Browser::start().await;
    browser
        .open(&gateway.page_url("live/test?autoplay=0"))
        .await;
    let links = "import('/assets/events.js').then(({ linksTo }) => {
        const hosts = ['https://b.example:84433', 'http://10.0.0.256', 'http://a:b', 'https://c.example'];
        const link = hosts.map((host) => `<${host}/whep/x>; rel=\"alternate\"`).join(', ');
        return linksTo('alternate', link, location.href).map(String);
      })";
    let links: Vec<String> = browser.evaluate(links).await;
    assert_eq!(links, ["https://c.example/whep/x"]);
}

#[tokio::test]
async fn gateway_is_gone_when_neither_packets_nor_reports_arrive() {
    let gateway = Gateway::start();
    let browser = Browser::start().await;
    browser
        .open(&gateway.page_url("live/test?autoplay=0"))
        .await;
    // Each phase: what arrives every 250 ms, and for how long. Returns the milliseconds until the gateway
    // is gone, or null.
    let follow = "import('/assets/failover.js').then(({ Pulse }) => (...phases) => {
        const pulse = new Pulse();
        const sum = { packets: 0, reports: 0 };
        let now = 0;
        for (const { packets, reports, millis, step = 250 } of phases) {
          for (const end = now + millis; now < end; now += step) {
            sum.packets += packets;
            sum.reports += reports;
            pulse.look(new Map(Object.entries({
              V: { type: 'inbound-rtp', packetsReceived: sum.packets },
              S: { type: 'remote-outbound-rtp', reportsSent: sum.reports },
            })), now);
            if (pulse.isGone) return now;
          }
        }
        return null;
      }).then((follow) => [
        follow({ packets: 9, reports: 1, millis: 5000 }, { packets: 0, reports: 0, millis: 5000 }),
        follow({ packets: 9, reports: 1, millis: 5000 }, { packets: 0, reports: 1, millis: 60000 }),
        follow({ packets: 9, reports: 0, millis: 5000 }, { packets: 0, reports: 0, millis: 60000 }),
        follow({ packets: 9, reports: 1, millis: 5000 }, { packets: 0, reports: 0, millis: 1, step: 60000 },
          { packets: 9, reports: 1, millis: 5000 }),
      ])";
    let gone: [Option<u32>; 4] = browser.evaluate(follow).await;
    let expected = [
        Some(5500), // the last packets came at 4750 ms
        None,       // the publisher is silent
        None,       // a browser without reports
        None,       // a page that stood still
    ];
    assert_eq!(gone, expected);
}

#[tokio::test]
async fn session_in_the_place_of_another_has_to_show_pictures() {
    let gateway = Gateway::start();
    let browser = Browser::start().await;
    browser
        .open(&gateway.page_url("live/test?autoplay=0"))
        .await;
    let results = "import('/assets/failover.js').then(({ bringUp }) => {
        const raise = (parts, { isConnectionEnough = false, isWanted = true } = {}) => {
          const session = { open: async () => {}, connected: true, lost: false, frames: 0, ...parts };
          session.getStats = async () =>
            new Map([['V', { type: 'inbound-rtp', packetsReceived: 9, framesDecoded: session.frames }]]);
          const options = { hasVideo: true, timeout: 200 };
          options.isWanted = () => isWanted;
          options.isConnectionEnough = () => isConnectionEnough;
          if (isConnectionEnough) options.timeout = 60000;
          return bringUp(session, options).catch(({ message }) => message);
        };
        return Promise.all([
          raise({ frames: 1 }),
          raise({}),
          raise({}, { isConnectionEnough: true }),
          raise({ connected: false }, {}),
          raise({ frames: 1, lost: true }),
          raise({ frames: 1 }, { isWanted: false }),
          raise({ open: () => new Promise(() => {}) }),
          raise({ open: async () => { throw new Error('refused'); } }).then((text) => text === 'refused'),
        ]);
      })";
    let results: [bool; 8] = browser.evaluate(results).await;
    let expected = [true, false, true, false, false, false, false, true];
    assert_eq!(results, expected);
}
