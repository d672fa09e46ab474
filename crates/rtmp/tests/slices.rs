//! Encoders that send each slice of a frame in a message of its own.

#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::path::Path;

use bytes::Bytes;
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind};
use distributary_media::{Frame, MediaTime, VideoFrame};
use distributary_rtmp::client;
use support::{Ffmpeg, TestServer};
use tokio::process::Command;

/// Slices of each frame.
const SLICES: usize = 4;

/// Bytes of a video tag's body before its NAL units (FLV specification 10.1, annex E.4.3).
const HEAD: usize = 5;

const FRAMES: usize = 45;

/// Makes a clip whose frames have several slices.
async fn clip(path: &Path) {
    let x264 = format!("slices={SLICES}:keyint=15:scenecut=0");
    let frames = FRAMES.to_string();
    let source = "testsrc2=size=320x240:rate=30";
    let mut arguments = vec!["-f", "lavfi", "-i", source, "-frames:v", &frames];
    arguments.extend([
        "-c:v",
        "libx264",
        "-profile:v",
        "baseline",
        "-pix_fmt",
        "yuv420p",
    ]);
    arguments.extend(["-x264-params", &x264, "-f", "flv", path.to_str().unwrap()]);
    let (status, said) = Ffmpeg::start(&arguments).wait().await;
    assert!(status.success(), "{said}");
}

/// The NAL units of a tag's body, each with its length before it.
fn units(body: &Bytes) -> Vec<Bytes> {
    let mut rest = body.slice(HEAD..);
    let mut units = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        units.push(rest.split_to(4 + len));
    }
    units
}

/// Splits the body of a tag into one for each slice. What stands before the first slice comes with
/// it.
fn split(body: &Bytes) -> Vec<Bytes> {
    let units = units(body);
    let is_slice = |unit: &Bytes| matches!(unit[4] & 0x1f, 1 | 5);
    let first = units.iter().position(is_slice).unwrap();
    assert_eq!(units.len() - first, SLICES);
    let (head, rest) = units.split_at(first + 1);
    let parts = std::iter::once(head.concat()).chain(rest.iter().map(|unit| unit.to_vec()));
    parts
        .map(|part| [&body[..HEAD], &part].concat().into())
        .collect()
}

/// Takes the video frames out of whole tags.
fn frames(tags: &[(u32, Bytes)]) -> Vec<VideoFrame> {
    let mut demuxer = FlvDemuxer::new();
    let mut frames = Vec::new();
    for (millis, body) in tags {
        let time = MediaTime::from_millis(i64::from(*millis));
        for event in demuxer.handle_video(time, body.clone()).unwrap() {
            if let FlvEvent::Frame(Frame::Video(frame)) = event {
                frames.push(frame);
            }
        }
    }
    frames
}

/// Decodes a file. Returns a hash of each frame.
async fn decode(path: &Path) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]);
    ffmpeg.arg(path).args(["-f", "framemd5", "-"]);
    let output = ffmpeg.output().await.unwrap();
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

#[tokio::test]
async fn all_frames_sent_slice_by_slice_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.flv");
    clip(&source).await;
    let file = Bytes::from(std::fs::read(&source).unwrap());
    let tags = FlvReader::new(file).unwrap().map(Result::unwrap);
    let tags: Vec<_> = tags
        .filter(|tag| tag.kind == TagKind::Video)
        .map(|tag| (tag.timestamp_millis, tag.body))
        .collect();

    let server = TestServer::start();
    let mut publisher = client::publish(server.address, "live", "test")
        .await
        .unwrap();
    let mut watcher = server.watch("live/test").await;
    for (millis, body) in &tags {
        // AVCPacketType: a header, frames, the end.
        let messages = if body[1] == 1 {
            split(body)
        } else {
            vec![body.clone()]
        };
        for message in messages {
            publisher.send_video(*millis, message).await.unwrap();
        }
    }
    publisher.close().await.unwrap();

    let expected = frames(&tags);
    assert_eq!(expected.len(), FRAMES);
    let watched = watcher.frames_until_offline().await;
    let watched: Vec<_> = watched
        .iter()
        .map(|frame| match &**frame {
            Frame::Video(frame) => frame,
            Frame::Audio(_) => panic!("there is no audio"),
        })
        .collect();
    assert_eq!(watched.len(), FRAMES);
    for (frame, expected) in watched.iter().zip(&expected) {
        assert_eq!(frame.units, expected.units);
        assert_eq!(frame.keyframe, expected.keyframe);
    }

    // A decoder sees the same.
    let copy = folder.path().join("copy.h264");
    let units = watched.iter().flat_map(|frame| &frame.units);
    let bytes: Vec<u8> = units
        .flat_map(|unit| [&[0, 0, 0, 1], &unit[..]].concat())
        .collect();
    std::fs::write(&copy, bytes).unwrap();
    let frames = decode(&copy).await;
    assert_eq!(frames.len(), FRAMES);
    assert_eq!(frames, decode(&source).await);
}
