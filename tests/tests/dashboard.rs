//! The dashboard shows streams and viewers, ends and blocks them, and remembers.

use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::Gateway;
use distributary_tests::page::Page;
use distributary_tests::wait::eventually;
use serde_json::Value;

/// Waits until the page shows `text`.
async fn shows(browser: &Browser, text: &str) {
    eventually(&format!("the page shows {text:?}"), async || {
        browser.text("body").await.contains(text).then_some(())
    })
    .await;
}

/// Waits until an expression is true in the page.
async fn is(browser: &Browser, expression: &str) {
    eventually(expression, async || {
        browser.evaluate::<bool>(expression).await.then_some(())
    })
    .await;
}

/// Takes screenshots of the page in several sizes, none of which it may exceed.
async fn look_at(browser: &Browser, name: &str) {
    for (size, width, height, is_dark) in [
        ("light", 1280, 1800, false),
        ("dark", 1280, 800, true),
        ("phone", 375, 2000, false),
        ("small_phone_dark", 320, 1200, true),
    ] {
        browser.look(width, height, is_dark).await;
        browser.screenshot(&format!("{name}_{size}")).await;
        let overflow: i64 = browser
            .evaluate("document.documentElement.scrollWidth - innerWidth")
            .await;
        assert!(overflow <= 0, "{name} {size} is {overflow} pixels too wide");
    }
    browser.look(1280, 800, false).await;
}

/// Serves a page with a player of the stream beside the dashboard, like two windows.
fn both(gateway: &Gateway) -> Page {
    Page::serve_text(&format!(
        "<!doctype html><iframe src='{}?embed' allow=autoplay></iframe>",
        gateway.page_url("live/test")
    ))
}

/// Number of viewers in the table.
const VIEWERS: &str = "document.querySelectorAll('.viewer-table tbody tr').length";

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
    let player = browser.window().await;
    browser.show_window(&dashboard).await;
    is(&browser, &format!("{VIEWERS} === 1")).await;
    shows(&browser, "UDP").await;
    shows(&browser, "Chrome").await;
    shows(&browser, " dBFS").await;
    is(
        &browser,
        "document.querySelector('canvas.thumbnail').width > 0",
    )
    .await;
    look_at(&browser, "dashboard").await;

    let viewer = browser.text(".viewer-table td").await;
    browser.click(".viewer-table td button").await;
    browser.screenshot("dashboard_question").await;
    browser.click("#ask [value=yes]").await;
    eventually("that viewer is gone", async || {
        let viewers = browser
            .evaluate::<String>("document.querySelector('.viewer-table tbody').innerText")
            .await;
        (!viewers.contains(&viewer)).then_some(())
    })
    .await;

    // The player reconnects by itself, until its address is blocked.
    is(&browser, &format!("{VIEWERS} === 1")).await;
    browser.click(".viewer-table td button:last-child").await;
    browser.click("#ask [value=yes]").await;
    shows(&browser, "Viewers at 127.0.0.1, for another").await;
    shows(&browser, "Refused").await;
    is(&browser, &format!("{VIEWERS} === 0")).await;
    browser.click("#blocks button").await;
    is(&browser, "document.querySelector('#blocks-box').hidden").await;
    browser.show_window(&player).await;
    browser.open(&both(&gateway).url()).await;
    browser.show_window(&dashboard).await;
    is(&browser, &format!("{VIEWERS} === 1")).await;
    browser.show_window(&player).await;
    browser.open("about:blank").await;
    browser.show_window(&dashboard).await;

    browser.click(".end-publisher").await;
    browser.click("#ask [value=no]").await;
    assert!(publisher.is_running());
    browser.click(".end-publisher").await;
    browser.click("#ask [value=yes]").await;
    publisher.wait();
    shows(&browser, "Nothing is live right now").await;
    is(&browser, "!document.querySelector('#ended-box').hidden").await;
    browser.click("#ended-box summary").await;
    shows(&browser, "removed through the API").await;
    look_at(&browser, "dashboard_after").await;
}

#[tokio::test]
async fn dashboard_opens_with_full_graphs_a_thumbnail_and_past_events() {
    let gateway = Gateway::start();
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/gone"));
    gateway.wait_live("live/gone").await;
    publisher.stop();
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    let samples = |list: &Value| list.as_array().map_or(0, Vec::len);
    eventually("there is a history", async || {
        let answer = client::request(gateway.admin, "GET", "/api/history/live/test", &[], b"");
        (answer.status == 200 && samples(&answer.json()["viewers"]) >= 15).then_some(())
    })
    .await;
    let browser = Browser::start().await;
    browser.open(&gateway.admin_url()).await;
    // More points than seconds that the page has been open.
    let points =
        "document.querySelector('.stream-card .line')?.getAttribute('d').split('L').length";
    is(
        &browser,
        &format!("{points} > performance.now() / 1000 + 10"),
    )
    .await;
    shows(&browser, "Published").await;
    shows(&browser, "Ended in the last 15 minutes").await;
    let text = "document.querySelector('#events').innerText";
    let events: String = browser.evaluate(text).await;
    assert!(events.contains("live/gone"), "{events}");
    // The frame is decoded, not only measured.
    is(
        &browser,
        "(() => {
            const canvas = document.querySelector('canvas.thumbnail');
            if (canvas.hidden) return false;
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return new Set(data).size > 10;
        })()",
    )
    .await;
    browser.screenshot("dashboard_remembers").await;
}

/// Replaces the feed by one with 300 streams.
const MANY_STREAMS: &str = "
    const streamOf = (n) => ({
        name: n === 150 ? 'live/tag<img src=x onerror=injected=1>' : `live/cam${n}`, has_page: true, uptime_seconds: 60 * n, b_frames: 'none', transcode: null, renditions: [], standbys: [], standby_nodes: [],
        advice: n % 50 === 7 ? 'Set the keyframe interval to 2 s.' : null,
        video: { codec: 'H264', width: 1280, height: 720, profile_level_id: '42c01f',
            frame_rate: 30, bitrate_bps: 1e6 + n * 1e4, gop: { seconds: 2, frames: 60 } },
        audio: { codec: 'AAC', sample_rate: 48000, channels: 2, bitrate_bps: 128000, level_dbfs: null },
        publisher: { id: 0, address: `192.0.2.${n % 250}:5000`, encoder: n % 2 ? 'OBS' : 'Lavf59',
            jitter_ms: 1, frame_rate: 30, video_kbps: null, audio_kbps: null, other_tracks: [] },
        viewers: { connected: n % 17, rtmp: 0, transcoded: 0, limited: n % 17 > 14 ? 1 : 0,
            bitrate_bps: (n % 17) * 1e6 },
    });
    const snapshot = {
        server: { version: '1', uptime_seconds: 9, draining: false, rtmp_port: 1935, http_port: 8080,
            addresses: { watch: 'https://192.0.2.7:8443/', whep: 'https://192.0.2.7:8443/whep/',
                rtmp: 'rtmps://192.0.2.7:1936/' },
            sessions: 0, shard_sessions: [0], fan_out: { frames: 0, p50_ms: 0, p99_ms: 0.4, max_ms: 1 },
            process: { cpu_percent: 12, cores: 2, memory_bytes: 5e7, open_files: 400,
                max_open_files: 65536 },
            memory: { budget_bytes: 2 ** 31, pressure: 'publishers' },
            link: { interface: 'eth0', sent_bps: 4.2e8, capacity_bps: 1e9 },
            transcoders: { running: 0, failed: 0 },
            joins: { total: { asked: 9, connected: 3, failed: { unreachable: 3, handshake: 2, overload: 1 } },
                recent: { asked: 7, connected: 3, failed: { unreachable: 2, handshake: 1, overload: 1 } },
                recent_seconds: 300 } },
        streams: Array.from({ length: 300 }, (_, n) => streamOf(n + 1)),
        ended: [],
    };
    const viewerOf = (id) => ({
        id, state: 'connected', address: '192.0.2.9:5000', asked_from: '192.0.2.9', browser: null,
        page: null, transport: 'udp', uptime_seconds: 9, bitrate_bps: 1e6, round_trip_ms: 20,
        loss_percent: 1, limited: false, bandwidth_bps: null, dropped_frames: 0, skips: 0,
    });
    const viewersIn = (url) => {
        const order = new URL(url, location.href).searchParams.get('sort');
        const ids = order === 'age' ? ['old', 'poor'] : ['poor', 'old'];
        return { total: 2, viewers: ids.map(viewerOf) };
    };
    const feed = () => new ReadableStream({
        start(feed) {
            const text = `event: snapshot\\ndata: ${JSON.stringify(snapshot)}\\n\\n`;
            const send = () => {
                feed.enqueue(new TextEncoder().encode(text));
                window.sent = (window.sent ?? 0) + 1;
            };
            send();
            setInterval(send, 1000);
        },
    });
    window.fetch = async (url) => {
        if (url.endsWith('api/events')) return new Response(feed());
        if (url.includes('api/viewers')) return Response.json(viewersIn(url));
        if (url.includes('api/blocks')) return Response.json({ blocks: [] });
        return Response.json({ detail: 'not there' }, { status: 404 });
    };";

#[tokio::test]
async fn three_hundred_streams_are_sorted_searched_and_paged() {
    let gateway = Gateway::start();
    let browser = Browser::start().await;
    browser.run_in_all_pages(MANY_STREAMS).await;
    browser.load_axe().await;
    browser.open(&gateway.admin_url()).await;
    let rows = "[...document.querySelectorAll('#streams tbody tr[data-name]')].map((row) => row.dataset.name)";
    is(&browser, &format!("{rows}.length === 25")).await;
    let names: Vec<String> = browser.evaluate(rows).await;
    assert_eq!(names[..3], ["live/cam1", "live/cam2", "live/cam3"]);
    assert_eq!(names[24], "live/cam25", "numbers sort as numbers");
    look_at(&browser, "dashboard_300").await;
    is(
        &browser,
        "[...document.querySelectorAll('#tiles div')].some(({ textContent }) =>
            textContent === 'Failed joins, 5 min4')",
    )
    .await;
    shows(&browser, "420.0 Mbit/s of 1.00 Gbit/s, eth0").await;
    shows(&browser, "no new publishers").await;

    browser.click("#next").await;
    is(&browser, &format!("{rows}[0] === 'live/cam26'")).await;
    browser.click("#streams [data-key=received]").await;
    is(&browser, &format!("{rows}[0] === 'live/cam300'")).await;
    is(
        &browser,
        "document.querySelector('#streams [aria-sort=descending]').innerText.startsWith('In')",
    )
    .await;
    browser.click("#streams [data-key=received]").await;
    is(&browser, &format!("{rows}[0] === 'live/cam1'")).await;
    let search = |text: &str| {
        format!(
            "(document.querySelector('#search').value = '{text}',
              document.querySelector('#search').dispatchEvent(new Event('input')))"
        )
    };
    let _: bool = browser.evaluate(&search("cam29 obs")).await;
    is(&browser, &format!("{rows}.length === 6")).await;
    shows(&browser, "6 of 300 streams").await;
    let _: bool = browser.evaluate(&search("")).await;

    // The details stay open, and with them the focus, while the table is updated.
    browser
        .click("#streams tbody tr[data-name=\"live/cam7\"] button")
        .await;
    shows(&browser, "Set the keyframe interval to 2 s.").await;
    look_at(&browser, "dashboard_300_detail").await;
    // The viewers with the worst paths come first, until somebody chooses another order.
    let first = "document.querySelector('.viewer-table tbody td')?.textContent.split(' ')[0]";
    is(&browser, &format!("{first} === 'poor'")).await;
    let choose = "(document.querySelector('.viewer-order select').value = 'age',
        document.querySelector('.viewer-order select').dispatchEvent(new Event('change')))";
    let _: bool = browser.evaluate(choose).await;
    is(&browser, &format!("{first} === 'old'")).await;
    // The dashboard is on loopback, where nobody else reaches the gateway.
    let addresses: Vec<String> = browser
        .evaluate(
            "[...document.querySelectorAll('.addresses code')].map((code) => code.textContent)",
        )
        .await;
    assert_eq!(
        addresses,
        [
            "https://192.0.2.7:8443/live/cam7",
            "https://192.0.2.7:8443/whep/live/cam7",
            "rtmps://192.0.2.7:1936/live",
            "cam7"
        ]
    );
    let focused = "document.activeElement.closest('tr')?.dataset.name === 'live/cam7'";
    is(&browser, focused).await;
    browser
        .assert_accessible("details of a stream", 1000, 800)
        .await;
    browser.press("Enter").await;
    is(&browser, "document.querySelector('.stream-card') === null").await;

    // A name is text.
    let _: bool = browser.evaluate(&search("tag<img")).await;
    is(&browser, &format!("{rows}.length === 1")).await;
    browser.click("#streams tbody tr[data-name] button").await;
    let name = "live/tag<img src=x onerror=injected=1>";
    is(
        &browser,
        &format!("document.querySelector('.stream-card h3').textContent === '{name}'"),
    )
    .await;
    is(&browser, "document.querySelector('main img') === null").await;
    is(&browser, "typeof injected === 'undefined'").await;

    // The error of an action is shown until the next action, whatever the feed sends.
    browser.click(".end-publisher").await;
    browser.click("#ask [value=yes]").await;
    shows(&browser, "The action failed: not there").await;
    let sent: u32 = browser.evaluate("sent").await;
    is(&browser, &format!("sent > {}", sent + 1)).await;
    let text = browser.text("body").await;
    assert!(text.contains("The action failed: not there"), "{text}");
    is(
        &browser,
        "document.querySelector('#link').textContent === 'Connected'",
    )
    .await;
}

#[tokio::test]
async fn dashboard_on_loopback_shows_the_announced_address() {
    let gateway = Gateway::start_on("0.0.0.0:0", &["--advertise", "192.0.2.7"]);
    let (rtmp, http) = (gateway.rtmp.port(), gateway.http.port());
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &format!("rtmp://127.0.0.1:{rtmp}/live/test"));
    let browser = Browser::start().await;
    browser.open(&gateway.admin_url()).await;
    let shown = "[...document.querySelectorAll('.addresses code')].map((code) => code.textContent)";
    is(&browser, &format!("{shown}.length === 4")).await;
    let addresses: Vec<String> = browser.evaluate(shown).await;
    assert_eq!(
        addresses,
        [
            format!("http://192.0.2.7:{http}/live/test"),
            format!("http://192.0.2.7:{http}/whep/live/test"),
            format!("rtmp://192.0.2.7:{rtmp}/live"),
            "test".to_owned(),
        ]
    );
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
