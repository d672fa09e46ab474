//! Startup and exit of the gateway.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, UdpSocket};

use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::{self, Gateway};
use distributary_tests::page::WatchPage;

#[test]
fn startup_prints_addresses_and_commands() {
    let gateway = Gateway::start();
    for address in [gateway.rtmp, gateway.http, gateway.webrtc] {
        assert!(address.ip().is_loopback());
        assert_ne!(address.port(), 0, "the port that was chosen is printed");
    }
    let printed = gateway.printed_until("Dashboard");
    assert!(
        printed.contains(&gateway.rtmp_url("live/test")),
        "{printed}"
    );
    assert!(
        printed.contains(&gateway.page_url("live/test")),
        "{printed}"
    );
    assert!(
        printed.contains(&gateway.whep_url("live/test")),
        "{printed}"
    );
}

#[test]
fn port_in_use_is_reported_in_one_line() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = tcp.local_addr().unwrap();
    let udp = udp.local_addr().unwrap();
    for (flag, taken) in [
        ("--rtmp", tcp),
        ("--http", tcp),
        ("--admin", tcp),
        ("--webrtc", udp),
    ] {
        let mut arguments = vec!["--log".to_owned(), "warn".to_owned()];
        for other in ["--rtmp", "--http", "--admin", "--webrtc"] {
            arguments.push(other.to_owned());
            arguments.push(if other == flag {
                taken.to_string()
            } else {
                "127.0.0.1:0".to_owned()
            });
        }
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let run = gateway::run(&arguments);
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert!(run.stderr.contains(&taken.port().to_string()), "{run:?}");
        assert!(run.stderr.contains(flag), "{run:?}");
        assert_eq!(run.stdout, "", "{run:?}");
    }
}

#[tokio::test]
async fn sigterm_closes_sessions_and_exits() {
    let mut gateway = Gateway::start_configured("drain_timeout = \"0s\"");
    let clip = Clip::with_gop(FRAME_RATE);
    let mut publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let page = WatchPage::open().await;
    page.watch("viewer", &gateway.whep_url("live/test")).await;
    page.browser
        .wait_for("#viewer", "frames", |report| report.counters.len() > 30)
        .await;

    gateway.terminate();
    let status = gateway.wait();
    assert_eq!(status.code(), Some(0), "{status}");
    // The gateway closes the session, which is faster than the browser's timeout of 5 s.
    page.browser
        .wait_for("#viewer", "the gateway closed the connection", |r| {
            r.dtls_state == "closed"
        })
        .await;
    let (status, output) = publisher.wait();
    assert!(
        !status.success(),
        "a broken stream is an error to ffmpeg: {output}"
    );
}

#[test]
fn sigint_exits_without_an_error() {
    let mut gateway = Gateway::start();
    gateway.interrupt();
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn version_is_printed() {
    let own = format!("distributary {}", env!("CARGO_PKG_VERSION"));
    let short = gateway::run(&["-V"]);
    assert_eq!(short.status.code(), Some(0), "{short:?}");
    assert_eq!(short.stdout.trim(), own);
    let long = gateway::run(&["--version"]);
    assert_eq!(long.status.code(), Some(0), "{long:?}");
    let mut lines = long.stdout.lines();
    assert_eq!(lines.next(), Some(own.as_str()));
    for library in ["OpenSSL ", "AWS-LC ", "libopus "] {
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with(library), "{long:?}");
    }
    assert_eq!(lines.next(), None, "{long:?}");
}

/// Returns the flags that begin a line, or a cell of a table, of a text.
fn flags(text: &str) -> BTreeSet<&str> {
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches(['|', ' ', '`']));
    let long = lines.filter_map(|line| {
        let flag = line
            .split_once("--")
            .filter(|(short, _)| short.is_empty() || (short.len() == 4 && short.starts_with('-')));
        flag.map(|(_, flag)| flag)
    });
    let is_end = |c: char| !(c.is_ascii_lowercase() || c == '-');
    long.map(|flag| flag.split(is_end).next().unwrap_or_default())
        .filter(|flag| flag.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

#[test]
fn help_and_documentation_list_every_flag() {
    let run = gateway::run(&["--help"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let mut known = BTreeSet::from([
        "admin",
        "advertise",
        "config",
        "demo",
        "http",
        "log",
        "log-format",
        "qr",
        "rtmp",
        "webrtc",
    ]);
    let documented = flags(include_str!("../../docs/configuration.md"));
    assert_eq!(documented, known);
    // Every program has these.
    known.extend(["help", "version"]);
    assert_eq!(flags(&run.stdout), known, "{}", run.stdout);
}

#[test]
fn unknown_configuration_key_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    fs::write(&file, "http = \"127.0.0.1:0\"\nhtpp = \"127.0.0.1:0\"\n").unwrap();
    let run = gateway::run(&["--config", file.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines[0].contains("gateway.toml:2: "), "{run:?}");
    assert_eq!(lines[1..], [" 2 | htpp = \"127.0.0.1:0\"", "   | ^^^^"]);
    assert_eq!(run.stdout, "", "{run:?}");
}

#[test]
fn missing_configuration_file_is_refused_by_name() {
    let run = gateway::run(&["--config", "/no/such/file.toml"]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(run.stderr.contains("/no/such/file.toml"), "{run:?}");
}

#[test]
fn configuration_file_sets_the_listen_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let any = "127.0.0.1:0";
    fs::write(
        &file,
        format!("rtmp = \"{any}\"\nhttp = \"{any}\"\nwebrtc = \"{any}\"\nadmin = \"{any}\"\n"),
    )
    .unwrap();
    let gateway = Gateway::start_as(&["--config", file.to_str().unwrap()]);
    assert_eq!(gateway.request("GET", "/", &[], b"").status, 200);
}
