//! The publishing client and the server, over a real socket.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use distributary_media::Frame;
use distributary_media::flv::{FlvReader, TagKind};
use distributary_names::StreamName;
use distributary_rtmp::client::{self, ClientError, ClientSessionError};
use distributary_rtmp::{OnDuplicate, PublishersConfig, RtmpConfig};
use support::{Ffmpeg, Log, TestServer};
use tokio::time::Instant;

/// A second of video and audio as an FLV file.
async fn clip() -> Bytes {
    static CLIPS: AtomicU32 = AtomicU32::new(0);
    let file = format!(
        "distributary-clip-{}-{}.flv",
        std::process::id(),
        CLIPS.fetch_add(1, Ordering::Relaxed)
    );
    let path = std::env::temp_dir().join(file);
    let name = path.to_str().unwrap();
    let ffmpeg = Ffmpeg::start(&[
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=64x48:rate=10",
        "-f",
        "lavfi",
        "-i",
        "sine",
        "-t",
        "1",
        "-c:v",
        "libx264",
        "-profile:v",
        "baseline",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
        "-y",
        name,
    ]);
    assert!(ffmpeg.wait().await.0.success());
    let file = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.into()
}

#[tokio::test]
async fn clip_of_our_client_arrives_in_full() {
    let server = TestServer::start();
    let mut publisher = client::publish(server.address, "live", "clip?key=k")
        .await
        .unwrap();
    let mut watcher = server.watch("live/clip").await;
    for tag in FlvReader::new(clip().await).unwrap() {
        let tag = tag.unwrap();
        match tag.kind {
            TagKind::Video => publisher.send_video(tag.timestamp_millis, tag.body).await,
            TagKind::Audio => publisher.send_audio(tag.timestamp_millis, tag.body).await,
            _ => Ok(()),
        }
        .unwrap();
    }
    publisher.close().await.unwrap();
    let frames = watcher.frames_until_offline().await;
    let video_frames = frames
        .iter()
        .filter(|frame| matches!(***frame, Frame::Video(_)))
        .count();
    assert_eq!(video_frames, 10);
    assert!(frames.len() > 50, "{} frames", frames.len());
}

#[tokio::test]
async fn name_in_use_is_refused_with_its_code() {
    let server = TestServer::start();
    let name = StreamName::parse("live/test").unwrap();
    let _first = server.hub.publish(&name, Instant::now().into_std());
    let second = client::publish(server.address, "live", "test").await;
    assert!(
        matches!(&second, Err(ClientError::Session(ClientSessionError::Refused { code, .. })) if code == "NetStream.Publish.BadName"),
        "{second:?}"
    );
}

#[tokio::test]
async fn publisher_takes_its_name_over_from_its_own_dead_connection() {
    let log = Log::capture();
    let server = TestServer::start();
    let dead = client::publish(server.address, "live", "test")
        .await
        .unwrap();
    let mut watcher = server.watch("live/test").await;
    let mut back = client::publish(server.address, "live", "test")
        .await
        .expect("the silent connection does not keep the name");
    for tag in FlvReader::new(clip().await).unwrap() {
        let tag = tag.unwrap();
        if tag.kind == TagKind::Video {
            back.send_video(tag.timestamp_millis, tag.body)
                .await
                .unwrap();
        }
    }
    back.close().await.unwrap();
    // Viewers see no end of the stream between the two.
    assert!(!watcher.frames_until_offline().await.is_empty());
    assert!(log.contains("another publisher has taken the stream over"));
    drop(dead);
}

#[tokio::test]
async fn publisher_takes_a_name_over_if_the_configuration_allows_it() {
    let server = TestServer::with(RtmpConfig {
        publishers: PublishersConfig {
            on_duplicate: OnDuplicate::Takeover,
            ..PublishersConfig::default()
        },
        ..RtmpConfig::default()
    });
    let clip: Vec<_> = FlvReader::new(clip().await)
        .unwrap()
        .map(|tag| tag.unwrap())
        .filter(|tag| tag.kind == TagKind::Video)
        .collect();
    let mut first = client::publish(server.address, "live", "test")
        .await
        .unwrap();
    let mut watcher = server.watch("live/test").await;
    for tag in &clip {
        first
            .send_video(tag.timestamp_millis, tag.body.clone())
            .await
            .unwrap();
    }
    let mut frames = watcher.frames_until_video(10).await;
    let mut second = client::publish(server.address, "live", "test")
        .await
        .unwrap();
    for tag in &clip {
        second
            .send_video(tag.timestamp_millis, tag.body.clone())
            .await
            .unwrap();
    }
    let dismissed = tokio::time::timeout(support::STEP_TIMEOUT, async {
        loop {
            let body = Bytes::from_static(&[0x57]);
            if let Err(error) = first.send_video(0, body).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    });
    let reason = dismissed.await.expect("the first is dismissed").to_string();
    assert!(reason.contains("has taken the stream over"), "{reason}");

    second.close().await.unwrap();
    frames.extend(watcher.frames_until_offline().await);
    assert!(frames.windows(2).all(|pair| pair[0].dts() < pair[1].dts()));
    assert!(frames.iter().filter(|frame| frame.is_keyframe()).count() >= 2);
    assert_eq!(watcher.subscription.stream().stats().video_frames, 20);
}

#[tokio::test]
async fn shutdown_ends_publishers_and_is_quick() {
    let server = TestServer::start();
    let mut publisher = client::publish(server.address, "live", "test")
        .await
        .unwrap();
    let hub = server.hub.clone();
    server.stop().await;
    assert!(hub.streams().is_empty());
    let gone = tokio::time::timeout(support::STEP_TIMEOUT, async {
        while publisher
            .send_audio(0, Bytes::from_static(&[0xAF, 1, 2]))
            .await
            .is_ok()
        {}
    });
    gone.await.expect("the client notices");
}
