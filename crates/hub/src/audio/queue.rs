//! The queue in front of the audio thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use distributary_media::{AudioFrame, AudioTrack};

/// Maximum bytes of encoded audio in the queue: half a minute at 256 kbit/s. After a stall of the
/// network all of it arrives at once, and is transcoded much faster than it plays.
const MAX_BYTES: usize = 1 << 20;

/// Maximum frames in the queue, half a minute of AAC: small ones take memory too.
const MAX_FRAMES: usize = 1536;

/// An access unit on its way to the thread.
#[derive(Debug)]
pub(super) struct QueuedFrame {
    /// The track that the frame belongs to.
    pub(super) track: Arc<AudioTrack>,
    pub(super) frame: AudioFrame,
    /// The time at which it arrived from the publisher.
    pub(super) arrived: Instant,
}

/// A queue that drops the oldest frames when it is full: listeners wait for the newest.
#[derive(Debug, Default)]
pub(super) struct FrameQueue {
    state: Mutex<State>,
    /// Signalled when a frame is added or the queue is closed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<QueuedFrame>,
    bytes: usize,
    is_closed: bool,
}

impl FrameQueue {
    /// Adds a frame. Never waits for the thread; returns the number of older frames dropped for it.
    pub(super) fn push(&self, queued: QueuedFrame) -> u64 {
        let mut state = self.lock();
        state.bytes += queued.frame.data.len();
        state.frames.push_back(queued);
        let mut dropped = 0;
        while state.bytes > MAX_BYTES || state.frames.len() > MAX_FRAMES {
            state.take();
            dropped += 1;
        }
        drop(state);
        self.changed.notify_one();
        dropped
    }

    /// Waits for the next frame. Returns `None` when the queue is closed.
    pub(super) fn pop(&self) -> Option<QueuedFrame> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(queued) = state.take() {
                return Some(queued);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Closes the queue and drops the frames in it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.frames.clear();
        drop(state);
        self.changed.notify_one();
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
                .map(|n| queue.push(frame(n, len)))
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
    fn closed_queue_returns_nothing_and_wakes_its_reader() {
        let queue = Arc::new(FrameQueue::default());
        let reader = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || queue.pop().is_none())
        };
        queue.close();
        assert!(reader.join().unwrap());
        queue.push(frame(0, 1));
        assert!(queue.pop().is_none());
    }
}
