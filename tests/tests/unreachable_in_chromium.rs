//! A viewer that cannot reach the media port is visible to the operator.

use distributary_tests::browser::Browser;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::{self, Gateway};
use distributary_tests::wait::eventually;

/// An address of no machine (RFC 5737).
const NOWHERE: &str = "203.0.113.7";

#[tokio::test]
async fn viewer_that_cannot_reach_the_media_port_is_reported_counted_and_shown() {
    let gateway = Gateway::start_with(&["--advertise", NOWHERE]);
    let clip = Clip::with_gop(FRAME_RATE);
    let publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let browser = Browser::start().await;
    browser.open(&gateway.page_url("live/test")).await;
    let failed = eventually("the failed join is listed", async || {
        let joins = gateway.ask("/api/joins");
        joins["last_failed"].get(0).cloned()
    })
    .await;
    assert_eq!(failed["reason"], "unreachable", "{failed}");
    let report = failed["report"].as_str().unwrap();
    let tried = format!("UDP {NOWHERE}:{}", gateway.webrtc.port());
    assert!(
        report.starts_with("ICE ") && report.contains(&tried),
        "{report}"
    );

    gateway.logged_until("the player reports that it cannot connect");
    gateway.logged_until("no packet of viewers arrives: open port");
    browser.open(&gateway.admin_url()).await;
    eventually("the dashboard shows the joins", async || {
        let text = browser.text("#tiles").await;
        text.contains(" asked, 0 connected").then_some(())
    })
    .await;
    publisher.stop();

    browser.click("#examine").await;
    eventually("the findings are shown", async || {
        let text = browser.text("#doctor").await;
        let words = format!(
            "{NOWHERE}:{} does not answer this machine",
            gateway.webrtc.port()
        );
        (text.contains(&words) && text.contains("Errors: ")).then_some(())
    })
    .await;
    browser.screenshot("dashboard_doctor").await;
}

#[test]
fn doctor_asks_the_running_gateway_and_examines_the_machine_without_one() {
    let gateway = Gateway::start();
    let url = gateway.admin_url();
    let run = gateway::run(&["doctor", "--url", &url]);
    assert!(run.status.success(), "{run:?}");
    let media = gateway.webrtc;
    for words in [
        format!("Asked the running gateway: {url}api/doctor"),
        format!("WebRTC {media} (UDP and TCP)"),
        format!("ok       reachability  {media} answers this machine over UDP and TCP"),
        "only loopback is announced".to_owned(),
        "ok       ffmpeg".to_owned(),
    ] {
        let text = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&words), "{words}: {}", run.stdout);
    }

    // The port of the gateway is taken, so another with its configuration could not start.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let text = format!(
        "rtmp = \"127.0.0.1:0\"\nhttp = \"{}\"\nwebrtc = \"127.0.0.1:0\"\nadmin = \"\"\n",
        gateway.http
    );
    std::fs::write(&file, text).unwrap();
    let run = gateway::run(&["doctor", "--config", file.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let port = gateway.http.port();
    assert!(
        run.stdout.contains("No running gateway was asked"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains(&format!("HTTP port {port} is in use")),
        "{run:?}"
    );
}
