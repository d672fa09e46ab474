//! The group-of-pictures cache: what a newcomer needs to show a picture at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use distributary_media::Frame;

/// The video frames since the last keyframe, in decoding order.
///
/// Bounded in bytes and in seconds of media. A group of pictures that outgrows either bound is given
/// up as a whole: a part of it could not be decoded, so newcomers then wait for the next keyframe.
#[derive(Debug)]
pub struct GopCache {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    max_bytes: usize,
    max_duration: Duration,
    overflowed: bool,
}

impl GopCache {
    /// An empty cache that holds at most `max_bytes` of coded media and `max_duration` of time.
    pub fn new(max_bytes: usize, max_duration: Duration) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            max_bytes,
            max_duration,
            overflowed: false,
        }
    }

    /// Adds a video frame; a keyframe starts the cache anew.
    pub fn push(&mut self, frame: &Arc<Frame>) {
        if frame.is_keyframe() {
            self.clear();
        } else if self.frames.is_empty() {
            return;
        }
        self.frames.push_back(Arc::clone(frame));
        self.bytes += frame.payload_len();
        if self.bytes > self.max_bytes || self.duration() > self.max_duration {
            self.clear();
            self.overflowed = true;
        }
    }

    /// Forgets everything; newcomers wait for the next keyframe.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.overflowed = false;
    }

    /// The frames, the keyframe first; empty before the first keyframe and after an overflow.
    pub fn frames(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.frames.iter()
    }

    /// Bytes of coded media held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Media time from the keyframe to the newest frame.
    pub fn duration(&self) -> Duration {
        match (self.frames.front(), self.frames.back()) {
            (Some(first), Some(last)) => last.dts().saturating_since(first.dts()),
            _ => Duration::ZERO,
        }
    }

    /// Whether the group of pictures now under way was too large to keep.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use distributary_media::{MediaTime, VideoCodec, VideoFrame};

    fn frame(millis: i64, keyframe: bool, len: usize) -> Arc<Frame> {
        Arc::new(Frame::Video(VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::from_millis(millis),
            dts: MediaTime::from_millis(millis),
            keyframe,
            units: vec![Bytes::from(vec![0; len])],
        }))
    }

    #[test]
    fn a_keyframe_starts_the_cache_anew() {
        let mut cache = GopCache::new(1000, Duration::from_secs(10));
        cache.push(&frame(0, false, 10));
        assert_eq!(
            cache.frames().count(),
            0,
            "nothing can be decoded before a keyframe"
        );
        cache.push(&frame(33, true, 100));
        cache.push(&frame(66, false, 10));
        assert_eq!((cache.frames().count(), cache.bytes()), (2, 110));
        cache.push(&frame(99, true, 50));
        assert_eq!((cache.frames().count(), cache.bytes()), (1, 50));
    }

    #[test]
    fn a_group_over_the_byte_bound_is_given_up_until_the_next_keyframe() {
        let mut cache = GopCache::new(1000, Duration::from_secs(10));
        cache.push(&frame(0, true, 900));
        cache.push(&frame(33, false, 200));
        assert!(cache.overflowed());
        cache.push(&frame(66, false, 1));
        assert_eq!((cache.frames().count(), cache.bytes()), (0, 0));
        cache.push(&frame(99, true, 900));
        assert!(!cache.overflowed());
        assert_eq!(cache.frames().count(), 1);
    }

    #[test]
    fn a_group_over_the_time_bound_is_given_up() {
        let mut cache = GopCache::new(1000, Duration::from_secs(10));
        cache.push(&frame(0, true, 1));
        cache.push(&frame(10_001, false, 1));
        assert!(cache.overflowed());
    }
}
