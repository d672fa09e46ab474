//! Tests renditions of a real ffmpeg, without WebRTC viewers.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says by failing what it expected, and is a driver"
)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::{BFrameChoice, Delivery, Hub, HubConfig, Publisher, Sink, StreamEvent};
use distributary_media::{Frame, VideoFrame};
use distributary_names::{RenditionId, StreamName};
use distributary_transcode::{TranscodeConfig, Transcoder};
use support::video;
use tokio::sync::mpsc;

/// Has B-frames that other frames reference. Each second starts with white frames.
const B_FRAMES: &[u8] =
    include_bytes!("../../media/tests/fixtures/flash-and-beep-44100-bframes.flv");
const IN_ORDER: &[u8] = include_bytes!("../../media/tests/fixtures/flash-and-beep-48000.flv");

/// Timeout of each step.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

/// A hub with a transcoder.
struct Studio {
    hub: Hub,
    _running: tokio::task::JoinHandle<()>,
}

impl Studio {
    async fn new(config: TranscodeConfig) -> Self {
        let hub = Hub::new(HubConfig::default());
        let transcoder = Transcoder::find(config, hub.clone()).await.unwrap();
        let _running = tokio::spawn(transcoder.run(std::future::pending()));
        Self { hub, _running }
    }

    fn publish(&self, stream: &str, file: &'static [u8]) -> Publisher {
        let publisher = self.hub.publish(&name(stream), Instant::now()).unwrap();
        feed(&publisher, file);
        publisher
    }

    /// Returns the stream or rendition that a viewer of the stream gets.
    async fn given(&self, stream: &str) -> StreamName {
        let choice = BFrameChoice::Policy;
        self.hub.watchable(&name(stream), choice, |_| true).await
    }

    fn watch(&self, stream: &StreamName) -> Watch {
        let (sink, queue) = Sink::channel(1024);
        let (subscription, cached) = self.hub.subscribe(stream, sink, 0).unwrap();
        Watch {
            subscription,
            queue,
            cached: cached.into_iter(),
        }
    }
}

fn feed(publisher: &Publisher, file: &'static [u8]) {
    let (track, frames) = video(file);
    publisher.set_video_track(track);
    for frame in frames {
        publisher.push(Frame::Video(frame), Instant::now()).unwrap();
    }
}

/// A viewer of a rendition.
struct Watch {
    subscription: distributary_hub::Subscription,
    queue: mpsc::Receiver<Delivery>,
    cached: std::vec::IntoIter<Arc<Frame>>,
}

impl Watch {
    /// Returns the next event.
    async fn next(&mut self) -> StreamEvent {
        if let Some(frame) = self.cached.next() {
            return StreamEvent::Frame(frame);
        }
        let next = tokio::time::timeout(STEP_TIMEOUT, self.queue.recv());
        next.await.expect("something comes").unwrap().event
    }

    /// Waits until the rendition has ended, after the frames that were on their way.
    async fn offline(&mut self) {
        let offline = async { while !matches!(self.next().await, StreamEvent::Offline) {} };
        let ended = tokio::time::timeout(STEP_TIMEOUT, offline).await;
        ended.expect("the rendition ends");
    }

    /// Returns the next `count` frames.
    async fn frames(&mut self, count: usize) -> Vec<VideoFrame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            if let StreamEvent::Frame(frame) = self.next().await
                && let Frame::Video(frame) = &*frame
            {
                frames.push(frame.clone());
            }
        }
        frames
    }
}

/// Returns for each frame whether it is white.
fn whiteness(frames: &[VideoFrame]) -> Vec<bool> {
    let mut decoder = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "h264", "-i", "pipe:0"])
        .args(["-vf", "scale=1:1,format=gray", "-fps_mode", "passthrough"])
        .args(["-f", "rawvideo", "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = decoder.stdin.take().unwrap();
    for unit in frames.iter().flat_map(|frame| &frame.units) {
        input.write_all(&[0, 0, 0, 1]).unwrap();
        input.write_all(unit).unwrap();
    }
    drop(input);
    let output = decoder.wait_with_output().unwrap();
    output.stdout.iter().map(|luma| *luma > 127).collect()
}

#[tokio::test]
async fn frames_of_a_rendition_keep_their_time_in_the_stream() {
    let studio = Studio::new(TranscodeConfig::default()).await;
    let publisher = studio.hub.publish(&name("live/a"), Instant::now()).unwrap();
    let (track, frames) = video(B_FRAMES);
    publisher.set_video_track(track);
    let (first, rest) = frames.split_at(20);
    for frame in first {
        let frame = Frame::Video(frame.clone());
        publisher.push(frame, Instant::now()).unwrap();
    }
    let given = studio.given("live/a").await;
    assert!(given.is_rendition());
    let mut source = studio.watch(&name("live/a"));
    let mut watch = studio.watch(&given);
    for frame in rest {
        let frame = Frame::Video(frame.clone());
        publisher.push(frame, Instant::now()).unwrap();
    }
    // The last frames stay in the decoder.
    let made = watch.frames(rest.len() - 4).await;
    assert!(made.iter().all(|frame| frame.pts == frame.dts));
    let white = whiteness(&made);
    let flash = (1..white.len()).find(|n| white[*n] && !white[n - 1]);
    let flash = made[flash.expect("it turns white")].pts;
    let published = source.frames(frames.len()).await;
    let second = published[1..].iter().find(|frame| frame.keyframe);
    let expected = second.unwrap().pts;
    let error = (flash.as_nanos() - expected.as_nanos()).abs();
    assert!(error < 1_500_000, "{flash:?}, not {expected:?}");
}

#[tokio::test]
async fn viewers_over_the_limit_get_the_stream_and_the_stats_show_it() {
    let config = TranscodeConfig {
        max: 1,
        idle_timeout: Duration::from_secs(1),
        ..TranscodeConfig::default()
    };
    let studio = Studio::new(config).await;
    let _a = studio.publish("live/a", B_FRAMES);
    let _b = studio.publish("live/b", B_FRAMES);
    let given = studio.given("live/a").await;
    assert!(given.is_rendition());
    let watch = studio.watch(&given);
    assert_eq!(studio.given("live/b").await, name("live/b"));
    let refused = studio
        .hub
        .ensure_live(&name("live/b").rendition(&RenditionId::H264))
        .await;
    let reason = refused.unwrap_err().to_string();
    assert!(
        reason.contains("the limit of 1 transcoded streams is reached"),
        "{reason}"
    );
    let stats = studio.hub.transcoder_stats();
    assert_eq!((stats.running, stats.started, stats.failed), (1, 1, 1));

    // The encoder is free when nobody watches the first.
    drop(watch);
    let is_given = async {
        while !studio.given("live/b").await.is_rendition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(STEP_TIMEOUT, is_given).await.unwrap();
    assert_eq!(studio.hub.transcoder_stats().running, 1);
}

#[tokio::test]
async fn rendition_continues_when_the_publisher_reconnects_or_changes() {
    let studio = Studio::new(TranscodeConfig::default()).await;
    let publisher = studio.publish("live/a", B_FRAMES);
    let given = studio.given("live/a").await;
    let mut watch = studio.watch(&given);
    let before = watch.frames(1).await;
    drop(publisher);
    watch.offline().await;
    let _publisher = studio.publish("live/a", B_FRAMES);
    let back = watch.frames(1).await;
    assert!(back[0].keyframe && back[0].pts > before[0].pts);

    // Another publisher replaces it, with another codec and without B-frames.
    let second = studio.hub.take_over(&name("live/a"), Instant::now());
    feed(&second, IN_ORDER);
    let started = studio.hub.transcoder_stats().started;
    let mut last = back[0].pts;
    let another_encoder = async {
        loop {
            match watch.next().await {
                StreamEvent::Frame(frame) => {
                    assert!(frame.dts() > last, "the time advances");
                    last = frame.dts();
                    if studio.hub.transcoder_stats().started > started && frame.is_keyframe() {
                        return;
                    }
                }
                StreamEvent::Offline => panic!("the rendition has ended"),
                _ => {}
            }
        }
    };
    let in_time = tokio::time::timeout(STEP_TIMEOUT, another_encoder).await;
    in_time.expect("another encoder continues");
    assert!(watch.subscription.stream().is_live());
}
