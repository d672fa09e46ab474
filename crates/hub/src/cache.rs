//! The group of pictures (GOP) cache: the frames that a new viewer needs to start at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime};

/// Maximum frames in the cache: two minutes at 60 frames per second. A larger GOP is not kept,
/// since a new viewer would take too long to decode it.
pub const MAX_FRAMES: usize = 8192;

/// The limit that a GOP has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its size in bytes.
    Bytes,
    /// Its duration, by the publisher's clock or ours.
    Duration,
    /// Its number of frames, [`MAX_FRAMES`].
    Frames,
    /// The memory of the gateway, or of the stream, is short.
    Memory,
}

/// The video frames since the last keyframe, in decoding order. Once the GOP of a stream with intra
/// refresh is long, the keyframe and the frames since the last entry point (see
/// [`VideoFrame::is_entry_point`](distributary_media::VideoFrame::is_entry_point)).
///
/// Every kind of subscriber starts with these frames: shards, RTMP players and transcoders. A shard
/// has the GOP in its log as well, in packets: its viewers start there, without the lock of the
/// stream and without packetizing the GOP again for each of them. Both hold slices of the same
/// payload, so the media is in memory once.
///
/// Limited in bytes of memory, in seconds (of media and of arrival), and in frames. A GOP that
/// exceeds a limit is dropped as a whole: a part of it could not be decoded, so new viewers then
/// wait for the next keyframe.
#[derive(Debug)]
pub struct GopCache {
    frames: VecDeque<Arc<Frame>>,
    /// Decoding time of the first frame that is followed without a gap, and its time of arrival.
    since: Option<(MediaTime, Instant)>,
    bytes: usize,
    max_bytes: usize,
    /// Maximum bytes while memory is short.
    short_of_memory: usize,
    max_duration: Duration,
    overflow: Option<Overflow>,
    /// New viewers wait for the next frame.
    is_suspended: bool,
}

impl GopCache {
    /// Returns an empty cache that holds at most `max_bytes` of memory and `max_duration` of time.
    pub fn new(max_bytes: usize, max_duration: Duration) -> Self {
        Self {
            frames: VecDeque::new(),
            since: None,
            bytes: 0,
            max_bytes,
            short_of_memory: usize::MAX,
            max_duration,
            overflow: None,
            is_suspended: false,
        }
    }

    /// Adds a video frame that arrived at `now`. A keyframe replaces all earlier frames.
    pub fn push(&mut self, frame: &Arc<Frame>, now: Instant) {
        self.is_suspended = false;
        if frame.is_keyframe() {
            self.clear();
            self.since = Some((frame.dts(), now));
        } else if self.frames.is_empty() {
            return;
        } else if frame.is_entry_point(&self.frames[0]) {
            self.frames.truncate(1);
            self.bytes = self.frames.iter().map(|frame| frame.memory()).sum();
            self.since = Some((frame.dts(), now));
        }
        self.frames.push_back(Arc::clone(frame));
        self.bytes += frame.memory();
        let overflow = if self.bytes > self.max_bytes {
            Overflow::Bytes
        } else if self.bytes > self.short_of_memory {
            Overflow::Memory
        } else if self.duration().max(self.age(now)) > self.max_duration {
            Overflow::Duration
        } else if self.frames.len() > MAX_FRAMES {
            Overflow::Frames
        } else {
            return;
        };
        self.overflow_by(overflow);
    }

    /// Limits the bytes for as long as memory is short; `usize::MAX` is no limit. A GOP over the
    /// limit is dropped.
    pub fn limit(&mut self, max_bytes: usize) {
        self.short_of_memory = max_bytes;
        if self.bytes > max_bytes {
            self.overflow_by(Overflow::Memory);
        }
    }

    /// Drops the GOP because of this limit.
    pub fn overflow_by(&mut self, overflow: Overflow) {
        self.clear();
        self.overflow = Some(overflow);
    }

    /// Notes that the frames are old, and others are missing after them, until the next frame shows
    /// whether it continues them.
    pub fn suspend(&mut self) {
        self.is_suspended = true;
    }

    /// Returns whether they are suspended: new viewers wait for the next frame. Subscribers get them all
    /// the same, because that frame may need them.
    pub fn is_suspended(&self) -> bool {
        self.is_suspended
    }

    /// Drops all frames; new viewers wait for the next keyframe.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.overflow = None;
        self.is_suspended = false;
    }

    /// Returns the frames, the keyframe first; empty before the first keyframe and after an
    /// overflow.
    pub fn frames(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.frames.iter()
    }

    /// Returns the decoding time of the first frame that is followed without a gap.
    pub fn since(&self) -> Option<MediaTime> {
        let (since, _) = self.since.filter(|_| !self.frames.is_empty())?;
        Some(since)
    }

    /// Returns the bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the media time from the first frame followed without a gap to the newest.
    pub fn duration(&self) -> Duration {
        match (self.frames.back(), self.since) {
            (Some(last), Some((since, _))) => last.dts().saturating_since(since),
            _ => Duration::ZERO,
        }
    }

    /// Returns the time since the first frame arrived, whatever the publisher's clock says.
    fn age(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |(_, came)| {
            now.saturating_duration_since(came)
        })
    }

    /// Returns the limit that the current GOP has exceeded, if it is not kept.
    pub fn overflow(&self) -> Option<Overflow> {
        self.overflow
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use distributary_media::test_util::video_frame;

    fn frame(millis: i64, keyframe: bool, len: usize) -> Arc<Frame> {
        Arc::new(Frame::Video(video_frame(millis, keyframe, len)))
    }

    #[test]
    fn keyframe_replaces_earlier_frames() {
        let mut cache = GopCache::new(10_000, Duration::from_secs(10));
        let now = Instant::now();
        cache.push(&frame(0, false, 10), now);
        assert_eq!(
            cache.frames().count(),
            0,
            "nothing can be decoded before a keyframe"
        );
        cache.push(&frame(33, true, 100), now);
        cache.push(&frame(66, false, 10), now);
        assert_eq!(cache.frames().count(), 2);
        cache.push(&frame(99, true, 50), now);
        assert_eq!(cache.frames().count(), 1);
        assert_eq!(cache.bytes(), frame(99, true, 50).memory());
    }

    #[test]
    fn gop_is_suspended_until_the_next_frame_and_kept() {
        let mut cache = GopCache::new(10_000, Duration::from_secs(10));
        let now = Instant::now();
        cache.push(&frame(0, true, 10), now);
        for millis in [33, 66] {
            cache.push(&frame(millis, false, 10), now);
            assert!(!cache.is_suspended());
            cache.suspend();
            assert!(cache.is_suspended());
        }
        assert_eq!(
            cache.frames().count(),
            3,
            "the frame after a gap continues them"
        );
        cache.push(&frame(2_000, true, 10), now);
        assert!(!cache.is_suspended());
    }

    #[test]
    fn gop_over_the_byte_limit_is_dropped_until_the_next_keyframe() {
        let mut cache = GopCache::new(10_000, Duration::from_secs(10));
        let now = Instant::now();
        cache.push(&frame(0, true, 8_000), now);
        cache.push(&frame(33, false, 2_000), now);
        assert_eq!(cache.overflow(), Some(Overflow::Bytes));
        cache.push(&frame(66, false, 1), now);
        assert_eq!((cache.frames().count(), cache.bytes()), (0, 0));
        cache.push(&frame(99, true, 8_000), now);
        assert_eq!(cache.overflow(), None);
        assert_eq!(cache.frames().count(), 1);
    }

    #[test]
    fn gop_is_dropped_while_memory_is_short() {
        let mut cache = GopCache::new(100_000, Duration::from_secs(10));
        let now = Instant::now();
        cache.push(&frame(0, true, 8_000), now);
        cache.limit(50_000);
        assert_eq!((cache.frames().count(), cache.overflow()), (1, None));
        cache.limit(5_000);
        let overflow = Some(Overflow::Memory);
        assert_eq!((cache.frames().count(), cache.overflow()), (0, overflow));
        cache.push(&frame(33, true, 8_000), now);
        assert_eq!((cache.bytes(), cache.overflow()), (0, overflow));
        cache.limit(usize::MAX);
        cache.push(&frame(66, true, 8_000), now);
        assert_eq!((cache.frames().count(), cache.overflow()), (1, None));
    }

    #[test]
    fn gop_over_the_time_limit_is_dropped() {
        let mut cache = GopCache::new(10_000, Duration::from_secs(10));
        let now = Instant::now();
        cache.push(&frame(0, true, 1), now);
        cache.push(&frame(10_001, false, 1), now);
        assert_eq!(cache.overflow(), Some(Overflow::Duration));
        // Timestamps that hardly advance do not avoid the limit.
        cache.push(&frame(20_000, true, 1), now);
        cache.push(
            &frame(20_001, false, 1),
            now + Duration::from_millis(10_001),
        );
        assert_eq!(cache.overflow(), Some(Overflow::Duration));
    }

    #[test]
    fn small_frames_are_limited_by_their_number_and_memory() {
        let now = Instant::now();
        let mut cache = GopCache::new(usize::MAX, Duration::from_secs(10));
        cache.push(&frame(0, true, 1), now);
        for _ in 0..MAX_FRAMES {
            cache.push(&frame(0, false, 1), now);
        }
        assert_eq!(cache.overflow(), Some(Overflow::Frames));
        let mut cache = GopCache::new(100_000, Duration::from_secs(10));
        cache.push(&frame(0, true, 1), now);
        for _ in 0..1000 {
            cache.push(&frame(0, false, 1), now);
        }
        assert_eq!(cache.overflow(), Some(Overflow::Bytes));
    }

    #[test]
    fn long_gop_is_cut_at_the_last_recovery_point() {
        let mut cache = GopCache::new(100_000, Duration::from_secs(15));
        let recovery_point = |millis: i64| {
            let Frame::Video(mut frame) = Arc::unwrap_or_clone(frame(millis, false, 10)) else {
                unreachable!("a video frame was made")
            };
            frame.info.recovery_point = true;
            Arc::new(Frame::Video(frame))
        };
        let now = Instant::now();
        cache.push(&frame(0, true, 100), now);
        for second in 1..60 {
            let is_point = second % 2 == 0;
            let millis = 1000 * second;
            let next = if is_point {
                recovery_point(millis)
            } else {
                frame(millis, false, 10)
            };
            cache.push(&next, now + Duration::from_millis(millis as u64));
            let cached: Vec<_> = cache
                .frames()
                .map(|frame| frame.dts().as_millis())
                .collect();
            match second {
                10 => assert_eq!(cached.len(), 11, "the GOP is not long yet"),
                12 | 58 => assert_eq!(cached, [0, millis]),
                13 | 59 => assert_eq!(cached, [0, millis - 1000, millis]),
                _ => {}
            }
        }
        assert_eq!(cache.duration().as_millis(), 1000);
        let kept = [
            frame(0, true, 100),
            recovery_point(58_000),
            frame(59_000, false, 10),
        ];
        let memory: usize = kept.iter().map(|frame| frame.memory()).sum();
        assert_eq!(cache.bytes(), memory);
        assert_eq!(cache.overflow(), None);
    }
}
