//! Audio and video are in sync on the wire as at the publisher: another implementation maps the
//! times of both tracks to the wall clock by the sender reports.

#![allow(
    clippy::unwrap_used,
    reason = "a test says by failing what it expected"
)]

#[path = "../../webrtc/tests/simulation/mod.rs"]
mod simulation;

use std::collections::VecDeque;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use distributary_hub::{
    Delivery, Hub, HubConfig, Permit, Publisher, Sink, StreamEvent, Subscription,
};
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind};
use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use opus_decoder::OpusDecoder;
use simulation::Simulation;
use str0m::media::MediaData;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Each second a white frame, which is a keyframe, and a tone start together.
const IN_ORDER: &[u8] = include_bytes!("../../media/tests/fixtures/flash-and-beep-48000.flv");
const B_FRAMES: &[u8] =
    include_bytes!("../../media/tests/fixtures/flash-and-beep-44100-bframes.flv");

/// Number of frames that the B-frames make a decoder hold back.
const DEPTH: u8 = 2;

/// Tolerance: rounding to milliseconds in the file, and finding the start of a tone.
const MOST: f64 = 2.0;

/// Time after which the test fails if the audio is not transcoded.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A tag with media: kind, time in milliseconds, body.
type Tag = (TagKind, u32, Bytes);

fn tags(file: &'static [u8]) -> Vec<Tag> {
    let reader = FlvReader::new(Bytes::from_static(file)).unwrap();
    let tags = reader.map(|tag| tag.unwrap());
    let tags = tags.filter(|tag| matches!(tag.kind, TagKind::Audio | TagKind::Video));
    tags.map(|tag| (tag.kind, tag.timestamp_millis, tag.body))
        .collect()
}

/// A stream of a hub with a simulated clock.
struct Studio {
    hub: Hub,
    name: StreamName,
    start: Instant,
    _subscription: Subscription,
    queue: mpsc::Receiver<Delivery>,
    /// The deliveries to a subscriber, with their times.
    clip: VecDeque<(Duration, Frame)>,
}

impl Studio {
    #[allow(
        clippy::disallowed_methods,
        reason = "an origin for the simulated clock"
    )]
    fn new() -> Self {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let start = Instant::now();
        let _reservation = hub.reserve(&name, start);
        let (sink, queue) = Sink::channel(4096);
        let (subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
        Self {
            hub,
            name,
            start,
            _subscription: subscription,
            queue,
            clip: VecDeque::new(),
        }
    }

    /// Publishes tags in real time, the first of them `at` after the start.
    fn publish(&mut self, tags: &[Tag], at: Duration) {
        let publisher = self.hub.publish(&self.name, self.start + at).unwrap();
        self.relay(&publisher, tags, at);
    }

    /// Pushes tags in real time, the first of them `at` after the start.
    fn relay(&mut self, publisher: &Publisher, tags: &[Tag], at: Duration) {
        let mut demuxer = FlvDemuxer::new();
        let first = tags[0].1;
        let mut audio = AudioProgress::default();
        for (kind, time, body) in tags {
            let passed = at + Duration::from_millis(u64::from(time - first));
            let time = MediaTime::from_millis(i64::from(*time));
            let events = match kind {
                TagKind::Audio => demuxer.handle_audio(time, body.clone()),
                _ => demuxer.handle_video(time, body.clone()),
            };
            for event in events.unwrap() {
                let now = self.start + passed;
                // No audio comes of a standby.
                let may_sound = publisher.is_active() || !matches!(event, FlvEvent::Frame(_));
                if may_sound {
                    audio.note(&event);
                }
                match event {
                    FlvEvent::VideoTrack(track) => publisher.set_video_track(track),
                    FlvEvent::AudioTrack(track) => publisher.set_audio_track(track),
                    FlvEvent::Frame(frame) => publisher.push(frame, now).unwrap(),
                    _ => {}
                }
                self.collect(&mut audio, passed);
            }
        }
    }

    /// Collects the subscriber's deliveries, and waits for the audio, which a thread transcodes.
    fn collect(&mut self, audio: &mut AudioProgress, passed: Duration) {
        loop {
            let delivery = if audio.made < audio.due() {
                self.next_delivery()
            } else {
                self.queue.try_recv().ok()
            };
            let Some(delivery) = delivery else { return };
            if let StreamEvent::Frame(frame) = delivery.event {
                audio.made += usize::from(matches!(&*frame, Frame::Audio(_)));
                self.clip.push_back((passed, (*frame).clone()));
            }
        }
    }

    /// Waits for a delivery.
    fn next_delivery(&mut self) -> Option<Delivery> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let next = async { timeout(TIMEOUT, self.queue.recv()).await };
        runtime.block_on(next).expect("the audio is transcoded")
    }

    /// Lets a viewer watch the deliveries.
    fn watch(self, depth: u8) -> Simulation {
        self.watch_until(depth, Duration::MAX)
    }

    /// The same for a stream without B-frames from some time on.
    fn watch_until(self, depth: u8, in_order_from: Duration) -> Simulation {
        let mut simulation = Simulation::new(1, 60);
        simulation.in_order_from = in_order_from;
        let end = self.clip.back().unwrap().0;
        simulation.clip = Some(self.clip);
        simulation.depth = depth;
        simulation.run(end + Duration::from_secs(1));
        simulation
    }
}

/// The amount of a publisher's audio that went in and came out.
#[derive(Default)]
struct AudioProgress {
    rate: usize,
    blocks: usize,
    made: usize,
}

impl AudioProgress {
    fn note(&mut self, event: &FlvEvent) {
        match event {
            FlvEvent::AudioTrack(track) => self.rate = track.sample_rate as usize,
            FlvEvent::Frame(Frame::Audio(_)) => self.blocks += 1,
            _ => {}
        }
    }

    /// Returns the number of packets of 960 samples that are due: the resampler may keep some
    /// samples back.
    fn due(&self) -> usize {
        let samples = self.blocks * 1024 * 48_000 / self.rate.max(1);
        samples.saturating_sub(1024) / 960
    }
}

/// Returns the presentation time by the sender reports; `None` before the first of them.
fn wall_clock(data: &MediaData, later: Duration) -> Option<Duration> {
    let report = data.last_sender_info?;
    // RTP timestamps count modulo 2^32.
    let ticks = (data.time.numer() as u32).wrapping_sub(report.rtp_time.numer() as u32) as i32;
    let seconds = f64::from(ticks) / f64::from(data.params.spec().clock_rate.get());
    let origin = report.ntp_time.duration_since(UNIX_EPOCH).unwrap();
    Some(Duration::from_secs_f64(origin.as_secs_f64() + seconds) + later)
}

fn is_audio(data: &MediaData) -> bool {
    data.params.spec().clock_rate.get() == 48_000
}

/// Returns the start times of the tones that a client receives.
fn beeps(received: &[MediaData]) -> Vec<Duration> {
    let mut decoder = OpusDecoder::new(48_000, 2).unwrap();
    let (mut beeps, mut quiet) = (Vec::new(), 0);
    for data in received.iter().filter(|data| is_audio(data)) {
        let mut pcm = [0.0; 1920];
        decoder.decode_float(&data.data, &mut pcm, false).unwrap();
        for (n, pair) in pcm.chunks(2).enumerate() {
            if pair[0].abs() < 0.1 {
                quiet += 1;
                continue;
            }
            // A tone is never quiet for long.
            if std::mem::take(&mut quiet) > 4_800 {
                beeps.extend(wall_clock(data, Duration::from_secs(n as u64) / 48_000));
            }
        }
    }
    beeps
}

/// Returns the times of the white frames that a client shows. A decoder that holds back frames
/// shows each as many frames later.
fn flashes(received: &[MediaData], depth: u8) -> Vec<Duration> {
    let frames: Vec<_> = received.iter().filter(|data| !is_audio(data)).collect();
    let keyframes = frames
        .iter()
        .enumerate()
        .filter(|(_, data)| data.is_keyframe());
    let shown = keyframes.filter_map(|(n, _)| frames.get(n + usize::from(depth)));
    shown
        .filter_map(|data| wall_clock(data, Duration::ZERO))
        .collect()
}

/// Returns the milliseconds from each flash to its beep, if both are there.
fn offsets(simulation: &Simulation) -> Vec<f64> {
    let beeps = beeps(&simulation.received);
    let millis = |time: &Duration| time.as_secs_f64() * 1000.0;
    let flashes = flashes(&simulation.received, simulation.depth);
    let nearest = |flash: f64| {
        let offsets = beeps.iter().map(|beep| millis(beep) - flash);
        offsets.min_by(|a, b| a.abs().total_cmp(&b.abs()))
    };
    let all = flashes.iter().filter_map(|flash| nearest(millis(flash)));
    all.filter(|offset| offset.abs() < 500.0).collect()
}

#[track_caller]
fn assert_in_sync(simulation: &Simulation, pairs: usize) {
    let offsets = offsets(simulation);
    assert!(offsets.len() >= pairs, "{offsets:?}");
    let worst = offsets
        .iter()
        .map(|offset| offset.abs())
        .fold(0.0, f64::max);
    assert!(worst <= MOST, "{offsets:.2?} ms");
}

#[test]
fn flash_and_beep_have_the_same_time() {
    let mut studio = Studio::new();
    studio.publish(&tags(IN_ORDER), Duration::ZERO);
    assert_in_sync(&studio.watch(0), 2);
}

#[test]
fn video_reordered_by_the_decoder_stays_in_sync_with_the_audio() {
    let mut studio = Studio::new();
    studio.publish(&tags(B_FRAMES), Duration::ZERO);
    assert_in_sync(&studio.watch(DEPTH), 2);
}

#[test]
fn audio_that_starts_later_is_in_sync_with_the_video() {
    let late = tags(IN_ORDER).into_iter();
    let late: Vec<Tag> = late
        .filter(|(kind, time, body)| *kind == TagKind::Video || *time > 1500 || body[1] == 0)
        .collect();
    let mut studio = Studio::new();
    studio.publish(&late, Duration::ZERO);
    assert_in_sync(&studio.watch(0), 2);
}

#[test]
fn audio_and_video_stay_in_sync_after_a_change_of_publisher() {
    let mut studio = Studio::new();
    studio.publish(&tags(IN_ORDER), Duration::ZERO);
    studio.publish(&tags(B_FRAMES), Duration::from_millis(4_321));
    // A stream without B-frames is followed by one with them.
    assert_in_sync(&studio.watch(DEPTH), 5);
}

#[test]
fn audio_and_video_stay_in_sync_after_a_takeover_by_a_standby() {
    let mut studio = Studio::new();
    let (name, start) = (studio.name.clone(), studio.start);
    let first = studio
        .hub
        .stand_by(&name, Permit::default(), start)
        .unwrap();
    let second = studio
        .hub
        .stand_by(&name, Permit::default(), start)
        .unwrap();
    let all = tags(IN_ORDER);
    studio.relay(&first, &all, Duration::ZERO);
    drop(first);
    // The standby goes on from the middle of a second, on a clock of its own.
    let later: Vec<_> = all
        .iter()
        .filter(|(_, time, body)| *time > 1500 || body[1] == 0)
        .map(|(kind, time, body)| (*kind, time + 1_000_000, body.clone()))
        .collect();
    let end = Duration::from_millis(u64::from(all[all.len() - 1].1));
    studio.relay(&second, &later, end);
    let mut offsets = offsets(&studio.watch(0));
    assert_eq!(offsets.len(), 5, "{offsets:?}");
    // The tone that starts with the first keyframe is cut: the audio frame in which it starts has
    // begun before the takeover.
    let cut = offsets.remove(3);
    assert!((-MOST..=22.0).contains(&cut), "{cut} ms");
    let is_in_sync = |offset: &f64| offset.abs() <= MOST;
    assert!(offsets.iter().all(is_in_sync), "{offsets:.2?} ms");
}

#[test]
fn audio_and_video_stay_in_sync_while_the_decoder_still_holds_back_frames() {
    let mut studio = Studio::new();
    let second = Duration::from_millis(4_321);
    studio.publish(&tags(B_FRAMES), Duration::ZERO);
    studio.publish(&tags(IN_ORDER), second);
    assert_in_sync(&studio.watch_until(DEPTH, second), 4);
}
