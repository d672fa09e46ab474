//! Targets for the path of frames: the hub with its GOP cache, and the log of a shard.

use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_hub::{AudioForm, Hub, HubConfig, Publisher, Sink, StreamEvent, StreamsConfig};
use distributary_media::{
    AudioCodec, AudioFrame, AudioTrack, Frame, FrameInspector, MediaTime, VideoCodec, VideoFrame,
    VideoTrack,
};
use distributary_names::StreamName;
use distributary_webrtc::log::{Log, LogLimits, MAX_PAYLOAD};

use crate::{ORIGIN, pieces};

/// Most bytes of a GOP cache, and of a log: few, so that they are often full.
const CACHE: usize = 64 << 10;

/// Most frames of one input.
const MAX_FRAMES: usize = 256;

/// Frames, each with its length in two bytes before it: flags, steps of the clocks, then the units.
/// The cache starts with a keyframe and keeps to its limit, the log keeps to its own, and when all
/// is gone no memory is counted any more.
pub fn frames(data: &[u8]) {
    let mut now = *ORIGIN;
    let hub = Hub::new(HubConfig {
        streams: StreamsConfig {
            cache_size: CACHE,
            ..StreamsConfig::default()
        },
        ..HubConfig::default()
    });
    let name = StreamName::parse("live/test").expect("a valid name");
    let publisher = hub.publish(&name, now).expect("the name is free");
    publisher.set_audio_track(AudioTrack {
        codec: AudioCodec::Opus,
        sample_rate: 48_000,
        channels: 2,
        config: Bytes::new(),
    });
    let (sink, mut queue) = Sink::channel(MAX_FRAMES);
    let sink = sink.with_audio(AudioForm::Published);
    let subscribed = hub.subscribe(&name, sink, 7);
    assert!(subscribed.is_some(), "the stream exists");
    let mut logs = Logs::new();
    let mut reader = FrameReader::default();
    for piece in pieces(data).take(MAX_FRAMES) {
        let Some((frame, step, command)) = reader.read(piece) else {
            continue;
        };
        now += step;
        if let Frame::Video(video) = &frame {
            publisher.set_video_track(track(video.codec));
        }
        // A refusal by the stream's policy is an answer, too.
        let _ = publisher.push(frame, now);
        check_cache(&hub, &name, &publisher);
        while let Ok(delivery) = queue.try_recv() {
            if let StreamEvent::Frame(frame) = delivery.event {
                logs.push(&frame, command, now);
            }
        }
        logs.check(now);
    }
    drop((publisher, subscribed, queue, logs));
    assert_eq!(hub.memory().media(), 0, "memory of frames that are gone");
}

fn check_cache(hub: &Hub, name: &StreamName, publisher: &Publisher) {
    let (sink, _queue) = Sink::channel(1);
    let subscribed = hub.subscribe(name, sink.with_audio(AudioForm::Published), 8);
    let (_subscription, gop) = subscribed.expect("the stream exists");
    assert!(gop.first().is_none_or(|frame| frame.is_keyframe()));
    assert!(gop.iter().skip(1).all(|frame| !frame.is_keyframe()));
    let memory: usize = gop.iter().map(|frame| frame.memory()).sum();
    assert!(memory <= CACHE, "{memory} bytes in the cache");
    assert!(publisher.stream().gop_limit() <= CACHE);
}

/// The logs of a stream in a shard.
struct Logs {
    video: Log,
    audio: Log,
    read: [u64; 2],
}

impl Logs {
    fn new() -> Self {
        let limits = LogLimits {
            max_bytes: CACHE,
            ..LogLimits::default()
        };
        let mut video = Log::new(90_000, limits);
        video.set_padding(true);
        Self {
            video,
            audio: Log::new(48_000, limits).with_redundancy(true),
            read: [0; 2],
        }
    }

    fn push(&mut self, frame: &Frame, command: u8, now: Instant) {
        match frame {
            Frame::Video(frame) => match command & 7 {
                0 => {
                    self.video.end_gop();
                    self.video.push_video(frame, now);
                }
                5 => {
                    self.video.push_video(frame, now);
                    self.video.suspend_gop();
                }
                1..=4 => self.video.push_reordered(frame, command & 3, now),
                _ => self.video.push_video(frame, now),
            },
            Frame::Audio(frame) => self.audio.push_audio(frame, now),
        }
    }

    fn check(&mut self, now: Instant) {
        for (log, read) in [&self.video, &self.audio].into_iter().zip(&mut self.read) {
            assert!(log.bytes() <= CACHE, "{} bytes in the log", log.bytes());
            let keyframe = log.keyframe();
            assert!(
                keyframe.is_none_or(|number| log.get(number).is_some_and(|packet| packet.first))
            );
            for number in *read..log.head() {
                if let Some(packet) = log.get(number) {
                    let len = packet.payload.len();
                    assert!((1..=MAX_PAYLOAD).contains(&len), "a payload of {len} bytes");
                }
            }
            *read = log.head();
            let _ = (log.bitrate(), log.records(), log.next_keyframe_in(now));
        }
    }
}

/// Reads frames of which the first bytes tell the rest.
#[derive(Default)]
struct FrameReader {
    inspector: FrameInspector,
    codec: VideoCodec,
    dts: i64,
}

impl FrameReader {
    /// Returns a frame, the time until it arrives, and what is done with it.
    fn read(&mut self, piece: &[u8]) -> Option<(Frame, Duration, u8)> {
        let [flags, command, arrival, dts, pts, repeat, units @ ..] = piece else {
            return None;
        };
        // Up to four seconds, and backward at times.
        self.dts += i64::from(*dts as i8) * 33;
        let dts = MediaTime::from_millis(self.dts);
        let arrival = Duration::from_millis(u64::from(*arrival) * 8);
        if flags & 1 != 0 {
            let frame = AudioFrame {
                codec: AudioCodec::Opus,
                pts: dts,
                data: Bytes::from(units.repeat(usize::from(repeat & 15))),
            };
            return Some((Frame::Audio(frame), arrival, *command));
        }
        if flags & 2 != 0 {
            self.codec = match flags >> 6 {
                0 => VideoCodec::H264,
                1 => VideoCodec::H265,
                2 => VideoCodec::Av1,
                _ => VideoCodec::Vp9,
            };
        }
        // Demuxers give no empty unit and no frame without one.
        let units = units.split(|byte| *byte == 0xff);
        let units = units.filter(|unit| !unit.is_empty());
        let units = units.map(|unit| Bytes::from(unit.repeat(1 + usize::from(*repeat))));
        let units: Vec<_> = units.collect();
        let mut frame = VideoFrame {
            codec: self.codec,
            pts: MediaTime::from_millis(self.dts + i64::from(*pts) * 33),
            dts,
            keyframe: flags & 4 != 0,
            info: Default::default(),
            units,
        };
        if frame.units.is_empty() {
            return None;
        }
        self.inspector.inspect(&mut frame);
        Some((Frame::Video(frame), arrival, *command))
    }
}

fn track(codec: VideoCodec) -> VideoTrack {
    VideoTrack {
        codec,
        width: 1280,
        height: 720,
        profile_level_id: [0x42, 0xc0, 0x1f],
        config: Bytes::new(),
    }
}
