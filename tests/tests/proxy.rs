//! The samples for nginx, with a real nginx before the gateway.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use distributary_tests::browser::Browser;
use distributary_tests::client;
use distributary_tests::ffmpeg::{Clip, FRAME_RATE, Publisher};
use distributary_tests::gateway::{Gateway, own_address};
use distributary_tests::page::Page;
use distributary_tests::process::Process;
use distributary_tests::wait::eventually;
use tempfile::TempDir;

const SAMPLE: &str = include_str!("../../config/nginx/distributary.conf");

/// Returns the page with the sample for a gateway under a path.
const NETWORK: &str = include_str!("../../docs/network.md");

/// Number of frames that proves playback.
const FRAMES: usize = 2 * FRAME_RATE as usize;

const OFFER: &[u8] = include_bytes!("../../crates/webrtc/tests/fixtures/offers/chromium-offer.sdp");

/// Attempts with other ports, if another program takes the chosen one.
const ATTEMPTS: u32 = 5;

/// A running nginx. It is killed when this is dropped.
struct Nginx {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with the sample configuration, without TLS, in front of `gateway`.
    async fn start(gateway: &Gateway, ip: IpAddr) -> Self {
        Self::start_with(ip, |free| {
            let listen = format!("listen {free};");
            let lines = SAMPLE
                .lines()
                .filter(|line| !line.contains("ssl_certificate"));
            let sample: String = lines.map(|line| format!("{line}\n")).collect();
            let sample = sample
                .replace("listen 443 ssl;", &listen)
                .replace("listen [::]:443 ssl;", "")
                .replace("127.0.0.1:8080;", &format!("{};", gateway.http));
            assert!(sample.contains(&listen), "{sample}");
            sample
        })
        .await
    }

    /// Starts it in front of `gateway`, served under `/video/` as in the documentation.
    async fn start_under_a_path(gateway: &Gateway, ip: IpAddr) -> Self {
        let (_, rest) = NETWORK.split_once("```nginx\n").unwrap();
        let (location, _) = rest.split_once("```").unwrap();
        let upstream = format!("proxy_pass http://{}/;", gateway.http);
        let location = location.replace("proxy_pass http://127.0.0.1:8080/;", &upstream);
        assert!(location.contains(&upstream), "{location}");
        Self::start_with(ip, |free| {
            format!("server {{\nlisten {free};\n{location}}}\n")
        })
        .await
    }

    /// Starts it with a configuration for its address.
    async fn start_with(ip: IpAddr, sample: impl Fn(SocketAddr) -> String) -> Self {
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
            let sample = sample(free);
            let folder = tempfile::tempdir().unwrap();
            let mut command = nginx(folder.path(), &sample);
            command.args(["-g", "daemon off; master_process off;"]);
            let mut process = Process::start("nginx", command);
            let answers = async || {
                let is_there = std::net::TcpStream::connect(free).is_ok();
                (is_there || !process.is_running()).then_some(is_there)
            };
            if eventually("nginx has started", answers).await {
                return Self {
                    address: free,
                    _process: process,
                    _folder: folder,
                };
            }
        }
        panic!("nginx did not start in {ATTEMPTS} attempts");
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> client::Response {
        client::request(self.address, method, path, headers, body)
    }
}

/// Returns nginx with `sample` in its http block, and all its files in `folder`.
fn nginx(folder: &Path, sample: &str) -> Command {
    let folder_name = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|part| format!("{part}_temp_path {folder_name}/{part};\n"))
        .concat();
    let configuration = format!(
        "pid {folder_name}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{sample}}}\n"
    );
    fs::write(folder.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).args(["-c", "nginx.conf"]);
    command
}

#[tokio::test]
async fn page_and_sessions_work_through_nginx_with_the_viewers_address() {
    // Limits apply to viewers from other machines only, and count their own address, not the
    // proxy's.
    let gateway = Gateway::start_configured(
        "[requests]\ntrusted_proxies = [\"127.0.0.1\"]\nmax_posts_per_minute = 1\npost_burst = 1\n",
    );
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let nginx = Nginx::start(&gateway, own_address()).await;

    let page = nginx.request("GET", "/live/test", &[], b"");
    assert_eq!(page.status, 200);
    assert!(
        page.text().starts_with("<!doctype html>"),
        "{}",
        page.text()
    );
    assert_eq!(
        nginx.request("GET", "/assets/player.js", &[], b"").status,
        200
    );

    let sdp = ("Content-Type", "application/sdp");
    let answer = nginx.request("POST", "/whep/live/test", &[sdp], OFFER);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let session = answer.header("location").expect("a session").to_owned();
    assert!(session.starts_with('/'), "{session} leads past the proxy");
    assert_eq!(nginx.request("DELETE", &session, &[], b"").status, 200);

    let again = nginx.request("POST", "/whep/live/test", &[sdp], OFFER);
    assert_eq!(again.status, 429, "{}", again.text());
    let lie = ("X-Forwarded-For", "127.0.0.1");
    let again = nginx.request("POST", "/whep/live/test", &[sdp, lie], OFFER);
    assert_eq!(again.status, 429, "{}", again.text());
}

#[tokio::test]
async fn pages_and_the_mediamtx_reader_play_under_a_path_prefix() {
    let gateway = Gateway::start_configured(
        "[requests]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [auth]\nplay = \"keys\"\n[[auth.key]]\nmatch = \"live/*\"\nplay = [\"guest\"]\n\
         [[ice_server]]\nurl = \"turn:127.0.0.1:9?transport=udp\"\nsecret = \"north\"\n",
    );
    let clip = Clip::with_gop(FRAME_RATE);
    let _publisher = Publisher::start(&clip, &gateway.rtmp_url("live/test"));
    gateway.wait_live("live/test").await;
    let nginx = Nginx::start_under_a_path(&gateway, own_address()).await;
    let browser = Browser::start().await;

    let page = format!("http://{}/video/live/test?token=guest", nginx.address);
    browser.open(&page).await;
    let plays = async |selector| {
        let report = browser.wait_for(selector, "frames", |report| report.counters.len() > FRAMES);
        report.await.assert_plays(&clip);
    };
    plays("video").await;
    browser
        .open(&format!("http://{}/video/", nginx.address))
        .await;
    let look = async || {
        let text = browser.text("body").await;
        text.contains("not listed here").then_some(())
    };
    eventually("the front page has asked for the list", look).await;
    let all_have_left = async || {
        let viewers = gateway.ask("/api/viewers");
        viewers["viewers"].as_array()?.is_empty().then_some(())
    };
    eventually("the page has ended its session", all_have_left).await;

    // The MediaMTX reader is on a page of another origin, sends its key as a password, requests
    // TURN servers first, sends its candidates to the session, and ends it.
    browser.open(&Page::serve_public_players().url()).await;
    let url = format!("http://{}/video/live/test/whep", nginx.address);
    let script = format!("mediaMtx('reader', {{ url: '{url}', user: 'me', pass: 'guest' }})");
    let _: bool = browser.evaluate(&script).await;
    plays("#reader").await;
    let errors: Vec<String> = browser.evaluate("players.reader.errors").await;
    assert!(errors.is_empty(), "{errors:?}");
    let _: bool = browser.evaluate("stop('reader')").await;
    eventually("the reader has ended its session", all_have_left).await;
}

#[test]
fn nginx_accepts_the_sample_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (
        folder.path().join("key.pem"),
        folder.path().join("cert.pem"),
    );
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-subj", "/CN=live.example.com", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap()
        .status;
    assert!(status.success());
    let with_file = |name: &str, file: &Path| {
        let path = format!("/etc/letsencrypt/live/live.example.com/{name}.pem");
        assert!(SAMPLE.contains(&path), "{path}");
        (path, file.display().to_string())
    };
    let mut sample = SAMPLE.to_owned();
    for (path, file) in [
        with_file("fullchain", &certificate),
        with_file("privkey", &key),
    ] {
        sample = sample.replace(&path, &file);
    }
    let mut command = nginx(folder.path(), &sample);
    let output = command.arg("-t").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
