//! The input of an encoder: a stream's video as FLV.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use distributary_media::flv::{FlvTag, TagKind, VIDEO_FILE_HEADER, muxer};
use distributary_media::{MediaTime, VideoFrame, VideoTrack};

/// Writes video frames for an encoder, on a clock that starts at the first of them.
#[derive(Debug)]
pub(crate) struct Feed {
    origin: MediaTime,
    track: Arc<VideoTrack>,
    pending: BytesMut,
}

impl Feed {
    /// Starts with the header of `track`. The zero of the encoder's clock is `origin`.
    ///
    /// Encoders use the frame rate for rate control. Not every stream has it in its parameter sets,
    /// so it is passed on if the publisher declares it.
    pub(crate) fn new(track: Arc<VideoTrack>, origin: MediaTime, frame_rate: Option<f64>) -> Self {
        let mut pending = BytesMut::from(&VIDEO_FILE_HEADER[..]);
        let tag = |kind, body| FlvTag {
            kind,
            timestamp_millis: 0,
            body,
        };
        if let Some(rate) = frame_rate.filter(|rate| rate.is_finite() && *rate > 0.0) {
            tag(TagKind::Script, frame_rate_metadata(rate).freeze()).write(&mut pending);
        }
        tag(TagKind::Video, muxer::video_header(&track)).write(&mut pending);
        Self {
            origin,
            track,
            pending,
        }
    }

    /// Returns the track of the frames.
    pub(crate) fn track(&self) -> &Arc<VideoTrack> {
        &self.track
    }

    /// Appends a frame.
    pub(crate) fn push(&mut self, frame: &VideoFrame) {
        let tag = FlvTag {
            kind: TagKind::Video,
            // FLV timestamps wrap at 2^32 ms, which ffmpeg supports.
            timestamp_millis: frame.dts.saturating_since(self.origin).as_millis() as u32,
            body: muxer::video_frame(frame),
        };
        tag.write(&mut self.pending);
    }

    /// Returns the bytes to write. The writer removes what it has written.
    pub(crate) fn pending(&mut self) -> &mut BytesMut {
        &mut self.pending
    }
}

/// Returns `onMetaData` with only the frame rate, in AMF0 (Adobe FLV specification version 10.1,
/// annex E.5).
fn frame_rate_metadata(rate: f64) -> BytesMut {
    const STRING: u8 = 2;
    const ECMA_ARRAY: u8 = 8;
    const NUMBER: u8 = 0;
    const END_OF_OBJECT: [u8; 3] = [0, 0, 9];
    let mut body = BytesMut::new();
    let put_text = |body: &mut BytesMut, text: &str| {
        body.put_u16(text.len() as u16);
        body.put_slice(text.as_bytes());
    };
    body.put_u8(STRING);
    put_text(&mut body, "onMetaData");
    body.put_u8(ECMA_ARRAY);
    body.put_u32(1);
    put_text(&mut body, "framerate");
    body.put_u8(NUMBER);
    body.put_f64(rate);
    body.put_slice(&END_OF_OBJECT);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use distributary_media::flv::FlvStream;
    use distributary_media::{FrameInfo, VideoCodec};

    fn tags(feed: &mut Feed) -> Vec<FlvTag> {
        let mut stream = FlvStream::default();
        stream.buffer().extend_from_slice(feed.pending());
        std::iter::from_fn(|| stream.next_tag().unwrap()).collect()
    }

    #[test]
    fn frames_follow_the_header_on_a_clock_that_starts_at_the_origin() {
        let track = VideoTrack {
            codec: VideoCodec::H264,
            width: 640,
            height: 360,
            profile_level_id: [0x4d, 0, 0x1f],
            config: Bytes::from_static(&[1, 0x4d, 0, 0x1f, 0xFF]),
        };
        let origin = MediaTime::from_millis(5_000_000);
        let mut feed = Feed::new(Arc::new(track), origin, Some(30.0));
        feed.push(&VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(5_000_107),
            dts: MediaTime::from_millis(5_000_040),
            keyframe: true,
            info: FrameInfo::default(),
            units: vec![Bytes::from_static(&[0x65, 1])],
        });
        let tags = tags(&mut feed);
        let kinds = [TagKind::Script, TagKind::Video, TagKind::Video];
        assert!(tags.iter().map(|tag| tag.kind).eq(kinds));
        assert!(tags[0].body.windows(8).any(|at| at == 30f64.to_be_bytes()));
        assert_eq!(tags[1].body[..7], [0x17, 0, 0, 0, 0, 1, 0x4d]);
        assert_eq!(tags[2].timestamp_millis, 40);
        assert_eq!(tags[2].body[..], [0x17, 1, 0, 0, 67, 0, 0, 0, 2, 0x65, 1]);
    }
}
