//! What an encoder reads: the pictures of a stream as FLV.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use distributary_media::flv::{FlvTag, TagKind, VIDEO_FILE_HEADER, muxer};
use distributary_media::{MediaTime, VideoFrame, VideoTrack};

/// Writes pictures for an encoder, on a clock that begins with the first of them.
#[derive(Debug)]
pub(crate) struct Feed {
    origin: MediaTime,
    track: Arc<VideoTrack>,
    pending: BytesMut,
}

impl Feed {
    /// Begins with the description of `track`. The zero of the encoder's clock is `origin`.
    ///
    /// The frame rate is what encoders share out the bits by. Not every stream has it in its parameter
    /// sets, so it is told where the publisher did.
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

    /// What the pictures are coded as.
    pub(crate) fn track(&self) -> &Arc<VideoTrack> {
        &self.track
    }

    /// Appends a picture.
    pub(crate) fn push(&mut self, frame: &VideoFrame) {
        let tag = FlvTag {
            kind: TagKind::Video,
            // FLV counts modulo 2^32, and ffmpeg bears with it.
            timestamp_millis: frame.dts.saturating_since(self.origin).as_millis() as u32,
            body: muxer::video_frame(frame),
        };
        tag.write(&mut self.pending);
    }

    /// What is to be written. What was written is taken out of it.
    pub(crate) fn pending(&mut self) -> &mut BytesMut {
        &mut self.pending
    }
}

/// `onMetaData` with the frame rate alone, in AMF0 (Adobe FLV specification version 10.1, annex E.5).
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
    use distributary_media::VideoCodec;
    use distributary_media::flv::FlvStream;

    fn tags(feed: &mut Feed) -> Vec<FlvTag> {
        let mut stream = FlvStream::default();
        stream.buffer().extend_from_slice(feed.pending());
        std::iter::from_fn(|| stream.next_tag().unwrap()).collect()
    }

    #[test]
    fn pictures_follow_their_description_on_a_clock_that_begins_with_the_first() {
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
