//! Handshakes with digests and RTMPE, against independent implementations.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::process::Stdio;

use distributary_rtmp::session::ConnectRequest;
use distributary_rtmp::{ServerSession, SessionConfig, SessionEvent};
use support::{Log, STEP_TIMEOUT, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

/// Runs a client in Python that checks the digests of the server, then connects.
async fn assert_connects(arguments: &[&str]) {
    let log = Log::capture();
    let server = TestServer::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/handshake.py");
    let port = server.address.port().to_string();
    let client = Command::new("python3")
        .args([script, "client", "127.0.0.1", &port])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(STEP_TIMEOUT, client)
        .await
        .expect("the client ends in time")
        .unwrap_or_else(|error| {
            panic!("this test has a client in Python (apt-get install python3): {error}")
        });
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let encrypted = arguments.contains(&"encrypted");
    assert!(log.contains(&format!("rtmpe={encrypted}")), "{log}");
    server.stop().await;
}

#[tokio::test]
async fn client_that_checks_digests_connects_in_both_schemas() {
    assert_connects(&["digest-first"]).await;
    assert_connects(&["key-first"]).await;
}

#[tokio::test]
async fn rtmpe_works_in_both_schemas() {
    // Where digest and keys lie is random, so try more than once.
    for _ in 0..5 {
        assert_connects(&["digest-first", "encrypted"]).await;
        assert_connects(&["key-first", "encrypted"]).await;
    }
}

/// librtmp connects over RTMPE, and speaks the type of it that the first byte of the server names.
/// Its own first byte, which no digest covers, is changed on the way: it is always that of type 6.
async fn librtmp_connects(rtmpe_type: u8) -> ConnectRequest {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtmpe://{}/live/test", listener.local_addr().unwrap());
    let _client = Command::new("rtmpdump")
        .args(["-q", "-v", "-r", &url, "-o", "/dev/null"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("rtmpdump (apt-get install rtmpdump): {error}"));
    let (mut socket, _) = listener.accept().await.unwrap();
    let now = || Instant::now().into_std();
    let mut session = ServerSession::new(SessionConfig::default(), rand::random(), now());
    let (mut bytes, mut is_first) = ([0; 4096], true);
    loop {
        let len = socket.read(&mut bytes).await.unwrap();
        assert_ne!(len, 0, "librtmp does not believe type {rtmpe_type}");
        if std::mem::take(&mut is_first) {
            assert_eq!(bytes[0], 6);
            bytes[0] = rtmpe_type;
        }
        let event = session.poll_event(&mut &bytes[..len], now()).unwrap();
        if let Some(SessionEvent::Connected(request)) = event {
            return request;
        }
        while let Some(bytes) = session.poll_output() {
            socket.write_all(&bytes).await.unwrap();
        }
    }
}

/// librtmp sends `connect` only when the signature in S2 is the right one. Its own is in C2.
#[tokio::test]
async fn librtmp_and_the_server_verify_each_others_signatures_in_every_type_of_rtmpe() {
    for rtmpe_type in [6, 8, 9] {
        // Each signature takes four keys of fifteen at random.
        for _ in 0..12 {
            let connected = timeout(STEP_TIMEOUT, librtmp_connects(rtmpe_type)).await;
            let handshake = connected.expect("it connects in time").handshake;
            assert!(handshake.encrypted && handshake.signed, "type {rtmpe_type}");
        }
    }
}
