//! The queue in front of a stream's transcoder.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use distributary_media::{AudioFrame, AudioTrack};

/// Maximum bytes of encoded audio in the queue: half a minute at 256 kbit/s. After a stall of the
/// network all of it arrives at once, and is transcoded much faster than it plays.
const MAX_BYTES: usize = 1 << 20;

/// Maximum frames in the queue, half a minute of AAC: small ones take memory too.
const MAX_FRAMES: usize = 1536;

/// An access unit on its way to the transcoder.
#[derive(Debug)]
pub(super) struct QueuedFrame {
    /// The track that the frame belongs to.
    pub(super) track: Arc<AudioTrack>,
    pub(super) frame: AudioFrame,
    /// The time at which it arrived from the publisher.
    pub(super) arrived: Instant,
}

/// A queue that drops the oldest frames when it is full: listeners wait for the newest.
///
/// It is read in turns, of which one is ahead while the queue has frames.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<QueuedFrame>,
    bytes: usize,
    /// Set while a turn is ahead, or not at its end.
    is_due: bool,
    is_closed: bool,
}

/// The result of adding a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// The number of older frames that were dropped for it.
    pub(super) dropped: u64,
    /// The queue needs a turn, and none is ahead.
    pub(super) is_due: bool,
}

impl FrameQueue {
    /// Adds a frame.
    pub(super) fn push(&self, queued: QueuedFrame) -> Pushed {
        let mut state = self.lock();
        let mut dropped = 0;
        if state.is_closed {
            return Pushed {
                dropped,
                is_due: false,
            };
        }
        state.bytes += queued.frame.data.len();
        state.frames.push_back(queued);
        while state.bytes > MAX_BYTES || state.frames.len() > MAX_FRAMES {
            state.take();
            dropped += 1;
        }
        let was_due = std::mem::replace(&mut state.is_due, true);
        Pushed {
            dropped,
            is_due: !was_due,
        }
    }

    /// Returns the next frame.
    pub(super) fn pop(&self) -> Option<QueuedFrame> {
        self.lock().take()
    }

    /// Ends a turn. Returns whether another is needed.
    pub(super) fn end_turn(&self) -> bool {
        let mut state = self.lock();
        state.is_due = !state.frames.is_empty();
        state.is_due
    }

    /// Closes the queue and drops the frames in it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.frames.clear();
        state.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<QueuedFrame> {
        let queued = self.frames.pop_front()?;
        self.bytes -= queued.frame.data.len();
        Some(queued)
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
    use distributary_media::{AudioCodec, MediaTime};

    fn frame(millis: i64, len: usize) -> QueuedFrame {
        let track = AudioTrack {
            codec: AudioCodec::Aac,
            sample_rate: 48_000,
            channels: 2,
            config: Bytes::new(),
        };
        QueuedFrame {
            track: Arc::new(track),
            frame: AudioFrame {
                codec: AudioCodec::Aac,
                pts: MediaTime::from_millis(millis),
                data: Bytes::from(vec![0; len]),
            },
            arrived: Instant::now(),
        }
    }

    #[test]
    fn full_queue_drops_the_oldest_frames() {
        for len in [1, 2 * MAX_BYTES / MAX_FRAMES] {
            let queue = FrameQueue::default();
            let dropped: u64 = (0..2 * MAX_FRAMES as i64)
                .map(|n| queue.push(frame(n, len)).dropped)
                .sum();
            let kept = 2 * MAX_FRAMES as u64 - dropped;
            assert!(kept <= MAX_FRAMES as u64 && kept * len as u64 <= MAX_BYTES as u64);
            assert!(dropped > 0);
            for n in dropped..2 * MAX_FRAMES as u64 {
                let pts = queue.pop().unwrap().frame.pts;
                assert_eq!(pts, MediaTime::from_millis(n as i64));
            }
        }
    }

    #[test]
    fn one_turn_is_ahead_while_there_are_frames() {
        let queue = FrameQueue::default();
        let is_due = |millis| queue.push(frame(millis, 1)).is_due;
        assert_eq!([is_due(0), is_due(1)], [true, false]);
        assert!(queue.pop().is_some() && queue.end_turn());
        assert!(queue.pop().is_some());
        assert!(!is_due(2), "the turn has not ended");
        assert!(queue.end_turn());
        assert!(queue.pop().is_some() && !queue.end_turn());
        assert!(is_due(3));
    }

    #[test]
    fn closed_queue_is_empty_and_needs_no_turn() {
        let queue = FrameQueue::default();
        queue.push(frame(0, 1));
        queue.close();
        assert!(queue.pop().is_none() && !queue.end_turn());
        assert!(!queue.push(frame(1, 1)).is_due);
        assert!(queue.pop().is_none());
    }
}
