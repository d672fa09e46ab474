//! Streams that are joined and parted, with simulated times of arrival.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_media::test_util::{opus_frame, video_frame};
use distributary_media::{Frame, VideoCodec, VideoTrack};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::{Delivery, HubConfig, Publisher, RenditionOrigin, Sink, StreamEvent, Subscription};

/// Maximum time for each event.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Milliseconds from frame to frame, and frames from keyframe to keyframe.
const INTERVAL: i64 = 40;
const GOP: i64 = 10;

/// A hub with a stream and the task that joins others to it.
struct World {
    hub: Hub,
    name: StreamName,
    stream: Publisher,
    start: Instant,
    joiner: JoinHandle<()>,
    subscription: Subscription,
    events: mpsc::Receiver<Delivery>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.joiner.abort();
    }
}

impl World {
    fn new(from: &str) -> Self {
        let name = StreamName::parse("live/a").unwrap();
        let hub = Hub::new(config(from));
        let start = Instant::now();
        let stream = hub.publish(&name, start).unwrap();
        stream.set_video_track(track(1280, 720));
        let (sink, events) = Sink::channel(4096);
        let (subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
        let joiner = tokio::spawn(join_renditions(hub.clone(), std::future::pending()));
        Self {
            hub,
            name,
            stream,
            start,
            joiner,
            subscription,
            events,
        }
    }

    fn publish(&self, name: &str, (width, height): (u32, u32), began: Instant) -> Publisher {
        let name = StreamName::parse(name).unwrap();
        let publisher = self.hub.publish(&name, began).unwrap();
        publisher.set_video_track(track(width, height));
        publisher
    }

    /// Pushes the frame of this number to the stream, and to a member `late` milliseconds later.
    fn push(&self, number: i64, member: &Publisher, late: i64) {
        let millis = number * INTERVAL;
        let at = |millis: i64| self.start + Duration::from_millis(millis as u64);
        let audio = Frame::Audio(opus_frame(millis, &[1]));
        self.stream.push(audio, at(millis)).unwrap();
        self.stream.push(frame(number), at(millis)).unwrap();
        member.push(frame(number), at(millis + late)).unwrap();
    }

    /// Waits until the stream has these renditions beside itself.
    async fn until_listed(&mut self, expected: &[&str]) {
        loop {
            let all = self.hub.renditions(&self.name, Instant::now());
            let joined = all
                .iter()
                .filter(|one| one.origin == RenditionOrigin::Joined);
            if joined
                .map(|one| one.id.as_str())
                .eq(expected.iter().copied())
            {
                return;
            }
            next(&mut self.events).await;
        }
    }

    fn watch(&self, id: RenditionId) -> (Subscription, mpsc::Receiver<Delivery>) {
        let (sink, queue) = Sink::channel(4096);
        let rendition = self.name.rendition(&id);
        let (subscription, _) = self.hub.subscribe(&rendition, sink, 0).unwrap();
        (subscription, queue)
    }
}

fn config(from: &str) -> HubConfig {
    let rule = format!("stream = \"live/*\"\nfrom = [{from}]\n");
    HubConfig {
        renditions: vec![toml::from_str(&rule).unwrap()],
        ..HubConfig::default()
    }
}

fn track(width: u32, height: u32) -> VideoTrack {
    VideoTrack {
        codec: VideoCodec::H264,
        width,
        height,
        profile_level_id: [0x42, 0xc0, 0x1f],
        config: Bytes::new(),
    }
}

fn frame(number: i64) -> Frame {
    let keyframe = number % GOP == 0;
    Frame::Video(video_frame(number * INTERVAL, keyframe, 100))
}

async fn next(events: &mut mpsc::Receiver<Delivery>) -> StreamEvent {
    let next = tokio::time::timeout(STEP_TIMEOUT, events.recv());
    next.await.expect("an event comes").unwrap().event
}

/// Returns the times of the next `count` video frames, and the number of audio frames among them.
async fn times(events: &mut mpsc::Receiver<Delivery>, count: usize) -> (Vec<i64>, usize) {
    let (mut times, mut audio) = (Vec::new(), 0);
    while times.len() < count {
        match next(events).await {
            StreamEvent::Frame(frame) => match &*frame {
                Frame::Video(video) => times.push(video.pts.as_millis()),
                Frame::Audio(_) => audio += 1,
            },
            StreamEvent::Offline => panic!("the rendition has ended"),
            _ => {}
        }
    }
    (times, audio)
}

#[tokio::test]
async fn stream_published_separately_is_a_rendition_on_the_clock_and_with_the_audio_of_the_stream()
{
    for late in [0, 30, 80, 100, 180] {
        check_joined(late).await;
    }
}

/// Joins a stream that is `late` milliseconds late.
async fn check_joined(late: i64) {
    let mut world = World::new("\"{stream}_low\"");
    // Its publisher came later, so it has a clock of its own.
    let began = world.start + Duration::from_millis(late as u64);
    let member = world.publish("live/a_low", (320, 180), began);
    for number in 0..5 * GOP {
        world.push(number, &member, late);
        tokio::task::yield_now().await;
    }
    world.until_listed(&["joined1"]).await;
    let (_watching, mut queue) = world.watch(RenditionId::joined(1));
    let until = 9 * GOP;
    for number in 5 * GOP..until {
        world.push(number, &member, late);
        // The task passes the frames on as they come.
        tokio::task::yield_now().await;
    }
    let (got, audio) = times(&mut queue, 4 * GOP as usize).await;
    assert!(audio > 0, "of the stream");
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{got:?}");
    // By the keyframes that both have, from the first frame on.
    assert!(got.iter().all(|time| time % INTERVAL == 0), "{got:?}");
    let rendition = world.hub.renditions(&world.name, world.start);
    let heights: Vec<_> = rendition.iter().map(|one| one.height).collect();
    assert_eq!(heights, [720, 180]);
    assert!(world.subscription.stream().is_live());
}

#[tokio::test]
async fn rendition_ends_with_its_member_and_with_its_rule() {
    let mut world = World::new("\"{stream}_low\", \"{stream}_high\"");
    let low = world.publish("live/a_low", (320, 180), world.start);
    let high = world.publish("live/a_high", (640, 360), world.start);
    for number in 0..5 * GOP {
        world.push(number, &low, 0);
        tokio::task::yield_now().await;
        high.push(frame(number), world.start).unwrap();
    }
    world.until_listed(&["joined2", "joined1"]).await;
    drop(high);
    world.until_listed(&["joined1"]).await;
    world.hub.reconfigure(HubConfig::default());
    world.until_listed(&[]).await;
    world.hub.reconfigure(config("\"{stream}_low\""));
    for number in 5 * GOP..10 * GOP {
        world.push(number, &low, 0);
        tokio::task::yield_now().await;
    }
    world.until_listed(&["joined1"]).await;
    assert!(low.stream().is_live(), "it is a stream of its own");
    drop(low);
    world.until_listed(&[]).await;
}

#[tokio::test]
async fn other_content_is_not_joined() {
    let mut world = World::new("\"{stream}_camera\", \"{stream}_low\"");
    let camera = world.publish("live/a_camera", (320, 240), world.start);
    let low = world.publish("live/a_low", (320, 180), world.start);
    for number in 0..5 * GOP {
        world.push(number, &camera, 0);
        tokio::task::yield_now().await;
        low.push(frame(number), world.start).unwrap();
    }
    world.until_listed(&["joined2"]).await;
}
