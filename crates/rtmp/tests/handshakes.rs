//! Handshakes with digests and RTMPE, against an implementation that shares nothing with ours.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::process::Stdio;

use support::{Log, PATIENCE, TestServer};
use tokio::process::Command;
use tokio::time::timeout;

/// A client in Python that checks what the server proves, then connects.
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
    let output = timeout(PATIENCE, client)
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
async fn a_client_that_checks_digests_is_content_in_both_schemas() {
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
