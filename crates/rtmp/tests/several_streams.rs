//! Several streams over one connection.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use bytes::Bytes;
use distributary_media::Frame;
use distributary_rtmp::client;
use distributary_rtmp::message::Message;
use distributary_rtmp::{PublishersConfig, RtmpConfig};
use support::raw_client::{H264_HEADER, RawClient, frame};
use support::{Log, TestServer, Watcher};

/// Returns the last byte of each video frame until the stream ends.
async fn marks(watcher: &mut Watcher) -> Vec<u8> {
    let frames = watcher.frames_until_offline().await;
    let video = frames.iter().filter_map(|frame| match &**frame {
        Frame::Video(video) => video.units.last(),
        Frame::Audio(_) => None,
    });
    video.map(|unit| *unit.last().unwrap()).collect()
}

#[tokio::test]
async fn streams_of_one_connection_get_their_own_frames_and_a_refused_one_none() {
    let log = Log::capture();
    let server = TestServer::with(RtmpConfig {
        publishers: PublishersConfig {
            max: 3,
            publish_timeout: None,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    });
    let mut other = client::publish(server.address, "live", "taken")
        .await
        .unwrap();
    let mut taken = server.watch("live/taken").await;
    let mut client = RawClient::connect(&server).await;
    let mut watchers = Vec::new();
    for (stream_id, name) in [(1, "one"), (2, "two")] {
        client.ask_on(stream_id, "publish", name).await;
        watchers.push(server.watch(&format!("live/{name}")).await);
    }
    // The limit is reached.
    client.ask_on(3, "publish", "taken").await;
    log.until("publisher refused", 1).await;
    let header = Bytes::from_static(H264_HEADER);
    other.send_video(0, header.clone()).await.unwrap();
    other.send_video(0, frame(true, 100, 9)).await.unwrap();
    for stream_id in [1, 2, 3] {
        client
            .send(stream_id, &Message::Video(header.clone()))
            .await;
    }
    for n in 0..30 {
        for stream_id in [3, 1, 2] {
            let frame = frame(n == 0, 3000, stream_id as u8);
            client.send(stream_id, &Message::Video(frame)).await;
        }
    }
    client.finish().await;
    assert_eq!(marks(&mut watchers[0]).await, [1; 30]);
    assert_eq!(marks(&mut watchers[1]).await, [2; 30]);
    other.close().await.unwrap();
    let marks = marks(&mut taken).await;
    assert_eq!(marks, [9]);
    // Each line of the log names its stream.
    let log = log.to_string();
    let ended = log.lines().filter(|line| line.contains("publishing ended"));
    let named = |line: &&str| line.contains("live/one") || line.contains("live/two");
    assert_eq!(ended.filter(named).count(), 2, "{log}");
}
