//! What hostile clients make the process hold, measured at the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use bytes::{Bytes, BytesMut};
use distributary_rtmp::amf::Value;
use distributary_rtmp::amf::amf0;
use distributary_rtmp::client;
use support::TestServer;
use support::raw_client::{H264_HEADER, RawClient, frame};
use tokio::sync::Mutex;

const MIB: usize = 1 << 20;

/// One measurement at a time: they are of the whole process.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// The most memory that the process has had since the last call of [`reset_peak`], in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// Forgets the peak so far.
fn reset_peak() -> usize {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

/// A data message of this name and about 110 bytes: a list of objects, a list of references to it,
/// one of references to that, and references to the last. If references are free, it unfolds to 2
/// 000 values.
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
async fn an_aggregate_of_data_that_unfolds_does_not_grow_the_process() {
    let _measuring = MEASURING.lock().await;
    let server = TestServer::start();
    let mut client = RawClient::ask(&server, "publish", "bomb").await;
    server.until("live/bomb", true).await;
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
async fn metadata_that_is_kept_is_no_larger_than_what_was_sent_by_much() {
    let _measuring = MEASURING.lock().await;
    let server = TestServer::start();
    let before = reset_peak();
    let mut clients = Vec::new();
    for n in 0..200 {
        let mut client = RawClient::ask(&server, "publish", &format!("m{n}")).await;
        client.send_payload(18, bomb("onMetaData")).await;
        clients.push(client);
    }
    server.until("live/m199", true).await;
    // What was sent last has been handled when its connection has ended.
    for client in clients {
        client.finish().await;
    }
    let grown = peak() - before;
    assert!(grown < 48 * MIB, "{} MiB", grown / MIB);
}

#[tokio::test]
async fn players_that_do_not_read_share_what_waits_for_them() {
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
    let stream = distributary_names::StreamName::parse("live/large").unwrap();
    let stream = server.hub.stream(&stream).unwrap();
    server
        .eventually(|| stream.stats().video_frames == 28)
        .await;
    assert!(stream.stats().cached_bytes >= 28 * MIB);
    let before = reset_peak();
    let mut players = Vec::new();
    for _ in 0..40 {
        players.push(RawClient::ask(&server, "play", "large").await);
    }
    server
        .eventually(|| *stream.subscribers().borrow() == 40)
        .await;
    for n in 28..32 {
        publisher
            .send_video(40 * n, frame(false, MIB, 0x88))
            .await
            .unwrap();
    }
    server
        .eventually(|| stream.stats().video_frames == 32)
        .await;
    let grown = peak() - before;
    assert!(grown < 96 * MIB, "{} MiB", grown / MIB);
}
