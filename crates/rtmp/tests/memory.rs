//! What hostile clients make the process hold, measured at the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use bytes::{Bytes, BytesMut};
use distributary_rtmp::amf::Value;
use distributary_rtmp::amf0;
use distributary_rtmp::chunk::{ChunkWriter, Output, RawMessage};
use distributary_rtmp::client;
use distributary_rtmp::message::{Command, Message};
use support::{PATIENCE, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

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

/// A client that sends what it is told to and reads nothing after the handshake.
struct RawClient {
    socket: TcpStream,
    writer: ChunkWriter,
}

impl RawClient {
    /// A client that asks for `live/<name>` by this command.
    async fn ask(server: &TestServer, command: &str, name: &str) -> Self {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let mut hello = [0; 1537];
        hello[0] = 3;
        socket.write_all(&hello).await.unwrap();
        let mut answer = vec![0; 1 + 2 * 1536];
        socket.read_exact(&mut answer).await.unwrap();
        socket.write_all(&answer[1..=1536]).await.unwrap();
        let mut client = Self {
            socket,
            writer: ChunkWriter::new(),
        };
        client.send(0, &Message::SetChunkSize(65_536)).await;
        client.writer.set_chunk_size(65_536);
        let app = Value::Object(vec![("app".to_owned(), "live".into())]);
        let connect = Command::new("connect", 1.0, [app]);
        client.send(0, &Message::Command(connect)).await;
        let arguments = [Value::Null, name.into()];
        let ask = Command::new(command, 2.0, arguments);
        client.send(1, &Message::Command(ask)).await;
        client
    }

    async fn send(&mut self, stream_id: u32, message: &Message) {
        let raw = message.encode(0, stream_id).unwrap();
        self.send_raw(&raw).await;
    }

    async fn send_raw(&mut self, raw: &RawMessage) {
        let mut output = Output::default();
        self.writer.write(3, raw, &mut output);
        while let Some(bytes) = output.pop() {
            // The server may close.
            let _ = self.socket.write_all(&bytes).await;
        }
    }

    async fn send_payload(&mut self, type_id: u8, payload: Vec<u8>) {
        let raw = RawMessage {
            timestamp: 0,
            type_id,
            stream_id: 1,
            payload: payload.into(),
        };
        self.send_raw(&raw).await;
    }

    /// Says that there is no more, and waits until the server has handled everything.
    async fn finish(mut self) {
        let _ = self.socket.shutdown().await;
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, self.socket.read_to_end(&mut rest)).await;
        let _ = closed.expect("the server closes the connection");
    }
}

/// A data message of this name and about 110 bytes: a list of objects, a list of references to it, one of
/// references to that, and references to the last. If references are free, it unfolds to 2 000 values.
fn bomb(name: &str) -> Vec<u8> {
    let mut payload = BytesMut::new();
    amf0::encode(&name.into(), &mut payload);
    let object = Value::Object(vec![("a".to_owned(), Value::Null)]);
    amf0::encode(&Value::StrictArray(vec![object; 4]), &mut payload);
    let mut payload = payload.to_vec();
    // The list and its objects have the places 0 to 4.
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

/// H264 with lengths of four bytes.
const H264_HEADER: &[u8] = &[
    0x17, 0, 0, 0, 0, 0x01, 0x42, 0xC0, 0x1E, 0xFF, 0xE1, 0x00, 0x19, 0x67, 0x42, 0xC0, 0x1E, 0xD9,
    0x00, 0xA0, 0x2F, 0xF9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3C,
    0x0F, 0x16, 0x2E, 0x48, 0x01, 0x00, 0x05, 0x68, 0xCB, 0x83, 0xCB, 0x20,
];

/// A frame with one NAL unit of this length.
fn frame(keyframe: bool, len: usize) -> Bytes {
    let (kind, nal) = if keyframe { (0x17, 0x65) } else { (0x27, 0x41) };
    let mut body = vec![kind, 1, 0, 0, 0];
    body.extend((len as u32).to_be_bytes());
    body.push(nal);
    body.resize(body.len() + len - 1, 0x88);
    body.into()
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
        let frame = frame(n == 0, MIB);
        publisher.send_video(40 * n, frame).await.unwrap();
    }
    let stream = distributary_hub::StreamName::parse("live/large").unwrap();
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
            .send_video(40 * n, frame(false, MIB))
            .await
            .unwrap();
    }
    server
        .eventually(|| stream.stats().video_frames == 32)
        .await;
    let grown = peak() - before;
    assert!(grown < 96 * MIB, "{} MiB", grown / MIB);
}
