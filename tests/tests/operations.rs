//! Operations: keys, reload, checks, draining.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use distributary_bench::report::Report;
use distributary_bench::socket::ReceiveMode;
use distributary_bench::swarm::{self, Departures, SwarmConfig};
use distributary_tests::client::{self, Response};
use distributary_tests::ffmpeg::{Clip, Encoding, FRAME_RATE, Publisher};
use distributary_tests::gateway::{self, Gateway};
use distributary_tests::wait::eventually;
use distributary_webrtc::srtp::SrtpProfile;

const OFFER: &[u8] = include_bytes!("../../crates/webrtc/tests/fixtures/offers/chromium-offer.sdp");

/// Returns rules by which `live/*` is published with this key, and watched with `guest`.
fn rules(key: &str) -> String {
    format!(
        "drain_timeout = \"1h\"\n[auth]\npublish = \"keys\"\nplay = \"keys\"\n\
         [[auth.key]]\nmatch = \"live/*\"\npublish = [\"{key}\"]\nplay = [\"guest\"]\n"
    )
}

fn offer(gateway: &Gateway, query: &str) -> Response {
    let path = format!("/whep/live/test{query}");
    gateway.request("POST", &path, &[("Content-Type", "application/sdp")], OFFER)
}

#[tokio::test]
async fn publishers_and_viewers_need_keys_which_a_reload_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, rules("studio")).unwrap();
    let gateway = Gateway::start_with(&["--config", file.to_str().unwrap(), "--demo"]);
    // The demo needs no key.
    gateway.wait_live("live/demo").await;
    let clip = Clip::with_gop(FRAME_RATE);
    for wrong in ["", "?key=guest", "?key=studi"] {
        let url = format!("{}{wrong}", gateway.rtmp_url("live/test"));
        let (status, output) = Publisher::start(&clip, &url).wait();
        assert!(!status.success(), "{wrong}: {output}");
    }
    let url = format!("{}?key=studio", gateway.rtmp_url("live/test"));
    let mut publisher = Publisher::start(&clip, &url);
    gateway.wait_live("live/test").await;
    assert_eq!(offer(&gateway, "").status, 401);
    assert_eq!(offer(&gateway, "?token=studio").status, 401);
    assert_eq!(offer(&gateway, "?token=guest").status, 201);
    // Streams are no longer listed.
    assert_eq!(gateway.request("GET", "/api/live", &[], b"").status, 404);

    // An invalid file changes nothing.
    fs::write(&file, "htpp = 1").unwrap();
    gateway.reload();
    gateway.logged_until("the configuration stays as it was");
    assert_eq!(offer(&gateway, "?token=guest").status, 201);

    fs::write(&file, rules("next").replace("guest", "friend")).unwrap();
    gateway.reload();
    gateway.logged_until("the configuration is reloaded");
    assert_eq!(offer(&gateway, "?token=guest").status, 401);
    assert_eq!(offer(&gateway, "?token=friend").status, 201);
    assert!(publisher.is_running(), "who is in stays in");

    let answer = client::request(
        gateway.admin,
        "DELETE",
        "/api/publishers/live/test",
        &[],
        b"",
    );
    assert_eq!(answer.status, 204);
    let (status, _) = publisher.wait();
    assert!(!status.success());
    let (status, output) = Publisher::start(&clip, &url).wait();
    assert!(!status.success(), "the old key: {output}");
}

#[tokio::test]
async fn reload_applies_what_it_can_and_names_the_other_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, "").unwrap();
    let gateway = Gateway::start_with(&["--config", file.to_str().unwrap()]);
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let before = offer(&gateway, "");
    assert_eq!(before.status, 201);
    assert_eq!(before.header("vary"), None);

    let changed = "drain_timeout = \"1h\"\n[viewers]\nmax = 2\nshards = 3\n\
         [whep]\nallowed_origins = [\"https://www.example\"]\nlist_streams = false\n\
         [[ice_server]]\nurl = \"stun:stun.example\"\n";
    fs::write(&file, changed).unwrap();
    gateway.reload();
    gateway.logged_until("need a restart");
    let said = gateway.logged().join("\n");
    assert!(said.contains("drain_timeout, viewers.shards"), "{said}");

    let after = offer(&gateway, "");
    assert_eq!(after.status, 201);
    assert_eq!(after.header("vary"), Some("Origin"));
    let link = after.header("link").unwrap();
    assert!(link.contains("stun:stun.example"), "{link}");
    assert_eq!(
        offer(&gateway, "").status,
        503,
        "two are as many as there may be"
    );
    assert_eq!(gateway.request("GET", "/api/live", &[], b"").status, 404);
}

#[tokio::test]
async fn draining_gateway_refuses_viewers_until_the_drain_ends() {
    let mut gateway = Gateway::start_configured("drain_timeout = \"1h\"");
    let clip = Clip::small();
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let watching = watch(&gateway, 200);
    eventually("all are there", async || {
        let viewers = gateway.ask("/api/streams")["streams"][0]["viewers"]["connected"].clone();
        (viewers == 200).then_some(())
    })
    .await;
    gateway.terminate();
    eventually("the gateway drains", async || {
        let ready = gateway.request("GET", "/readyz", &[], b"");
        (ready.status == 503).then_some(())
    })
    .await;
    let refused = offer(&gateway, "");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    // Connected viewers are served.
    assert_eq!(gateway.ask("/api/drain")["draining"], true);
    assert_eq!(gateway.request("GET", "/healthz", &[], b"").status, 200);
    let (status, output) = Publisher::start(&clip, &gateway.rtmp_url("live/other")).wait();
    assert!(!status.success(), "nobody begins to publish: {output}");

    // The gateway ends after the last of them has left.
    let report = watching.join().unwrap();
    assert_eq!(report.joined, 200);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(report.media.packets > 0 && report.content.malformed == 0);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[tokio::test]
async fn second_sigterm_ends_a_draining_gateway_at_once() {
    let mut gateway = Gateway::start_configured("drain_timeout = \"1h\"");
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let watching = watch(&gateway, 1);
    eventually("a viewer is there", async || {
        let viewers = gateway.ask("/api/streams")["streams"][0]["viewers"]["connected"].clone();
        (viewers == 1).then_some(())
    })
    .await;
    gateway.terminate();
    gateway.logged_until("draining");
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    let report = watching.join().unwrap();
    assert_eq!(
        report.failures.len(),
        1,
        "the gateway has closed the session: {:?}",
        report.failures
    );
}

#[tokio::test]
async fn stream_with_b_frames_logs_one_warning_with_consequence_and_fix() {
    let gateway = Gateway::start_configured("[transcode]\ncommand = \"/nonexistent/ffmpeg\"\n");
    let clip = Clip::encoded(FRAME_RATE, Encoding::Pyramid);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.logged_until("the stream has B-frames");
    for _ in 0..3 {
        assert_eq!(offer(&gateway, "").status, 201);
    }
    let logged = gateway.logged();
    let warnings = logged
        .iter()
        .filter(|line| line.contains(" WARN ") && line.contains("live/test"));
    let warnings: Vec<_> = warnings.collect();
    assert_eq!(warnings.len(), 1, "{logged:#?}");
    for words in ["only keyframes", "Install ffmpeg", "bframes=0"] {
        assert!(
            warnings[0].contains(words),
            "{words:?} is missing in {warnings:?}"
        );
    }
}

#[tokio::test]
async fn panic_of_a_shard_ends_the_gateway_with_an_error_and_closes_sessions() {
    let mut gateway = Gateway::start_configured("[viewers]\nshards = 2\n");
    let clip = Clip::small();
    let mut publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let watching = watch(&gateway, 32);
    // The kernel distributes them by their ports.
    let others = eventually("both shards have viewers", async || {
        let shards = gateway.ask("/api/server")["shard_sessions"].clone();
        let viewers = [0, 1].map(|shard| shards[shard].as_u64().unwrap_or_default());
        (viewers[0] > 0 && viewers.iter().sum::<u64>() == 32).then_some(viewers[1])
    })
    .await;
    assert!(others > 0, "all viewers are on one shard");
    let http = gateway.http;
    let is_ready = || client::status(http, "/readyz") == Some(200);
    assert!(is_ready());

    gateway.fail_shard();
    eventually("the gateway is not ready", async || {
        (!is_ready()).then_some(())
    })
    .await;
    assert!(!is_ready(), "it does not become ready again");
    assert_eq!(gateway.wait().code(), Some(1));
    let logged = gateway.logged();
    let lines = |text: &str| logged.iter().filter(|line| line.contains(text)).count();
    let failure =
        "the thread \"egress 0\" of the WebRTC engine has ended: it panicked: panicked on command";
    // In the log, and as the last line of the process.
    assert_eq!(lines(failure), 2, "{logged:#?}");
    assert!(
        logged.last().unwrap().starts_with("distributary: "),
        "{logged:#?}"
    );
    // The viewers of the other shard and the publisher are disconnected cleanly.
    assert_eq!(lines("closed by the gateway") as u64, others, "{logged:#?}");
    assert_eq!(
        lines("publishing ended reason=the gateway shut down"),
        1,
        "{logged:#?}"
    );
    publisher.wait();
    let report = watching.join().unwrap();
    assert!(!report.failures.is_empty(), "the viewers notice");
}

/// Starts this many viewers of `live/test`, which leave after some seconds.
fn watch(gateway: &Gateway, viewers: usize) -> JoinHandle<Report> {
    let config = SwarmConfig {
        url: gateway.whep_url("live/test").parse().expect("a URL"),
        streams: 1,
        viewers,
        ramp: 100.0,
        duration: Duration::from_secs(5),
        churn: None,
        departures: Departures::default(),
        decrypt: 1,
        server_pid: None,
        receive: ReceiveMode::Gro,
        feedback: true,
        profiles: SrtpProfile::ALL.to_vec(),
    };
    std::thread::spawn(|| swarm::run(config).expect("a swarm"))
}

#[tokio::test]
async fn https_uses_the_current_certificate_files() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
    make_certificate("first.example", &certificate, &key);
    let gateway = Gateway::start_configured(&format!(
        "[https]\nlisten = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {key:?}\n\
         [admin_https]\nlisten = \"127.0.0.1:0\"\n"
    ));
    let said = fetch_over_tls(gateway.admin_https(), "/metrics");
    assert!(said.contains("\ndistributary_"), "{said}");
    let said = fetch_over_tls(gateway.https(), "/healthz");
    assert!(
        said.contains("first.example") && said.contains("200 OK"),
        "{said}"
    );

    make_certificate("second.example", &certificate, &key);
    eventually("the new certificate is shown", async || {
        let said = fetch_over_tls(gateway.https(), "/healthz");
        said.contains("second.example").then_some(())
    })
    .await;
}

/// Generates a certificate for this name, and its key.
fn make_certificate(name: &str, certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", &format!("/CN={name}"), "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{made:?}");
}

/// Returns the output of OpenSSL's client with the response of the server.
fn fetch_over_tls(server: SocketAddr, path: &str) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &server.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is there");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stdin = client.stdin.take().expect("a pipe was asked for");
    stdin.write_all(request.as_bytes()).expect("openssl reads");
    drop(stdin);
    let output = client.wait_with_output().expect("openssl ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn configuration_is_checked_without_starting_anything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        gateway::run(&["check", file.to_str().unwrap()])
    };
    let run = check(&rules("studio"));
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    for (text, words) in [
        (
            "\n[viewer]\nmax = 1",
            ":2: there is no key \"viewer\" here; \"viewers\" is meant?",
        ),
        (
            "[auth]\nplay = \"jwt\"",
            "[auth.jwt]: set one of secret, public_key and jwks",
        ),
        (
            "[https]\nlisten = \"[::]:1\"\nkey = \"x\"",
            "HTTPS: set both certificate and key, or neither",
        ),
        ("log = \"loud=louder\"", "is not a level"),
    ] {
        let run = check(text);
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        let (first, marked) = run.stderr.split_once('\n').unwrap_or((&run.stderr, ""));
        assert!(first.contains(words), "{run:?}");
        // The excerpt marks the wrong part of the line.
        assert_eq!(marked.contains("^^^"), words.starts_with(':'), "{run:?}");
    }
}

#[test]
fn log_is_available_as_json() {
    let gateway = Gateway::start_with(&["--log-format", "json"]);
    gateway.interrupt();
    gateway.logged_until("shutting down");
    let lines = gateway.logged();
    assert!(!lines.is_empty());
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(
            line["level"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn log_lines_name_their_publisher_or_viewer() {
    let gateway = Gateway::start_configured(
        "log_format = \"json\"\n[requests]\ntrusted_proxies = [\"127.0.0.1\"]\n",
    );
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let headers = [
        ("Content-Type", "application/sdp"),
        ("X-Forwarded-For", "203.0.113.7"),
    ];
    let opened = gateway.request("POST", "/whep/live/test", &headers, OFFER);
    assert_eq!(opened.status, 201);
    gateway.logged_until("\"answered\"");
    let lines: Vec<serde_json::Value> = gateway
        .logged()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |message: &str| {
        let line = lines.iter().find(|line| line["message"] == message);
        line.unwrap_or_else(|| panic!("{message:?} in {lines:#?}"))["span"].clone()
    };
    let viewer = said("answered");
    let session = opened.header("location").unwrap();
    let short = session.strip_prefix("/session/").unwrap().get(..8);
    assert_eq!(viewer["viewer"].as_str(), short, "{viewer}");
    assert_eq!(viewer["stream"], "live/test");
    assert_eq!(viewer["address"], "203.0.113.7");
    let publisher = said("publishing");
    assert_eq!(publisher["stream"], "live/test");
    assert!(
        publisher["peer"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
}
