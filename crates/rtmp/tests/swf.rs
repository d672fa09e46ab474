//! SWF verification, with librtmp and the gateway's own client on the other side.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use distributary_names::StreamName;
use distributary_rtmp::client::{self, StreamUrl};
use distributary_rtmp::{FlashProgram, PublishersConfig, PullRule, RtmpConfig, Swf, SwfSource};
use flate2::Compression;
use flate2::read::ZlibEncoder;
use std::io::Read;
use support::{Log, TestServer, rtmpdump};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A program of `frames` frames, compressed as Flash compresses it.
fn program(frames: usize) -> Vec<u8> {
    let body = b"a Flash program ".repeat(frames);
    let mut file = b"CWS\x0a".to_vec();
    file.extend((8 + body.len() as u32).to_le_bytes());
    let mut encoder = ZlibEncoder::new(&body[..], Compression::default());
    encoder.read_to_end(&mut file).unwrap();
    file
}

/// A file with these bytes.
fn player(file: &[u8]) -> NamedTempFile {
    let player = NamedTempFile::new().unwrap();
    std::fs::write(player.path(), file).unwrap();
    player
}

/// Returns the program of a file with these bytes.
fn swf(file: &[u8]) -> Swf {
    Swf::read(file).unwrap()
}

/// A server that asks for `program(1000)`.
fn asking() -> TestServer {
    let player = player(&program(1000));
    TestServer::with(RtmpConfig {
        publishers: PublishersConfig {
            swf: SwfSource::File(player.path().to_owned()),
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    })
}

/// A web server with one file, as a URL.
async fn web_server(file: Vec<u8>) -> String {
    counting_web_server(file).await.0
}

/// The same, and how often it was asked.
async fn counting_web_server(file: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/player.swf", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\
                 Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n\
                 Content-Type: application/x-shockwave-flash\r\n\r\n",
                file.len()
            );
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(&file).await;
        }
    });
    (url, asked)
}

/// Lets librtmp play a stream that is not live, with these options.
async fn librtmp_plays(server: &TestServer, options: &[&str]) {
    let url = server.url("live/test");
    let arguments = [&["-v", "-r", &url, "-o", "/dev/null"], options].concat();
    rtmpdump(&arguments).await;
}

/// librtmp makes the hash of the file itself.
#[tokio::test]
async fn librtmp_with_the_right_program_passes_verification() {
    let log = Log::capture();
    let server = asking();
    let url = web_server(program(1000)).await;
    librtmp_plays(&server, &["--swfVfy", &url]).await;
    assert!(log.contains("live/test is not live"), "{log}");
    librtmp_plays(&server, &[]).await;
    assert!(log.contains("which the client did not answer"), "{log}");
    assert!(!log.contains("another SWF file"), "{log}");
}

#[tokio::test]
async fn librtmp_with_another_program_is_refused() {
    let log = Log::capture();
    let server = asking();
    let url = web_server(program(1001)).await;
    librtmp_plays(&server, &["--swfVfy", &url]).await;
    assert!(log.contains("another SWF file"), "{log}");
    assert!(!log.contains("is not live"), "{log}");
}

#[tokio::test]
async fn publisher_without_the_program_is_refused_in_words() {
    let server = asking();
    let url = || StreamUrl::new(&server.address.to_string(), "live", "test").unwrap();
    let flash = |swf| FlashProgram {
        url: String::new(),
        swf,
    };
    for (url, reason) in [
        (url(), "did not answer"),
        (url().as_flash(flash(None)), "did not answer"),
        (
            url().as_flash(flash(Some(swf(&program(1))))),
            "another SWF file",
        ),
    ] {
        let refusal = client::publish_to(&url).await.unwrap_err().to_string();
        assert!(refusal.contains("SWF verification: "), "{refusal}");
        assert!(refusal.contains(reason), "{refusal}");
    }
    let right = url().as_flash(flash(Some(swf(&program(1000)))));
    let mut publisher = client::publish_to(&right).await.unwrap();
    let audio = Bytes::from_static(&[0xAF, 0, 0x11, 0x90]);
    publisher.send_audio(0, audio).await.unwrap();
    server.until_live("live/test").await;
}

#[tokio::test]
async fn pull_proves_the_program_when_its_origin_asks() {
    let origin = asking();
    let from = format!("rtmp://{}/live", origin.address);
    for (file, reason) in [
        (Some(program(1000)), "live/test is not live"),
        (Some(program(1)), "another SWF file"),
        // Nothing is at the URL.
        (None, "did not answer"),
    ] {
        let mut rule = PullRule::new("live/*".parse().unwrap(), &from, Duration::ZERO).unwrap();
        rule.swf_url = "http://127.0.0.1:1/player.swf".to_owned();
        let player = file.as_deref().map(player);
        if let Some(player) = &player {
            rule.swf = SwfSource::File(player.path().to_owned());
        }
        let edge = TestServer::with(RtmpConfig {
            pull: vec![rule],
            ..RtmpConfig::default()
        });
        let name = StreamName::parse("live/test").unwrap();
        let refusal = edge.hub.ensure_live(&name).await.unwrap_err().to_string();
        assert!(refusal.contains(reason), "{refusal}");
    }
}

/// A gateway that pulls `live/*` from this origin as the Flash program at a URL.
fn edge(origin: &TestServer, url: &str) -> TestServer {
    let from = format!("rtmp://{}/live", origin.address);
    let mut rule = PullRule::new("live/*".parse().unwrap(), &from, Duration::ZERO).unwrap();
    rule.swf_url = url.to_owned();
    TestServer::with(RtmpConfig {
        pull: vec![rule],
        ..RtmpConfig::default()
    })
}

#[tokio::test]
async fn pull_downloads_the_program_once_when_its_origin_asks() {
    let origin = asking();
    let (url, asked) = counting_web_server(program(1000)).await;
    let edge = edge(&origin, &url);
    for name in ["live/one", "live/two"] {
        let name = StreamName::parse(name).unwrap();
        let refusal = edge.hub.ensure_live(&name).await.unwrap_err().to_string();
        assert!(refusal.contains("is not live"), "{refusal}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn pull_downloads_nothing_if_its_origin_does_not_ask() {
    let origin = TestServer::start();
    let (url, asked) = counting_web_server(program(1000)).await;
    let edge = edge(&origin, &url);
    let name = StreamName::parse("live/test").unwrap();
    assert!(edge.hub.ensure_live(&name).await.is_err());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn program_that_cannot_be_downloaded_is_named_in_the_log() {
    for (file, reason) in [
        (b"<html>404 Not Found</html>".to_vec(), "not an SWF file"),
        (vec![0; 33 << 20], "longer than 33554432 bytes"),
    ] {
        let log = Log::capture();
        let origin = asking();
        let edge = edge(&origin, &web_server(file).await);
        let name = StreamName::parse("live/test").unwrap();
        let refusal = edge.hub.ensure_live(&name).await.unwrap_err().to_string();
        assert!(refusal.contains("did not answer"), "{refusal}");
        assert!(log.contains(reason), "{log}");
    }
}
