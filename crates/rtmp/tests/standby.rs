//! Publishers that stand by, over real sockets.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{Hub, HubConfig, JournalKind, Permit, Stream, StreamEvent};
use distributary_media::Frame;
use distributary_names::StreamName;
use distributary_rtmp::chunk::RawMessage;
use distributary_rtmp::{OnDuplicate, PublishersConfig, RtmpConfig};
use support::raw_client::{H264_HEADER, RawClient, frame};
use support::{Log, TestServer, Watcher};

/// Type of a video message.
const VIDEO: u8 = 9;

fn server(standby_after: Duration) -> TestServer {
    let hub = Hub::new(HubConfig {
        standby_after,
        ..HubConfig::default()
    });
    let publishers = PublishersConfig {
        on_duplicate: OnDuplicate::Standby,
        ..PublishersConfig::default()
    };
    let config = RtmpConfig {
        publishers,
        ..RtmpConfig::default()
    };
    TestServer::on(hub, config)
}

/// A client that publishes `live/test` with a clock of its own.
struct Encoder {
    client: RawClient,
    timestamp: u32,
    fill: u8,
}

impl Encoder {
    /// Publishes, with frames that are filled with `fill`.
    async fn begin(server: &TestServer, fill: u8) -> Self {
        let client = RawClient::ask(server, "publish", "test").await;
        let timestamp = u32::from(fill) * 1_000_000;
        let mut encoder = Self {
            client,
            timestamp,
            fill,
        };
        encoder.video(H264_HEADER.to_vec().into()).await;
        encoder
    }

    async fn video(&mut self, payload: bytes::Bytes) {
        let message = RawMessage {
            timestamp: self.timestamp,
            type_id: VIDEO,
            stream_id: 1,
            payload,
        };
        self.client.send_raw(&message).await;
    }

    async fn frame(&mut self, is_keyframe: bool) {
        self.timestamp += 40;
        self.video(frame(is_keyframe, 100, self.fill)).await;
    }

    /// Sends keyframes until the log has these words `count` times.
    async fn keyframes_until(&mut self, log: &Log, words: &str, count: usize) {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let mut logged = std::pin::pin!(log.until(words, count));
        loop {
            tokio::select! {
                () = &mut logged => return,
                _ = ticks.tick() => self.frame(true).await,
            }
        }
    }
}

/// Returns the fill and the keyframe flag of the next video frame. Panics at any other event than
/// one about renditions.
async fn next_frame(watcher: &mut Watcher, times: &mut Vec<i64>) -> (u8, bool) {
    loop {
        match watcher.event().await {
            StreamEvent::Frame(frame) => {
                let Frame::Video(video) = &*frame else {
                    panic!("only video is published");
                };
                times.push(frame.dts().as_nanos());
                let last = video.units.last().unwrap();
                return (*last.last().unwrap(), video.keyframe);
            }
            StreamEvent::Renditions | StreamEvent::Gap => {}
            other => panic!("{other:?}"),
        }
    }
}

fn stream(server: &TestServer) -> Arc<Stream> {
    let name = StreamName::parse("live/test").unwrap();
    server.hub.stream(&name).unwrap()
}

#[tokio::test]
async fn standby_continues_the_stream_of_a_publisher_that_is_gone() {
    let log = Log::capture();
    let server = server(Duration::from_secs(60));
    let mut first = Encoder::begin(&server, 1).await;
    let mut watcher = server.watch("live/test").await;
    let mut times = Vec::new();
    first.frame(true).await;
    assert_eq!(next_frame(&mut watcher, &mut times).await, (1, true));
    let mut second = Encoder::begin(&server, 2).await;
    second.client.until_told("It stands by").await;
    second.frame(true).await;
    first.frame(false).await;
    assert_eq!(next_frame(&mut watcher, &mut times).await, (1, false));
    drop(first);
    log.until("publishing ended", 1).await;
    second.frame(false).await;
    second.frame(true).await;
    second.frame(false).await;
    assert_eq!(next_frame(&mut watcher, &mut times).await, (2, true));
    assert_eq!(next_frame(&mut watcher, &mut times).await, (2, false));
    assert!(times.is_sorted(), "one clock: {times:?}");
    second.client.until_told("It is published now").await;

    let mut back = Encoder::begin(&server, 3).await;
    back.client.until_told("It stands by").await;
    let standbys = stream(&server).report(tokio::time::Instant::now().into_std());
    let standbys = standbys.standbys;
    assert_eq!(standbys.len(), 1);
    assert!(standbys[0].info.as_ref().unwrap().address.is_some());
    let kinds: Vec<_> = server.hub.journal().since(0);
    let kinds: Vec<_> = kinds.iter().map(|entry| entry.kind).collect();
    let expected = [
        JournalKind::Published,
        JournalKind::Standby,
        JournalKind::Ended,
        JournalKind::Takeover,
        JournalKind::Standby,
    ];
    assert_eq!(kinds, expected);
    server.stop().await;
}

#[tokio::test]
async fn standby_replaces_a_silent_publisher_which_takes_its_turn_later() {
    let log = Log::capture();
    let server = server(Duration::from_millis(100));
    let mut first = Encoder::begin(&server, 1).await;
    let mut watcher = server.watch("live/test").await;
    let mut times = Vec::new();
    first.frame(true).await;
    assert_eq!(next_frame(&mut watcher, &mut times).await, (1, true));
    let mut second = Encoder::begin(&server, 2).await;
    let silent = "a standby takes over";
    second.keyframes_until(&log, silent, 1).await;
    assert!(log.contains("the active publisher is silent"), "{log}");
    assert_eq!(next_frame(&mut watcher, &mut times).await, (2, true));
    first.client.until_told("It stands by").await;
    drop(second);
    first.keyframes_until(&log, silent, 2).await;
    while next_frame(&mut watcher, &mut times).await != (1, true) {}
    assert!(times.is_sorted(), "one clock: {times:?}");
    server.stop().await;
}

#[tokio::test]
async fn standbys_beyond_the_limit_are_refused() {
    let log = Log::capture();
    let server = server(Duration::from_secs(60));
    let mut encoders = Vec::new();
    for fill in 1..=5 {
        let mut encoder = Encoder::begin(&server, fill).await;
        let told = if fill == 1 {
            "is published"
        } else {
            "stands by"
        };
        encoder.client.until_told(told).await;
        encoders.push(encoder);
    }
    let mut refused = Encoder::begin(&server, 6).await;
    refused.client.until_told("NetStream.Publish.BadName").await;
    log.until("stand by for it already", 1).await;
    server.stop().await;
}

#[tokio::test]
async fn publisher_is_told_that_it_is_next_and_why_it_is_dismissed() {
    let log = Log::capture();
    let server = server(Duration::from_secs(60));
    let mut first = Encoder::begin(&server, 1).await;
    first.frame(true).await;
    let mut second = Encoder::begin(&server, 2).await;
    second
        .client
        .until_told("viewers get the stream of another")
        .await;
    drop(first);
    second.client.until_told("from its next keyframe on").await;
    let mut third = Encoder::begin(&server, 3).await;
    third.client.until_told("from its next keyframe on").await;
    second.frame(true).await;
    third
        .client
        .until_told("viewers get the stream of another")
        .await;
    // As if they had been silent for long.
    let later = tokio::time::Instant::now().into_std() + Duration::from_secs(60);
    let stream = stream(&server);
    let newcomers: Vec<_> = (0..4)
        .map(|_| server.hub.stand_by(stream.name(), Permit::default(), later))
        .collect();
    assert!(newcomers.iter().all(Result::is_ok));
    third.client.until_told("stands by in its place").await;
    log.until("another publisher stands by in its place", 1)
        .await;
    server.stop().await;
}
