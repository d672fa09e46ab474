//! Fixtures of the tests of the transcoder.

use bytes::Bytes;
use distributary_media::flv::{FlvDemuxer, FlvEvent, FlvReader, TagKind};
use distributary_media::{Frame, MediaTime, VideoFrame, VideoTrack};

/// Returns the last video track and the video frames of an FLV file.
pub(crate) fn video(file: impl Into<Bytes>) -> (VideoTrack, Vec<VideoFrame>) {
    let (mut track, mut frames) = (None, Vec::new());
    let mut demuxer = FlvDemuxer::new();
    for tag in FlvReader::new(file.into()).unwrap() {
        let tag = tag.unwrap();
        if tag.kind != TagKind::Video {
            continue;
        }
        let time = MediaTime::from_millis(i64::from(tag.timestamp_millis));
        for event in demuxer.handle_video(time, tag.body).unwrap() {
            match event {
                FlvEvent::VideoTrack(new) => track = Some(new),
                FlvEvent::Frame(Frame::Video(frame)) => frames.push(frame),
                _ => {}
            }
        }
    }
    (track.unwrap(), frames)
}
