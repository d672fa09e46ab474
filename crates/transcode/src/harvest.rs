//! The output of an encoder: FLV with video frames.

use bytes::BytesMut;
use distributary_media::flv::{
    FlvDemuxer, FlvError, FlvEvent, FlvEvents, FlvStream, FlvStreamError, TagKind,
};
use distributary_media::{Frame, MediaTime};
use tokio::time::Instant;

use crate::output_limit::{MAX_ACCESS_UNIT, OutputLimit};

/// The error of an encoder's invalid output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HarvestError {
    /// It is not FLV.
    #[error(transparent)]
    Stream(#[from] FlvStreamError),
    /// A video tag cannot be read.
    #[error(transparent)]
    Tag(#[from] FlvError),
    /// It is much more than the encoder was told to return.
    #[error("it is several times as much as the limit of its bitrate")]
    TooMuch,
}

/// Reads an encoder's video frames, and maps them to the clock of the stream.
#[derive(Debug)]
pub(crate) struct Harvest {
    /// The zero of the encoder's clock, on the stream's clock.
    origin: MediaTime,
    limit: OutputLimit,
    stream: FlvStream,
    demuxer: FlvDemuxer,
    events: FlvEvents,
}

impl Harvest {
    /// Returns a reader for an encoder with its zero at `origin` that returns no more than `limit`.
    pub(crate) fn new(origin: MediaTime, limit: OutputLimit) -> Self {
        Self {
            origin,
            limit,
            stream: FlvStream::new(MAX_ACCESS_UNIT),
            demuxer: FlvDemuxer::new(),
            events: FlvEvents::default(),
        }
    }

    /// Returns the buffer for the bytes read.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        self.stream.buffer()
    }

    /// Returns the next track or video frame of what has been read until `now`.
    pub(crate) fn next_event(&mut self, now: Instant) -> Result<Option<FlvEvent>, HarvestError> {
        loop {
            if let Some(event) = self.events.next() {
                return Ok(Some(self.on_stream_clock(event)));
            }
            let Some(tag) = self.stream.next_tag()? else {
                return Ok(None);
            };
            if !self.limit.admit(tag.body.len(), now) {
                return Err(HarvestError::TooMuch);
            }
            if tag.kind == TagKind::Video {
                let time = MediaTime::from_millis(tag.timestamp_millis.into());
                self.events = self.demuxer.handle_video(time, tag.body)?;
            }
        }
    }

    fn on_stream_clock(&self, mut event: FlvEvent) -> FlvEvent {
        let shift = |time: MediaTime| self.origin.shifted(time.as_nanos());
        if let FlvEvent::Frame(Frame::Video(frame)) = &mut event {
            frame.pts = shift(frame.pts);
            frame.dts = shift(frame.dts);
        }
        event
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use distributary_media::flv::{FlvTag, VIDEO_FILE_HEADER};

    fn harvest(origin: i64) -> Harvest {
        let limit = OutputLimit::new(None, Instant::now());
        Harvest::new(MediaTime::from_millis(origin), limit)
    }

    #[test]
    fn frames_are_mapped_to_the_clock_of_the_stream() {
        let mut harvest = harvest(60_000);
        let now = Instant::now();
        harvest.buffer().extend_from_slice(VIDEO_FILE_HEADER);
        let config: &[u8] = &[
            0x17, 0, 0, 0, 0, 1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 25, 0x67, 0x42, 0xc0, 0x1e, 0xd9,
            0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x3c, 0x0f, 0x16, 0x2e,
            0x48, 1, 0, 5, 0x68, 0xcb, 0x83, 0xcb, 0x20,
        ];
        for (kind, timestamp_millis, body) in [
            (TagKind::Script, 0, &b"\x02"[..]),
            (TagKind::Video, 0, config),
            (TagKind::Video, 33, b"\x17\x01\0\0\0\0\0\0\x03\x65\x88\x80"),
        ] {
            let body = Bytes::from_static(body);
            let tag = FlvTag {
                kind,
                timestamp_millis,
                body,
            };
            tag.write(harvest.buffer());
        }
        let Ok(Some(FlvEvent::VideoTrack(_))) = harvest.next_event(now) else {
            panic!("the first event is not a track");
        };
        let Ok(Some(FlvEvent::Frame(Frame::Video(frame)))) = harvest.next_event(now) else {
            panic!("the second event is not a video frame");
        };
        assert!(frame.keyframe);
        assert_eq!(frame.pts, MediaTime::from_millis(60_033));
        assert!(harvest.next_event(now).unwrap().is_none());
    }

    #[test]
    fn output_that_is_not_flv_is_an_error() {
        let mut harvest = harvest(0);
        harvest
            .buffer()
            .extend_from_slice(b"not what was asked for");
        assert!(matches!(
            harvest.next_event(Instant::now()),
            Err(HarvestError::Stream(FlvStreamError::NotFlv))
        ));
    }

    #[test]
    fn encoder_that_returns_far_more_than_its_limit_fails() {
        let now = Instant::now();
        let limit = OutputLimit::new(Some(600_000), now);
        let mut harvest = Harvest::new(MediaTime::ZERO, limit);
        harvest.buffer().extend_from_slice(VIDEO_FILE_HEADER);
        let tag = FlvTag {
            kind: TagKind::Script,
            timestamp_millis: 0,
            body: Bytes::from(vec![0; MAX_ACCESS_UNIT]),
        };
        tag.write(harvest.buffer());
        assert!(harvest.next_event(now).unwrap().is_none());
        tag.write(harvest.buffer());
        let refused = harvest.next_event(now);
        assert!(matches!(refused, Err(HarvestError::TooMuch)));
    }
}
