//! Picture and sound belong together on the wire as they do at the publisher: a client of another
//! make maps the times of both tracks to the wall clock by the sender reports.

#![allow(
    clippy::unwrap_used,
    reason = "a test says by failing what it expected"
)]

mod simulation;

use std::collections::VecDeque;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use distributary_hub::{Delivery, Hub, HubConfig, Sink, StreamEvent, Subscription};
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind};
use distributary_media::{Frame, MediaTime};
use distributary_names::StreamName;
use opus_decoder::OpusDecoder;
use simulation::Simulation;
use str0m::media::MediaData;
use tokio::sync::mpsc;

/// Each second a white picture, which is a keyframe, and a tone begin together.
const IN_ORDER: &[u8] = include_bytes!("../../media/tests/fixtures/flash-and-beep-48000.flv");
const B_FRAMES: &[u8] =
    include_bytes!("../../media/tests/fixtures/flash-and-beep-44100-bframes.flv");

/// Number of pictures the B-frames make a decoder hold back.
const DEPTH: u8 = 2;

/// What rounding to milliseconds in the file and finding the beginning of a tone may come to.
const MOST: f64 = 2.0;

/// A tag with media: kind, time in milliseconds, body.
type Tag = (TagKind, u32, Bytes);

fn tags(file: &'static [u8]) -> Vec<Tag> {
    let reader = FlvReader::new(Bytes::from_static(file)).unwrap();
    let tags = reader.map(|tag| tag.unwrap());
    let tags = tags.filter(|tag| matches!(tag.kind, TagKind::Audio | TagKind::Video));
    tags.map(|tag| (tag.kind, tag.timestamp_millis, tag.body))
        .collect()
}

/// A stream of a hub, by a simulated clock.
struct Studio {
    hub: Hub,
    name: StreamName,
    start: Instant,
    _subscription: Subscription,
    queue: mpsc::Receiver<Delivery>,
    /// What a subscriber was given, and when.
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
        let mut demuxer = FlvDemuxer::new();
        let first = tags[0].1;
        let mut sound = Sound::default();
        for (kind, time, body) in tags {
            let passed = at + Duration::from_millis(u64::from(time - first));
            let time = MediaTime::from_millis(i64::from(*time));
            let events = match kind {
                TagKind::Audio => demuxer.handle_audio(time, body.clone()),
                _ => demuxer.handle_video(time, body.clone()),
            };
            for event in events.unwrap() {
                sound.note(&event);
                let now = self.start + passed;
                match event {
                    FlvEvent::VideoTrack(track) => publisher.set_video_track(track),
                    FlvEvent::AudioTrack(track) => publisher.set_audio_track(track),
                    FlvEvent::Frame(frame) => publisher.push(frame, now).unwrap(),
                    _ => {}
                }
                self.collect(&mut sound, passed);
            }
        }
    }

    /// Takes what the subscriber was given, and waits for the sound, which a thread makes.
    fn collect(&mut self, sound: &mut Sound, passed: Duration) {
        loop {
            let delivery = match sound.made < sound.due() {
                true => self.queue.blocking_recv(),
                false => self.queue.try_recv().ok(),
            };
            let Some(delivery) = delivery else { return };
            if let StreamEvent::Frame(frame) = delivery.event {
                sound.made += usize::from(matches!(&*frame, Frame::Audio(_)));
                self.clip.push_back((passed, (*frame).clone()));
            }
        }
    }

    /// Lets a viewer watch all this.
    fn watch(self, depth: u8) -> Simulation {
        self.watch_until(depth, Duration::MAX)
    }

    /// The same where the pictures are in order from some time on.
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

/// How much sound of a publisher went in, and came out.
#[derive(Default)]
struct Sound {
    rate: usize,
    blocks: usize,
    made: usize,
}

impl Sound {
    fn note(&mut self, event: &FlvEvent) {
        match event {
            FlvEvent::AudioTrack(track) => self.rate = track.sample_rate as usize,
            FlvEvent::Frame(Frame::Audio(_)) => self.blocks += 1,
            _ => {}
        }
    }

    /// Returns how many packets of 960 samples there must be: the resampler may keep some samples
    /// back.
    fn due(&self) -> usize {
        let samples = self.blocks * 1024 * 48_000 / self.rate.max(1);
        samples.saturating_sub(1024) / 960
    }
}

/// Returns when something is to be seen or heard, by the sender reports; `None` before the first of
/// them.
fn wall_clock(data: &MediaData, later: Duration) -> Option<Duration> {
    let report = data.last_sender_info?;
    // RTP timestamps count modulo 2^32.
    let ticks = (data.time.numer() as u32).wrapping_sub(report.rtp_time.numer() as u32) as i32;
    let seconds = f64::from(ticks) / f64::from(data.params.spec().clock_rate.get());
    let origin = report.ntp_time.duration_since(UNIX_EPOCH).unwrap();
    Some(Duration::from_secs_f64(origin.as_secs_f64() + seconds) + later)
}

fn is_sound(data: &MediaData) -> bool {
    data.params.spec().clock_rate.get() == 48_000
}

/// Returns when the tones begin that a client hears.
fn beeps(received: &[MediaData]) -> Vec<Duration> {
    let mut decoder = OpusDecoder::new(48_000, 2).unwrap();
    let (mut beeps, mut quiet) = (Vec::new(), 0);
    for data in received.iter().filter(|data| is_sound(data)) {
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

/// Returns when the white pictures begin that a client sees. A decoder that holds pictures back
/// shows each so many pictures later.
fn flashes(received: &[MediaData], depth: u8) -> Vec<Duration> {
    let pictures: Vec<_> = received.iter().filter(|data| !is_sound(data)).collect();
    let keyframes = pictures
        .iter()
        .enumerate()
        .filter(|(_, data)| data.is_keyframe());
    let shown = keyframes.filter_map(|(n, _)| pictures.get(n + usize::from(depth)));
    shown
        .filter_map(|data| wall_clock(data, Duration::ZERO))
        .collect()
}

/// Returns the milliseconds from each flash to its beep, where both are there.
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
fn a_flash_and_its_beep_have_one_time() {
    let mut studio = Studio::new();
    studio.publish(&tags(IN_ORDER), Duration::ZERO);
    assert_in_sync(&studio.watch(0), 2);
}

#[test]
fn b_frames_that_are_put_in_order_by_the_decoder_keep_to_the_sound() {
    let mut studio = Studio::new();
    studio.publish(&tags(B_FRAMES), Duration::ZERO);
    assert_in_sync(&studio.watch(DEPTH), 2);
}

#[test]
fn sound_that_begins_later_keeps_to_the_picture() {
    let late = tags(IN_ORDER).into_iter();
    let late: Vec<Tag> = late
        .filter(|(kind, time, body)| *kind == TagKind::Video || *time > 1500 || body[1] == 0)
        .collect();
    let mut studio = Studio::new();
    studio.publish(&late, Duration::ZERO);
    assert_in_sync(&studio.watch(0), 2);
}

#[test]
fn another_publisher_in_the_same_session_keeps_both_together() {
    let mut studio = Studio::new();
    studio.publish(&tags(IN_ORDER), Duration::ZERO);
    studio.publish(&tags(B_FRAMES), Duration::from_millis(4_321));
    // What was in order is followed by what is put in order: to the decoder all of it is.
    assert_in_sync(&studio.watch(DEPTH), 5);
}

#[test]
fn a_decoder_that_still_holds_pictures_back_keeps_both_together() {
    let mut studio = Studio::new();
    let second = Duration::from_millis(4_321);
    studio.publish(&tags(B_FRAMES), Duration::ZERO);
    studio.publish(&tags(IN_ORDER), second);
    assert_in_sync(&studio.watch_until(DEPTH, second), 4);
}
