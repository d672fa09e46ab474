//! The memory of one stream's frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use distributary_media::Frame;

use super::Memory;

/// Counts the memory of one stream's frames, and refuses more than a limit.
#[derive(Debug)]
pub(crate) struct StreamMemory {
    limit: usize,
    held: AtomicUsize,
    all: Arc<Memory>,
}

/// The memory of one frame, given back when it is dropped.
#[derive(Debug)]
struct Held {
    bytes: usize,
    stream: Arc<StreamMemory>,
}

impl StreamMemory {
    /// Returns the count of a stream, whose frames may hold `limit` bytes; 0 means no limit.
    pub(crate) fn new(limit: usize, all: Arc<Memory>) -> Self {
        Self {
            limit: if limit == 0 { usize::MAX } else { limit },
            held: AtomicUsize::new(0),
            all,
        }
    }

    /// Returns the maximum size of the stream's GOP cache, and of its log in each shard, now:
    /// `configured`, but no more than half of the stream's memory. Both together then leave room
    /// for a keyframe, with which they are renewed.
    pub(crate) fn gop_limit(&self, configured: usize) -> usize {
        configured.min(self.limit / 2).min(self.all.gop_limit())
    }

    /// Returns whether a frame of `bytes` has room.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.held().saturating_add(bytes) <= self.limit
    }

    /// Counts a frame until its last slice is gone, whoever keeps it. Returns `false`, and counts
    /// nothing, if there is no room.
    ///
    /// One publisher at a time calls this, under the lock of the stream.
    pub(crate) fn hold(self: &Arc<Self>, frame: &mut Frame) -> bool {
        let bytes = frame.memory();
        if !self.has_room(bytes) {
            return false;
        }
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.all.media.fetch_add(bytes, Ordering::Relaxed);
        frame.attach(Held {
            bytes,
            stream: Arc::clone(self),
        });
        true
    }

    /// Returns the bytes of the stream's frames in memory.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.stream.held.fetch_sub(self.bytes, Ordering::Relaxed);
        let all = &self.stream.all.media;
        all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::test_util::video_frame;

    #[test]
    fn frame_counts_until_its_last_slice_is_gone() {
        let all = Arc::<Memory>::default();
        let stream = Arc::new(StreamMemory::new(0, Arc::clone(&all)));
        let mut frame = Frame::Video(video_frame(0, true, 10_000));
        let memory = frame.memory();
        assert!(stream.hold(&mut frame));
        let copy = frame.clone();
        let Frame::Video(video) = frame else {
            panic!("a video frame was made")
        };
        let slice = video.units[0].slice(5..6);
        drop((copy, video));
        assert_eq!((stream.held(), all.media()), (memory, memory));
        drop(slice);
        assert_eq!((stream.held(), all.media()), (0, 0));
    }

    #[test]
    fn stream_holds_no_more_than_its_limit() {
        let stream = Arc::new(StreamMemory::new(25_000, Arc::default()));
        let frames: Vec<_> = (0..5)
            .filter_map(|at| {
                let mut frame = Frame::Video(video_frame(at, true, 10_000));
                stream.hold(&mut frame).then_some(frame)
            })
            .collect();
        assert_eq!(frames.len(), 2);
        drop(frames);
        assert!(stream.has_room(25_000) && !stream.has_room(25_001));
        assert_eq!(stream.gop_limit(usize::MAX), 12_500);
        assert_eq!(stream.gop_limit(1000), 1000);
    }
}
