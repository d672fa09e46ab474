//! Demuxes a file of ffmpeg and x264.

#![allow(
    clippy::unwrap_used,
    reason = "a test says by failing what it expected"
)]

use bytes::Bytes;
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind};
use distributary_media::{Frame, MediaTime, VideoFrame, VideoTrack};

fn demux(file: &'static [u8]) -> (Vec<VideoTrack>, Vec<VideoFrame>) {
    let mut demuxer = FlvDemuxer::new();
    let (mut tracks, mut frames) = (Vec::new(), Vec::new());
    for tag in FlvReader::new(Bytes::from_static(file)).unwrap() {
        let tag = tag.unwrap();
        if tag.kind != TagKind::Video {
            continue;
        }
        let time = MediaTime::from_millis(i64::from(tag.timestamp_millis));
        for event in demuxer.handle_video(time, tag.body).unwrap() {
            match event {
                FlvEvent::VideoTrack(track) => tracks.push(track),
                FlvEvent::Frame(Frame::Video(frame)) => frames.push(frame),
                other => panic!("not expected in a video tag: {other:?}"),
            }
        }
    }
    (tracks, frames)
}

fn nal_types(frame: &VideoFrame) -> Vec<u8> {
    frame.units.iter().map(|unit| unit[0] & 0x1f).collect()
}

#[test]
fn x264s_cbr_output_comes_out_clean_and_whole() {
    let (tracks, frames) = demux(include_bytes!("fixtures/video-cbr-bframes.flv"));
    assert_eq!(
        tracks.len(),
        1,
        "the SPS in the stream is that of the sequence header"
    );
    assert_eq!((tracks[0].width, tracks[0].height), (128, 72));
    assert_eq!(frames.len(), 14, "the end of the sequence is no frame");

    for frame in &frames {
        let types = nal_types(frame);
        assert!(
            types.iter().all(|kind| matches!(kind, 1 | 5..=8)),
            "no AUD, no filler: {types:?}"
        );
        assert!(
            types.contains(&if frame.keyframe { 5 } else { 1 }),
            "{types:?}"
        );
        if frame.keyframe {
            assert_eq!(types[..2], [7, 8]);
        }
    }
    let keyframes = frames.iter().filter(|frame| frame.keyframe).count();
    assert_eq!(keyframes, 2);
}

#[test]
fn b_frames_keep_decoding_and_presentation_times() {
    let (_, frames) = demux(include_bytes!("fixtures/video-cbr-bframes.flv"));
    let decoded: Vec<_> = frames.iter().map(|frame| frame.dts.as_millis()).collect();
    assert!(decoded.is_sorted(), "{decoded:?}");
    let mut shown: Vec<_> = frames.iter().map(|frame| frame.pts.as_millis()).collect();
    assert!(!shown.is_sorted(), "there are B-frames: {shown:?}");
    shown.sort_unstable();
    assert!(
        shown.windows(2).all(|pair| pair[1] - pair[0] == 40),
        "{shown:?}"
    );
    assert!(frames.iter().all(|frame| frame.pts >= frame.dts));
}
