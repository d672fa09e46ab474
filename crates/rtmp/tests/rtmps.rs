//! RTMPS: publishers over TLS.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::path::Path;
use std::time::{Duration, SystemTime};

use distributary_rtmp::{RtmpConfig, TlsConfig, TlsIdentity};
use support::{Ffmpeg, Log, STEP_TIMEOUT, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

fn server(identity: TlsIdentity) -> TestServer {
    TestServer::with(RtmpConfig {
        tls: Some(TlsConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            identity,
        }),
        ..RtmpConfig::default()
    })
}

#[tokio::test]
async fn ffmpeg_publishes_over_tls() {
    let server = server(TlsIdentity::default());
    let address = server.tls_address.unwrap();
    let ffmpeg = Ffmpeg::publish(&format!("rtmps://{address}/live/test"), "1");
    let mut watcher = server.watch("live/test").await;
    watcher.frames_until_offline().await;
    let (status, said) = ffmpeg.wait().await;
    assert!(status.success(), "ffmpeg: {said}");
    assert_eq!(watcher.subscription.stream().stats().video_frames, 30);
}

#[tokio::test]
async fn plain_rtmp_on_the_tls_port_is_told_in_the_log() {
    let log = Log::capture();
    let server = server(TlsIdentity::default());
    let mut socket = TcpStream::connect(server.tls_address.unwrap())
        .await
        .unwrap();
    socket.write_all(&[3; 1537]).await.unwrap();
    let mut answer = Vec::new();
    let closed = timeout(STEP_TIMEOUT, socket.read_to_end(&mut answer)).await;
    let _ = closed.expect("the server closes the connection");
    assert!(log.contains("speaks plain RTMP to the RTMPS port"), "{log}");
}

/// Writes a certificate of this name and its key, and makes sure that the files look changed.
fn write_identity(directory: &Path, name: &str, age: Duration) -> TlsIdentity {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let files = [
        (directory.join("certificate.pem"), made.cert.pem()),
        (directory.join("key.pem"), made.signing_key.serialize_pem()),
    ];
    for (path, pem) in &files {
        std::fs::write(path, pem).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "a file's time is the wall clock's"
        )]
        file.set_modified(SystemTime::now() - age).unwrap();
    }
    let [(certificate, _), (key, _)] = files;
    TlsIdentity::files(certificate, key)
}

/// The certificate that a client is shown.
async fn shown_certificate(server: &TestServer) -> String {
    let address = server.tls_address.unwrap().to_string();
    let client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-showcerts"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(STEP_TIMEOUT, client)
        .await
        .expect("openssl ends in time")
        .unwrap_or_else(|error| {
            panic!("this test has openssl for a client (apt-get install openssl): {error}")
        });
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn changed_certificate_is_used_without_restart() {
    let log = Log::capture();
    let directory = tempfile::tempdir().unwrap();
    let identity = write_identity(directory.path(), "first.test", Duration::from_secs(60));
    let server = server(identity);
    let first = shown_certificate(&server).await;
    assert!(first.contains("BEGIN CERTIFICATE"), "{first}");
    write_identity(directory.path(), "second.test", Duration::from_secs(30));
    let certificate = |text: &str| text.split("-----").nth(2).map(str::to_owned);
    pass_a_minute().await;
    let second = shown_certificate(&server).await;
    assert!(second.contains("BEGIN CERTIFICATE"), "{second}");
    assert_ne!(certificate(&second), certificate(&first));
    // One that is broken leaves the old one in use.
    std::fs::write(directory.path().join("key.pem"), "no key").unwrap();
    pass_a_minute().await;
    let third = shown_certificate(&server).await;
    assert_eq!(certificate(&third), certificate(&second));
    assert!(
        log.contains("the new RTMPS certificate cannot be used"),
        "{log}"
    );
}

/// Lets the server's clock go on by so much that it looks at the files with the next client.
async fn pass_a_minute() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn missing_certificate_is_named_in_the_error() {
    let config = RtmpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some(TlsConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            identity: TlsIdentity::files(
                "/nowhere/certificate.pem".into(),
                "/nowhere/key.pem".into(),
            ),
        }),
        ..RtmpConfig::default()
    };
    let hub = distributary_hub::Hub::new(distributary_hub::HubConfig::default());
    let error = distributary_rtmp::RtmpServer::bind(config, hub).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/certificate.pem"),
        "{error}"
    );
}
