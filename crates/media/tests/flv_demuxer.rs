//! Demuxes a file of ffmpeg and x264.

#![allow(
    clippy::unwrap_used,
    reason = "a test says by failing what it expected"
)]

use bytes::Bytes;
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, FlvTag, TagKind};
use distributary_media::{BFrameVerdict, BFrames, Frame, MediaTime, VideoFrame, VideoTrack};

const X264_CBR: &[u8] = include_bytes!("fixtures/video-cbr-bframes.flv");

fn video_tags(file: &'static [u8]) -> Vec<FlvTag> {
    let tags = FlvReader::new(Bytes::from_static(file)).unwrap();
    let tags = tags.map(Result::unwrap);
    tags.filter(|tag| tag.kind == TagKind::Video).collect()
}

fn demux(tags: impl IntoIterator<Item = FlvTag>) -> (Vec<VideoTrack>, Vec<VideoFrame>) {
    let mut demuxer = FlvDemuxer::new();
    let (mut tracks, mut frames) = (Vec::new(), Vec::new());
    for tag in tags {
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
    let (tracks, frames) = demux(video_tags(X264_CBR));
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
    let (_, frames) = demux(video_tags(X264_CBR));
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

#[test]
fn frames_carry_what_the_demuxer_finds_out_about_them() {
    let (_, frames) = demux(video_tags(X264_CBR));
    let mut latest = MediaTime::ZERO;
    let mut disposable = 0;
    for frame in &frames {
        if frame.info.disposable {
            assert!(
                frame.pts < latest,
                "shown before one that is decoded earlier"
            );
            disposable += 1;
        }
        latest = latest.max(frame.pts);
    }
    assert_eq!(disposable, 4);
    let verdicts: Vec<_> = frames.iter().map(|frame| frame.info.b_frames).collect();
    let expected = BFrameVerdict {
        kind: BFrames::Reference,
        depth: 2,
        is_certain: true,
    };
    assert_eq!(verdicts.last(), Some(&expected), "{verdicts:?}");
}

#[test]
fn repeated_sequence_header_changes_no_verdict_on_b_frames() {
    let tags = video_tags(X264_CBR);
    let header = tags[0].body.clone();
    let repeated = tags.iter().flat_map(|tag| {
        let header = FlvTag {
            body: header.clone(),
            ..*tag
        };
        [header, tag.clone()]
    });
    assert_eq!(demux(repeated), demux(tags.clone()));
}
