//! Tests the clip that `distributary --demo` publishes in a loop; `cargo xtask demo-clip` generates
//! it.

#![allow(
    clippy::unwrap_used,
    reason = "a test says by failing what it expected"
)]

use bytes::Bytes;
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind};
use distributary_media::{AudioFrame, AudioTrack, Frame, MediaTime, VideoFrame, VideoTrack};

const CLIP: &[u8] = include_bytes!("../../gateway/assets/demo.flv");

/// 336 video frames at 30 per second and 525 audio frames of 1024 samples at 48 kHz.
const MILLIS: i64 = 11_200;

#[derive(Default)]
struct Clip {
    video_tracks: Vec<VideoTrack>,
    audio_tracks: Vec<AudioTrack>,
    video: Vec<VideoFrame>,
    audio: Vec<AudioFrame>,
}

/// Demuxes the clip `loops` times in a row.
fn clip(loops: i64) -> Clip {
    let mut demuxer = FlvDemuxer::new();
    let mut clip = Clip::default();
    for n in 0..loops {
        for tag in FlvReader::new(Bytes::from_static(CLIP)).unwrap() {
            let tag = tag.unwrap();
            let time = MediaTime::from_millis(n * MILLIS + i64::from(tag.timestamp_millis));
            let events = match tag.kind {
                TagKind::Video => demuxer.handle_video(time, tag.body),
                TagKind::Audio => demuxer.handle_audio(time, tag.body),
                TagKind::Script => continue,
            };
            for event in events.unwrap() {
                match event {
                    FlvEvent::VideoTrack(track) => clip.video_tracks.push(track),
                    FlvEvent::AudioTrack(track) => clip.audio_tracks.push(track),
                    FlvEvent::Frame(Frame::Video(frame)) => clip.video.push(frame),
                    FlvEvent::Frame(Frame::Audio(frame)) => clip.audio.push(frame),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    clip
}

#[test]
fn clip_plays_in_any_browser() {
    let clip = clip(1);
    assert_eq!(clip.video_tracks.len(), 1);
    let video = &clip.video_tracks[0];
    assert_eq!((video.width, video.height), (640, 360));
    let [profile, constraints, level] = video.profile_level_id;
    assert_eq!(
        (profile, constraints & 0x40),
        (0x42, 0x40),
        "constrained baseline"
    );
    assert!(level <= 31);
    assert!(
        clip.video.iter().all(|frame| frame.pts == frame.dts),
        "no B-frames"
    );
    assert_eq!(clip.audio_tracks.len(), 1);
    let audio = &clip.audio_tracks[0];
    assert_eq!((audio.sample_rate, audio.channels), (48_000, 2));
    assert!(CLIP.len() <= 400 << 10);
}

#[test]
fn loop_continues_both_tracks_without_a_gap() {
    let clip = clip(3);
    assert_eq!(
        clip.video_tracks.len(),
        1,
        "the repeated header changes nothing"
    );
    assert_eq!(clip.audio_tracks.len(), 1);
    assert_eq!((clip.video.len(), clip.audio.len()), (3 * 336, 3 * 525));
    let times = clip.video.iter().map(|frame| frame.dts.as_millis());
    for (n, time) in times.enumerate() {
        assert!(
            (time * 30 - n as i64 * 1000).abs() <= 15,
            "frame {n} at {time} ms"
        );
    }
    let times = clip.audio.iter().map(|frame| frame.pts.as_millis());
    for (n, time) in times.enumerate() {
        assert!(
            (time * 48 - n as i64 * 1024).abs() <= 24,
            "block {n} at {time} ms"
        );
    }
    for (n, frame) in clip.video.iter().enumerate() {
        assert_eq!(frame.keyframe, n % 56 == 0, "frame {n}");
    }
}
