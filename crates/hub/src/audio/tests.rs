//! Tests of an audio job with its stream.

#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::*;
use crate::config::HubConfig;
use crate::hub::Hub;
use crate::stream::{Publisher, Subscription};
use crate::subscriber::{Delivery, Sink, StreamEvent};
use bytes::Bytes;
use distributary_media::test_util::{flv_audio, opus_frame};
use distributary_media::{AudioCodec, Frame, MediaTime};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const STEREO_48000: &[u8] = include_bytes!("../../../media/tests/fixtures/stereo-48000.flv");

struct Harness {
    hub: Hub,
    name: StreamName,
    publisher: Publisher,
    track: AudioTrack,
    frames: Vec<AudioFrame>,
    now: Instant,
}

impl Harness {
    fn new() -> Self {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let now = Instant::now();
        let publisher = hub.publish(&name, now).unwrap();
        let (track, frames) = flv_audio(STEREO_48000);
        publisher.set_audio_track(track.clone());
        Self {
            hub,
            name,
            publisher,
            track,
            frames,
            now,
        }
    }

    fn subscribe(&self) -> (Subscription, mpsc::Receiver<Delivery>) {
        let (sink, queue) = Sink::channel(1024);
        let (subscription, _) = self.hub.subscribe(&self.name, sink, 0).unwrap();
        (subscription, queue)
    }

    fn push(&self, range: std::ops::Range<usize>) {
        for frame in &self.frames[range] {
            self.publisher
                .push(Frame::Audio(frame.clone()), self.now)
                .unwrap();
        }
    }
}

async fn next_opus(queue: &mut mpsc::Receiver<Delivery>) -> AudioFrame {
    loop {
        let delivery = tokio::time::timeout(Duration::from_secs(60), queue.recv());
        match delivery.await.expect("Opus in time").unwrap().event {
            StreamEvent::Frame(frame) => match &*frame {
                Frame::Audio(frame) if frame.codec == AudioCodec::Opus => return frame.clone(),
                other => panic!("{other:?}"),
            },
            StreamEvent::Gap => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn subscribers_get_opus_every_20_ms_and_no_aac() {
    let harness = Harness::new();
    let (_subscription, mut queue) = harness.subscribe();
    harness.push(0..30);
    let mut last = next_opus(&mut queue).await.pts;
    // 30 frames of 1024 samples are 32 packets of 960.
    for _ in 1..32 {
        let pts = next_opus(&mut queue).await.pts;
        assert_eq!(pts.saturating_since(last), Duration::from_millis(20));
        last = pts;
    }
}

#[tokio::test]
async fn encoder_expects_the_highest_loss_of_any_subscriber() {
    let harness = Harness::new();
    let (first, mut queue) = harness.subscribe();
    let (second, _other) = harness.subscribe();
    first.set_audio_loss(3);
    second.set_audio_loss(12);
    assert_eq!(harness.publisher.stream().audio_loss(), 12);
    harness.push(0..30);
    for _ in 0..20 {
        next_opus(&mut queue).await;
    }
    drop(second);
    assert_eq!(harness.publisher.stream().audio_loss(), 3);
}

#[tokio::test]
async fn job_runs_only_while_there_are_subscribers() {
    let harness = Harness::new();
    harness.push(0..10);
    assert!(!harness.publisher.stream().has_audio_job());
    let (subscription, mut queue) = harness.subscribe();
    harness.push(10..20);
    next_opus(&mut queue).await;
    assert!(harness.publisher.stream().has_audio_job());
    drop(subscription);
    assert!(!harness.publisher.stream().has_audio_job());
    assert_eq!(harness.publisher.stream().stats().dropped, 0);
}

#[tokio::test]
async fn changed_configuration_continues_in_the_same_job() {
    let harness = Harness::new();
    let (_subscription, mut queue) = harness.subscribe();
    harness.push(0..10);
    let mut last = next_opus(&mut queue).await.pts;
    let job = harness.publisher.stream().audio_job_id();
    for n in 10..40 {
        let mut other = harness.track.clone();
        // Explicitly without HE-AAC: the same audio, described differently.
        other.config = [&[0x11, 0x90][..], &[n as u8]].concat().into();
        harness.publisher.set_audio_track(other);
        harness.push(n..n + 1);
    }
    assert!(job.is_some());
    assert_eq!(harness.publisher.stream().audio_job_id(), job);
    for _ in 0..25 {
        let pts = next_opus(&mut queue).await.pts;
        let step = pts.saturating_since(last).as_millis();
        assert!((20..60).contains(&step), "{step} ms");
        last = pts;
    }
}

#[tokio::test]
async fn next_publisher_continues_in_the_same_job() {
    let harness = Harness::new();
    let (_subscription, mut queue) = harness.subscribe();
    harness.push(0..10);
    let job = harness.publisher.stream().audio_job_id();
    let second = harness.hub.take_over(&harness.name, harness.now);
    let later = harness.now + Duration::from_millis(500);
    for frame in &harness.frames[..20] {
        second.push(Frame::Audio(frame.clone()), later).unwrap();
    }
    assert_eq!(second.stream().audio_job_id(), job);
    let mut last = next_opus(&mut queue).await.pts;
    let mut gaps = Vec::new();
    for _ in 0..25 {
        let pts = next_opus(&mut queue).await.pts;
        gaps.push(pts.saturating_since(last).as_millis());
        last = pts;
    }
    gaps.retain(|gap| *gap != 20);
    assert!(matches!(gaps[..], [200..500]), "{gaps:?}");
}

#[tokio::test]
async fn burst_after_a_stall_is_transcoded_to_the_last_frame() {
    let harness = Harness::new();
    let (_subscription, mut queue) = harness.subscribe();
    // The timestamps continue from one round to the next: six seconds.
    let round = Duration::from_nanos(harness.frames.len() as u64 * 1_024_000_000_000 / 48_000);
    let mut last = MediaTime::ZERO;
    for n in 0..3 {
        for frame in &harness.frames {
            let mut frame = frame.clone();
            frame.pts = frame.pts + round * n;
            last = frame.pts;
            harness
                .publisher
                .push(Frame::Audio(frame), harness.now)
                .unwrap();
        }
    }
    let first = next_opus(&mut queue).await.pts;
    let mut pts = first;
    let spoken = last.saturating_since(harness.frames[0].pts) - Duration::from_millis(60);
    while pts.saturating_since(first) < spoken {
        let next = next_opus(&mut queue).await.pts;
        assert_eq!(next.saturating_since(pts), Duration::from_millis(20));
        pts = next;
    }
    assert_eq!(harness.publisher.stream().stats().dropped, 0);
}

#[tokio::test]
async fn replaced_job_delivers_nothing() {
    let harness = Harness::new();
    let (subscription, mut queue) = harness.subscribe();
    harness.push(0..10);
    let packet = next_opus(&mut queue).await;
    let marked = |mark: u8| {
        let data = Bytes::from(vec![mark]);
        std::iter::once(AudioFrame {
            data,
            ..packet.clone()
        })
    };
    let stream = Arc::clone(harness.publisher.stream());
    drop(subscription);
    let (_subscription, mut queue) = harness.subscribe();
    stream.receive_opus(1, marked(1), 0.0);
    harness.push(10..11);
    stream.receive_opus(1, marked(1), 0.0);
    stream.receive_opus(2, marked(2), 0.0);
    // Before it are at most a few packets of the last frame that was pushed.
    for _ in 0..20 {
        match next_opus(&mut queue).await.data[..] {
            [1] => panic!("the first job still delivers"),
            [2] => return,
            _ => {}
        }
    }
    panic!("the second job does not deliver");
}

#[tokio::test]
async fn audio_that_cannot_be_transcoded_does_not_stop_other_audio() {
    let harness = Harness::new();
    let mut track = harness.track.clone();
    // xHE-AAC.
    track.config = Bytes::from_static(&[0xf9, 0x46, 0x42, 0x00]);
    harness.publisher.set_audio_track(track);
    let (_subscription, mut queue) = harness.subscribe();
    for _ in 0..10 {
        harness.push(0..harness.frames.len());
    }
    let opus = opus_frame(60_000, &[0xfc]);
    harness
        .publisher
        .push(Frame::Audio(opus), harness.now)
        .unwrap();
    assert_eq!(
        next_opus(&mut queue).await.data[..],
        [0xfc],
        "the first audio delivered"
    );
}

#[test]
fn job_ends_with_its_stream() {
    let harness = Harness::new();
    let (subscription, queue) = harness.subscribe();
    harness.push(0..10);
    let stream = Arc::downgrade(harness.publisher.stream());
    drop((subscription, queue, harness));
    // A thread may hold the stream for the length of one delivery.
    let end = Instant::now() + Duration::from_secs(60);
    while stream.strong_count() > 0 {
        assert!(Instant::now() < end, "the job keeps the stream");
        std::thread::yield_now();
    }
}

/// Gets packets, or panics instead.
struct Listener {
    panics: bool,
    packets: std::sync::mpsc::Sender<u64>,
}

impl OpusReceiver for Listener {
    fn loss_percent(&self) -> u8 {
        0
    }

    fn receive_opus(&self, job: u64, frames: impl Iterator<Item = AudioFrame>, _: f32) {
        for _ in frames {
            self.packets.send(job).unwrap();
            assert!(!self.panics, "of the test");
        }
    }
}

/// A receiver that goes away while it is delivered to, and panics as it does.
struct Fragile {
    own: Mutex<Option<Arc<Self>>>,
    dropped: std::sync::mpsc::Sender<()>,
}

impl OpusReceiver for Fragile {
    fn loss_percent(&self) -> u8 {
        0
    }

    fn receive_opus(&self, _: u64, _: impl Iterator<Item = AudioFrame>, _: f32) {
        self.own.lock().unwrap().take();
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.dropped.send(()).unwrap();
        panic!("of the test");
    }
}

#[test]
fn panic_of_the_stream_that_ends_on_the_thread_ends_no_other_audio() {
    let (track, frames) = flv_audio(STEREO_48000);
    let track = Arc::new(track);
    let pool = Arc::new(AudioPool::new(1));
    let name = StreamName::parse("live/test").unwrap();
    let (dropped, drops) = std::sync::mpsc::channel();
    for id in 0..2 {
        let receiver = Arc::new(Fragile {
            own: Mutex::default(),
            dropped: dropped.clone(),
        });
        let weak = Arc::downgrade(&receiver);
        *receiver.own.lock().unwrap() = Some(Arc::clone(&receiver));
        drop(receiver);
        let job = AudioJob::start(&pool, id, &name, OpusConfig::default(), weak).unwrap();
        job.push(Arc::clone(&track), frames[0].clone(), Instant::now());
        drops.recv().unwrap();
    }
    let (packets, received) = std::sync::mpsc::channel();
    let listener = Arc::new(Listener {
        panics: false,
        packets,
    });
    let receiver = Arc::downgrade(&listener);
    let job = AudioJob::start(&pool, 2, &name, OpusConfig::default(), receiver).unwrap();
    for frame in &frames[..5] {
        job.push(Arc::clone(&track), frame.clone(), Instant::now());
    }
    assert_eq!(received.recv(), Ok(2));
}

#[test]
fn panic_ends_the_audio_of_its_stream_only() {
    let (track, frames) = flv_audio(STEREO_48000);
    let pool = Arc::new(AudioPool::new(1));
    let (packets, received) = std::sync::mpsc::channel();
    let receivers = [true, false].map(|panics| {
        let packets = packets.clone();
        Arc::new(Listener { panics, packets })
    });
    let name = StreamName::parse("live/test").unwrap();
    let jobs = [0, 1].map(|id| {
        let receiver = Arc::downgrade(&receivers[id as usize]);
        AudioJob::start(&pool, id, &name, OpusConfig::default(), receiver).unwrap()
    });
    let track = Arc::new(track);
    for frame in &frames[..30] {
        for job in &jobs {
            job.push(Arc::clone(&track), frame.clone(), Instant::now());
        }
    }
    // 30 frames of 1024 samples are 32 packets of 960.
    let mut counts = [0, 0];
    while counts[1] < 32 {
        counts[received.recv().unwrap() as usize] += 1;
    }
    assert_eq!(counts, [1, 32]);
}
