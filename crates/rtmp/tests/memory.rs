//! The memory that hostile clients can make the process use, measured for the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use distributary_rtmp::amf::Value;
use distributary_rtmp::amf::amf0;
use distributary_rtmp::client;
use support::raw_client::{H264_HEADER, RawClient, frame};
use support::{TestServer, until};
use tokio::sync::Mutex;
use tokio::time::timeout;

const MIB: usize = 1 << 20;

/// Pause between two looks at a counter.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Serializes the measurements, because they concern the whole process.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// Returns the peak memory of the process since the last call of [`reset_peak`], in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// Resets the peak. Returns the current memory, in bytes.
fn reset_peak() -> usize {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

/// Returns a data message of this name and about 110 bytes: a list of objects, a list of references
/// to it, one of references to that, and references to the last. It would expand to 2000 values if
/// references cost nothing.
fn bomb(name: &str) -> Vec<u8> {
    let mut payload = BytesMut::new();
    amf0::encode(&name.into(), &mut payload);
    let object = Value::Object(vec![("a".to_owned(), Value::Null)]);
    amf0::encode(&Value::StrictArray(vec![object; 4]), &mut payload);
    let mut payload = payload.to_vec();
    // The list and its objects have the indices 0 to 4.
    for referred in [0, 5] {
        payload.extend([0x0A, 0, 0, 0, 6]);
        payload.extend([7, 0, referred].repeat(6));
    }
    payload.extend([7, 0, 6].repeat(5));
    payload
}

#[tokio::test]
async fn memory_is_bounded_for_an_aggregate_of_data_that_expands() {
    let _measuring = MEASURING.lock().await;
    let server = TestServer::start();
    let mut client = RawClient::ask(&server, "publish", "bomb").await;
    server.until_live("live/bomb").await;
    let part = bomb("x");
    let len = (part.len() as u32).to_be_bytes();
    let part = [&[18][..], &len[1..], &[0; 7], &part, &[0; 4]].concat();
    let aggregate = part.repeat((2 * MIB) / part.len());
    let before = reset_peak();
    for _ in 0..4 {
        client.send_payload(22, aggregate.clone()).await;
    }
    client.finish().await;
    let grown = peak() - before;
    assert!(grown < 64 * MIB, "{} MiB", grown / MIB);
}

#[tokio::test]
async fn memory_is_bounded_for_kept_metadata_that_expands() {
    let _measuring = MEASURING.lock().await;
    let server = TestServer::start();
    let before = reset_peak();
    let mut clients = Vec::new();
    for n in 0..200 {
        let mut client = RawClient::ask(&server, "publish", &format!("m{n}")).await;
        client.send_payload(18, bomb("onMetaData")).await;
        clients.push(client);
    }
    server.until_live("live/m199").await;
    // The last message is handled when its connection has ended.
    for client in clients {
        client.finish().await;
    }
    let grown = peak() - before;
    assert!(grown < 48 * MIB, "{} MiB", grown / MIB);
}

#[tokio::test]
async fn players_that_do_not_read_share_their_queued_frames() {
    let _measuring = MEASURING.lock().await;
    let server = TestServer::start();
    let mut publisher = client::publish(server.address, "live", "large")
        .await
        .unwrap();
    let header = Bytes::from_static(H264_HEADER);
    publisher.send_video(0, header).await.unwrap();
    for n in 0..28 {
        let frame = frame(n == 0, MIB, 0x88);
        publisher.send_video(40 * n, frame).await.unwrap();
    }
    let mut watcher = server.watch("live/large").await;
    drop(watcher.frames_until_video(28).await);
    let stream = std::sync::Arc::clone(watcher.subscription.stream());
    assert!(stream.stats().cached_bytes >= 28 * MIB);
    let before = reset_peak();
    let mut players = Vec::new();
    for _ in 0..40 {
        players.push(RawClient::ask(&server, "play", "large").await);
    }
    // The players and the watcher.
    until(stream.subscribers(), |count| *count == 41).await;
    for n in 28..32 {
        publisher
            .send_video(40 * n, frame(false, MIB, 0x88))
            .await
            .unwrap();
    }
    drop(watcher.frames_until_video(4).await);
    let grown = peak() - before;
    assert!(grown < 96 * MIB, "{} MiB", grown / MIB);
}

#[tokio::test]
async fn incomplete_message_counts_until_its_connection_ends() {
    let _measuring = MEASURING.lock().await;
    let server = TestServer::start();
    let mut client = RawClient::ask(&server, "publish", "half").await;
    server.until_live("live/half").await;
    client.begin_message(9, 8 * MIB as u32).await;
    let memory = server.hub.memory().clone();
    let until = async |bytes: usize| {
        let counts = async {
            while memory.ingest() != bytes {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        let counts = timeout(support::STEP_TIMEOUT, counts).await;
        assert!(counts.is_ok(), "{} bytes", memory.ingest());
    };
    until(8 * MIB).await;
    drop(client);
    until(0).await;
}
