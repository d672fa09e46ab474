//! Checks timestamps of all kinds from RTMP to RTP: viewers do not notice publishers' errors.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says by failing what it expected, and has an origin for its clock"
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use distributary_hub::{Hub, HubConfig, Sink, StreamEvent};
use distributary_media::Frame;
use distributary_media::flv::{FlvDemuxer, FlvEvent};
use distributary_names::StreamName;
use distributary_rtmp::timestamp::TimestampUnroller;
use distributary_webrtc::log::{Log, LogLimits};

/// H264 Constrained Baseline, 640x360.
const VIDEO_HEADER: &[u8] = &[
    0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 25, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00,
    0xa0, 0x2f, 0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x3c, 0x0f, 0x16, 0x2e, 0x48, 1, 0, 5,
    0x68, 0xcb, 0x83, 0xcb, 0x20,
];
const AUDIO_HEADER: &[u8] = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

/// Milliseconds between two video frames, and between two audio frames.
const VIDEO_FRAME: i64 = 40;
const AUDIO_FRAME: i64 = 20;

/// Duration of publishing, and the moment when the fault begins, in milliseconds.
const END: i64 = 6_000;
const FAULT: i64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Track {
    Video,
    Audio,
}
use Track::{Audio, Video};

/// The timestamps of a publisher, and the tolerance for viewers.
struct Case {
    name: &'static str,
    /// Maps a moment to its timestamp, in milliseconds; `None`: it is not sent.
    timestamp: fn(Track, i64) -> Option<i64>,
    /// Maps a moment to the time of its arrival.
    arrival: fn(i64) -> i64,
    /// Composition time of video frames.
    composition: i32,
    /// Maximum milliseconds from one timestamp of a track to the next.
    most_step: i64,
    /// Maximum milliseconds by which the offset of audio from video changes.
    most_apart: i64,
}

impl Case {
    const fn new(name: &'static str, timestamp: fn(Track, i64) -> Option<i64>) -> Self {
        Self {
            name,
            timestamp,
            arrival: |at| at,
            composition: 0,
            most_step: VIDEO_FRAME,
            most_apart: 0,
        }
    }
}

/// A sent frame: its moment, and its RTP timestamp in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Sent {
    track: Track,
    moment: i64,
    millis: f64,
}

/// Returns the moments of both tracks in sending order.
fn moments() -> impl Iterator<Item = (Track, i64)> {
    (0..END / AUDIO_FRAME).flat_map(|n| {
        let at = n * AUDIO_FRAME;
        let frame = (at % VIDEO_FRAME == 0).then_some((Video, at));
        frame.into_iter().chain([(Audio, at)])
    })
}

fn body(track: Track, moment: i64, composition: i32) -> Bytes {
    match track {
        Audio => Bytes::from_static(b"\x91Opus\xfcsound"),
        Video => {
            let keyframe = moment % 1_000 == 0;
            // Composition time is signed (Enhanced RTMP, "SI24").
            let [_, c2, c1, c0] = composition.to_be_bytes();
            let (kind, slice) = if keyframe {
                (0x17, [0x65, 0x88, 0x80])
            } else {
                (0x27, [0x41, 0x9a, 0x80])
            };
            let tag = [&[kind, 1, c2, c1, c0, 0, 0, 0, 3], &slice[..]].concat();
            tag.into()
        }
    }
}

/// Returns the frames that are sent to viewers.
fn sent(case: &Case) -> Vec<Sent> {
    let hub = Hub::new(HubConfig::default());
    let name = StreamName::parse("live/test").unwrap();
    let start = Instant::now();
    let publisher = hub.publish(&name, start).unwrap();
    let (sink, mut queue) = Sink::channel(64);
    let _subscription = hub.subscribe(&name, sink, 0).unwrap();
    let (mut unroller, mut demuxer) = (TimestampUnroller::default(), FlvDemuxer::new());
    let mut video = Log::new(90_000, LogLimits::default());
    let mut audio = Log::new(48_000, LogLimits::default());
    let mut sent = Vec::new();
    let headers = [(Video, VIDEO_HEADER), (Audio, AUDIO_HEADER)];
    let first = (case.timestamp)(Video, 0).unwrap_or_default();
    let headers = headers.map(|(track, header)| (track, 0, first, Bytes::from_static(header)));
    let media = moments().filter_map(|(track, moment)| {
        let timestamp = (case.timestamp)(track, moment)?;
        Some((
            track,
            moment,
            timestamp,
            body(track, moment, case.composition),
        ))
    });
    for (track, moment, timestamp, body) in headers.into_iter().chain(media) {
        let now = start + Duration::from_millis((case.arrival)(moment) as u64);
        // RTMP carries the low 32 bits.
        let time = unroller.unroll(timestamp as u32);
        let events = match track {
            Video => demuxer.handle_video(time, body),
            Audio => demuxer.handle_audio(time, body),
        };
        for event in events.unwrap() {
            match event {
                FlvEvent::VideoTrack(track) => publisher.set_video_track(track),
                FlvEvent::AudioTrack(track) => publisher.set_audio_track(track),
                FlvEvent::Frame(frame) => publisher.push(frame, now).unwrap(),
                FlvEvent::OtherTrack(_) | FlvEvent::SlicesJoined => {}
            }
        }
        while let Ok(delivery) = queue.try_recv() {
            let StreamEvent::Frame(frame) = delivery.event else {
                continue;
            };
            let (log, rate) = match &*frame {
                Frame::Video(frame) => {
                    video.push_video(frame, now);
                    (&video, 90.0)
                }
                Frame::Audio(frame) => {
                    audio.push_audio(frame, now);
                    (&audio, 48.0)
                }
            };
            let packet = log.get(log.head() - 1).unwrap();
            // The first frames may lie before the origin.
            let millis = f64::from(packet.timestamp.cast_signed()) / rate;
            sent.push(Sent {
                track,
                moment,
                millis,
            });
        }
    }
    sent
}

fn check(case: &Case) {
    let name = case.name;
    let sent = sent(case);
    for track in [Video, Audio] {
        let of_track: Vec<&Sent> = sent.iter().filter(|sent| sent.track == track).collect();
        assert!(of_track.len() > 100, "{name}: {track:?} goes out");
        for pair in of_track.windows(2) {
            let step = pair[1].millis - pair[0].millis;
            // A tick of a clock is 0.01 ms.
            assert!(step > 0.0, "{name}: {track:?} goes on, {pair:?}");
            assert!(
                step <= case.most_step as f64 + 0.05,
                "{name}: {track:?} goes on, {pair:?}"
            );
        }
    }
    // The offset of each video frame from the audio of the same moment.
    let lead = |video: &&Sent| {
        let audio = sent
            .iter()
            .find(|sent| sent.track == Audio && sent.moment == video.moment)?;
        Some(video.millis - audio.millis - f64::from(case.composition))
    };
    let frames = sent.iter().filter(|sent| sent.track == Video);
    let apart: Vec<f64> = frames
        .filter(|video| lead(video).is_some())
        .map(|video| lead(&video).unwrap())
        .collect();
    let most = apart.iter().map(|lead| lead.abs()).fold(0.0, f64::max);
    assert!(
        most <= case.most_apart as f64 + 0.05,
        "{name}: {most} ms apart"
    );
}

/// Adds to the moments after the fault.
fn from_fault(moment: i64, plus: i64) -> Option<i64> {
    Some(if moment >= FAULT {
        moment + plus
    } else {
        moment
    })
}

/// Does the same for video only.
fn video_alone(track: Track, moment: i64, plus: i64) -> Option<i64> {
    match track {
        Video => from_fault(moment, plus),
        Audio => Some(moment),
    }
}

#[test]
fn both_tracks_continue_through_clock_faults() {
    for case in [
        Case::new("in order", |_, at| Some(at)),
        Case::new("a large start", |_, at| Some(at + 3_000_000_000)),
        Case::new("both a week after their start", |_, at| {
            Some(at + 604_800_000)
        }),
        Case::new("a wrap at 2^32", |_, at| Some(at + (1 << 32) - FAULT)),
        Case::new("seconds forward", |_, at| from_fault(at, 7_000)),
        Case::new("hours forward", |_, at| from_fault(at, 3 * 3_600_000)),
        Case::new("a second back", |_, at| from_fault(at, -1_000)),
        Case::new("to zero", |_, at| from_fault(at, -FAULT)),
        Case::new("hours back", |_, at| {
            Some(from_fault(at, -3 * 3_600_000)? + 20_000_000)
        }),
    ] {
        check(&case);
    }
}

#[test]
fn small_steps_are_followed_within_a_second() {
    check(&Case {
        most_step: 300 + VIDEO_FRAME,
        ..Case::new("a little forward", |_, at| from_fault(at, 300))
    });
    // Time stands still until the publisher's clock has caught up.
    check(&Case {
        most_apart: 100,
        ..Case::new("a little back", |_, at| from_fault(at, -100))
    });
}

#[test]
fn track_that_jumps_alone_stays_in_sync() {
    for case in [
        Case::new("forward", |track, at| video_alone(track, at, 5_000)),
        Case::new("back", |track, at| video_alone(track, at, -5_000)),
        Case::new("an hour", |track, at| video_alone(track, at, 3_600_000)),
        Case::new("and the other follows after a second", |track, at| {
            let later = if track == Audio { at - 1_000 } else { at };
            Some(if later >= FAULT { at + 3_600_000 } else { at })
        }),
    ] {
        check(&case);
    }
}

#[test]
fn tracks_with_clocks_seconds_apart_begin_together() {
    for case in [
        Case::new("video seven seconds ahead", |track, at| {
            Some(if track == Video { at + 7_000 } else { at })
        }),
        Case::new("audio an hour ahead", |track, at| {
            Some(if track == Audio { at + 3_600_000 } else { at })
        }),
    ] {
        check(&case);
    }
    // A plausible offset is kept.
    check(&Case {
        most_apart: 800,
        ..Case::new("audio almost a second ahead", |track, at| {
            Some(if track == Audio { at + 800 } else { at })
        })
    });
}

#[test]
fn composition_times_of_either_sign_are_kept() {
    for composition in [66, -40, -120] {
        check(&Case {
            composition,
            ..Case::new("composition", |_, at| Some(at))
        });
    }
}

#[test]
fn missing_and_repeated_timestamps_do_no_harm() {
    check(&Case {
        most_step: 600,
        ..Case::new("half a second is missing", |_, at| {
            (!(FAULT..FAULT + 500).contains(&at)).then_some(at)
        })
    });
    check(&Case {
        most_step: 2 * VIDEO_FRAME,
        most_apart: VIDEO_FRAME,
        ..Case::new(
            "each second frame has the time of the first",
            |track, at| {
                Some(if track == Video {
                    at - at % (2 * VIDEO_FRAME)
                } else {
                    at
                })
            },
        )
    });
    check(&Case {
        most_step: 600,
        most_apart: 500,
        ..Case::new("all of half a second has one time", |_, at| {
            Some(if (FAULT..FAULT + 500).contains(&at) {
                FAULT
            } else {
                at
            })
        })
    });
}

#[test]
fn burst_keeps_its_timestamps() {
    check(&Case {
        arrival: |at| at / 40,
        ..Case::new("a thousand frames a second", |_, at| Some(at))
    });
    check(&Case {
        arrival: |at| {
            if (FAULT..FAULT + 2_000).contains(&at) {
                FAULT + 2_000
            } else {
                at
            }
        },
        ..Case::new("a stall of two seconds", |_, at| Some(at))
    });
}
