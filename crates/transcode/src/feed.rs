//! The input of an encoder: a stream's video as FLV.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use distributary_media::flv::{FlvTag, TagKind, VIDEO_FILE_HEADER, muxer};
use distributary_media::{MediaTime, VideoCodec, VideoFrame, VideoTrack};

/// A recovery point SEI message (Rec. ITU-T H.264 section D.1.8): the frame is one, and exact.
const RECOVERY_POINT: &[u8] = &[0x06, 0x06, 0x01, 0b1100_0100, 0x80];

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

    /// Appends a frame that is to be a keyframe of every output. Returns whether it will be one.
    ///
    /// ffmpeg decides at its start at which times it forces keyframes, but for those that the
    /// source has ("-force_key_frames source"). So the frame is marked as one: with a recovery
    /// point in front of it, the decoder of H264 outputs it as a keyframe, and decodes it as before.
    /// It heeds only recovery points of frames that others refer to.
    pub(crate) fn push_keyframe(&mut self, frame: &VideoFrame) -> bool {
        let can_mark = frame.codec == VideoCodec::H264 && is_reference(frame);
        if frame.keyframe || !can_mark {
            self.push(frame);
            return frame.keyframe;
        }
        let mut marked = frame.clone();
        marked.units.insert(0, Bytes::from_static(RECOVERY_POINT));
        self.push(&marked);
        true
    }

    /// Returns the bytes to write. The writer removes what it has written.
    pub(crate) fn pending(&mut self) -> &mut BytesMut {
        &mut self.pending
    }
}

/// Returns whether other frames may refer to a frame of H264: `nal_ref_idc` of its slices is not zero
/// (Rec. ITU-T H.264 section 7.4.1).
fn is_reference(frame: &VideoFrame) -> bool {
    let mut headers = frame.units.iter().filter_map(|unit| unit.first());
    headers.any(|header| matches!(header & 0x1f, 1..=5) && header & 0x60 != 0)
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
    use distributary_media::FrameInfo;
    use distributary_media::flv::FlvStream;

    fn tags(feed: &mut Feed) -> Vec<FlvTag> {
        let mut stream = FlvStream::new(1024);
        stream.buffer().extend_from_slice(feed.pending());
        std::iter::from_fn(|| stream.next_tag().unwrap()).collect()
    }

    fn feed(frame_rate: Option<f64>) -> Feed {
        let track = VideoTrack {
            codec: VideoCodec::H264,
            width: 640,
            height: 360,
            profile_level_id: [0x4d, 0, 0x1f],
            config: Bytes::from_static(&[1, 0x4d, 0, 0x1f, 0xFF]),
        };
        Feed::new(
            Arc::new(track),
            MediaTime::from_millis(5_000_000),
            frame_rate,
        )
    }

    fn frame(codec: VideoCodec, keyframe: bool) -> VideoFrame {
        VideoFrame {
            codec,
            pts: MediaTime::from_millis(5_000_107),
            dts: MediaTime::from_millis(5_000_040),
            keyframe,
            info: FrameInfo::default(),
            units: vec![Bytes::from_static(&[0x65, 1])],
        }
    }

    #[test]
    fn frames_follow_the_header_on_a_clock_that_starts_at_the_origin() {
        let mut feed = feed(Some(30.0));
        feed.push(&frame(VideoCodec::H264, true));
        let tags = tags(&mut feed);
        let kinds = [TagKind::Script, TagKind::Video, TagKind::Video];
        assert!(tags.iter().map(|tag| tag.kind).eq(kinds));
        assert!(tags[0].body.windows(8).any(|at| at == 30f64.to_be_bytes()));
        assert_eq!(tags[1].body[..7], [0x17, 0, 0, 0, 0, 1, 0x4d]);
        assert_eq!(tags[2].timestamp_millis, 40);
        assert_eq!(tags[2].body[..], [0x17, 1, 0, 0, 67, 0, 0, 0, 2, 0x65, 1]);
    }

    #[test]
    fn keyframe_on_request_is_marked_where_the_decoder_sees_it() {
        let body = |frame: &VideoFrame| {
            let mut feed = feed(None);
            let is_keyframe = feed.push_keyframe(frame);
            (is_keyframe, tags(&mut feed).pop().unwrap().body)
        };
        let (is_keyframe, marked) = body(&frame(VideoCodec::H264, false));
        assert!(is_keyframe);
        assert_eq!(
            marked[..5],
            [0x27, 1, 0, 0, 67],
            "the container is as before"
        );
        let units = [&[0, 0, 0, 5], RECOVERY_POINT, &[0, 0, 0, 2, 0x65, 1]].concat();
        assert_eq!(marked[5..], units[..]);

        let (is_keyframe, own) = body(&frame(VideoCodec::H264, true));
        assert!(is_keyframe);
        assert_eq!(own[5..], [0, 0, 0, 2, 0x65, 1], "it is one already");
        let mut unused = frame(VideoCodec::H264, false);
        unused.units = vec![Bytes::from_static(&[0x01, 1])];
        let (is_keyframe, plain) = body(&unused);
        assert!(!is_keyframe && plain.ends_with(&[0, 0, 0, 2, 1, 1]));
        assert!(!plain.windows(5).any(|bytes| bytes == RECOVERY_POINT));

        let (is_keyframe, other) = body(&frame(VideoCodec::H265, false));
        assert!(!is_keyframe && other.ends_with(&[0, 0, 0, 2, 0x65, 1]));
        assert!(!other.windows(5).any(|bytes| bytes == RECOVERY_POINT));
    }
}
