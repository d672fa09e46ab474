//! Clients over a limit are disconnected, and others are not affected.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use distributary_hub::{Hub, HubConfig, ViewerLimits};
use distributary_names::StreamName;
use distributary_rtmp::client::{self, ClientError, ClientSessionError};
use distributary_rtmp::{PublishersConfig, RtmpConfig};
use support::{Log, STEP_TIMEOUT, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// `connect` to the application `live`, on chunk stream 3.
const CONNECT: &[u8] = b"\x03\x00\x00\x00\x00\x00\x20\x14\x00\x00\x00\x00\
    \x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\
    \x03\x00\x03app\x02\x00\x01l\x00\x00\x09";

/// A client that speaks raw bytes, its handshake done.
async fn raw_client(server: &TestServer) -> TcpStream {
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&[3]).await.unwrap();
    socket.write_all(&[0; 1536]).await.unwrap();
    let mut answer = vec![0; 1 + 2 * 1536];
    let read = timeout(STEP_TIMEOUT, socket.read_exact(&mut answer)).await;
    read.expect("the server answers the handshake").unwrap();
    socket.write_all(&answer[1..=1536]).await.unwrap();
    socket
}

/// Reads until the server closes, and fails when it does not.
async fn assert_closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    let closed = timeout(STEP_TIMEOUT, socket.read_to_end(&mut rest)).await;
    // A reset is as good an end as any.
    let _ = closed.expect("the server closes the connection");
}

/// Runs an attack beside a publisher, which must continue. The log must have the reason.
async fn withstand(reason: &str, attack: impl AsyncFnOnce(&TestServer)) {
    withstand_with(PublishersConfig::default(), reason, attack).await;
}

/// Does the same with other limits.
async fn withstand_with(
    publishers: PublishersConfig,
    reason: &str,
    attack: impl AsyncFnOnce(&TestServer),
) {
    let log = Log::capture();
    let server = TestServer::with(RtmpConfig {
        publishers,
        ..RtmpConfig::default()
    });
    let mut publisher = client::publish(server.address, "live", "untouched")
        .await
        .unwrap();
    attack(&server).await;
    publisher
        .send_video(0, Bytes::from_static(&[0x57]))
        .await
        .unwrap();
    publisher.close().await.unwrap();
    server.until_offline("live/untouched").await;
    server.stop().await;
    assert!(log.contains(reason), "{reason:?} is missing in:\n{log}");
}

#[tokio::test]
async fn message_longer_than_allowed_closes_the_connection() {
    withstand(
        "a message of 16777215 bytes; 65536 is the limit",
        async |server| {
            let mut socket = raw_client(server).await;
            // 16 MiB less one, announced before anything is published.
            let header = [3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 9, 1, 0, 0, 0];
            socket.write_all(&header).await.unwrap();
            assert_closed(socket).await;
        },
    )
    .await;
}

#[tokio::test]
async fn frame_longer_than_configured_ends_its_publisher() {
    let publishers = PublishersConfig {
        max_message_size: 100_000,
        ..PublishersConfig::default()
    };
    let reason = "a message of 100001 bytes; 100000 is the limit";
    withstand_with(publishers, reason, async |server| {
        let mut large = client::publish(server.address, "live", "large")
            .await
            .unwrap();
        for size in [100_000, 100_001] {
            server.until_live("live/large").await;
            let body = Bytes::from(vec![0x57; size]);
            // The server may close before it has read everything.
            let _ = large.send_video(0, body).await;
        }
        server.until_offline("live/large").await;
    })
    .await;
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let publishers = PublishersConfig {
        handshake_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(2),
        ..PublishersConfig::default()
    };
    let reason = "nothing published or played within 2s";
    withstand_with(publishers.clone(), reason, async |server| {
        assert_closed(raw_client(server).await).await;
    })
    .await;
    let reason = "no complete handshake within 2s";
    withstand_with(publishers, reason, async |server| {
        assert_closed(TcpStream::connect(server.address).await.unwrap()).await;
    })
    .await;
}

#[tokio::test]
async fn more_chunk_streams_than_allowed_close_the_connection() {
    withstand("more than 64 chunk streams", async |server| {
        let mut socket = raw_client(server).await;
        let mut bytes = Vec::new();
        for n in 0..1000u16 {
            let [low, high] = n.to_le_bytes();
            // An unfinished message of 2 bytes on each.
            bytes.extend([1, low, high, 0, 0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 7, 7]);
        }
        let _ = socket.write_all(&bytes).await;
        assert_closed(socket).await;
    })
    .await;
}

#[tokio::test]
async fn deeply_nested_commands_close_the_connection() {
    withstand("more values in a second", async |server| {
        let mut socket = raw_client(server).await;
        let bomb = [3, 0, 1, b'a'].repeat(10_000);
        let mut bytes = CONNECT.to_vec();
        // A chunk size of 64 KiB, then commands of 40 004 bytes.
        bytes.extend([2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 1, 0, 0]);
        for _ in 0..100 {
            bytes.extend([3, 0, 0, 0, 0, 0x9C, 0x44, 20, 0, 0, 0, 0]);
            bytes.extend([2, 0, 1, b'x']);
            bytes.extend(&bomb);
        }
        let _ = socket.write_all(&bytes).await;
        assert_closed(socket).await;
    })
    .await;
}

#[tokio::test]
async fn chunk_size_of_zero_closes_the_connection() {
    withstand("chunk size 0x0 is outside", async |server| {
        let mut socket = raw_client(server).await;
        let message = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.write_all(&message).await.unwrap();
        assert_closed(socket).await;
    })
    .await;
}

#[tokio::test]
async fn other_protocols_on_the_port_are_refused() {
    withstand("speaks TLS to a plain RTMP port", async |server| {
        for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 2, 0, 1]] {
            let mut socket = TcpStream::connect(server.address).await.unwrap();
            socket.write_all(greeting).await.unwrap();
            assert_closed(socket).await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_until_one_leaves() {
    let server = TestServer::with(RtmpConfig {
        publishers: PublishersConfig {
            max_connections: 1,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    });
    let first = raw_client(&server).await;
    assert_closed(TcpStream::connect(server.address).await.unwrap()).await;
    drop(first);
    let next = timeout(STEP_TIMEOUT, async {
        while client::publish(server.address, "live", "next")
            .await
            .is_err()
        {}
    });
    next.await.expect("the permit is free again");
}

#[tokio::test]
async fn publishers_over_the_limit_are_refused_with_a_description() {
    let server = TestServer::with(RtmpConfig {
        publishers: PublishersConfig {
            max: 1,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    });
    let first = client::publish(server.address, "live", "first")
        .await
        .unwrap();
    let refused = client::publish(server.address, "live", "second").await;
    assert!(
        matches!(&refused, Err(ClientError::Session(ClientSessionError::Refused { description, .. }))
            if description.contains("limit of 1 publishers is reached")),
        "{refused:?}"
    );
    first.close().await.unwrap();
    server.until_offline("live/first").await;
    client::publish(server.address, "live", "second")
        .await
        .unwrap();
}

#[tokio::test]
async fn players_over_their_limits_are_refused_with_a_description() {
    let server = TestServer::on(
        Hub::new(HubConfig {
            viewers: ViewerLimits {
                max: 2,
                max_per_stream: 1,
                ..ViewerLimits::default()
            },
            ..HubConfig::default()
        }),
        RtmpConfig::default(),
    );
    let mut publishers = Vec::new();
    for name in ["a", "b", "c"] {
        let publisher = client::publish(server.address, "live", name).await;
        publishers.push(publisher.unwrap());
    }
    let url = |name: &str| server.url(&format!("live/{name}")).parse().unwrap();
    let _first = client::play(&url("a")).await.unwrap();
    let refusal = async |name| client::play(&url(name)).await.unwrap_err().to_string();
    assert!(
        refusal("a")
            .await
            .contains("limit of 1 viewers of this stream")
    );
    // A viewer over another protocol counts as well.
    let name = StreamName::parse("live/b").unwrap();
    let _second = server.hub.viewers().admit(&name, None).unwrap();
    assert!(refusal("c").await.contains("limit of 2 viewers is reached"));
}
