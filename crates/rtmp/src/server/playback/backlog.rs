//! The send queue of an RTMP player.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::StreamEvent;
use distributary_media::Frame;
use tokio::time::Instant;

/// Maximum bytes of memory that wait for one player, in addition to the GOP that it starts with. Frames are
/// shared with the stream's cache and other players, so these are bytes of the stream's last
/// seconds.
const MAX_BYTES: usize = 32 << 20;

/// Maximum events that wait for one player, in addition to the GOP that it starts with.
const MAX_EVENTS: usize = 8192;

/// Time that a player may be behind before it skips to the next keyframe.
const MAX_BEHIND: Duration = Duration::from_secs(5);

/// A queue that skips to a keyframe when it grows too long or the player is behind for too long.
#[derive(Debug)]
pub(crate) struct Backlog {
    events: VecDeque<StreamEvent>,
    bytes: usize,
    /// The frames that the player starts with, which do not count until they are sent.
    start: (usize, usize),
    /// Time since which events have been waiting.
    behind_since: Option<Instant>,
    /// True if video was dropped that has no keyframe after it.
    awaiting_keyframe: bool,
    skipped: u64,
    skips: u64,
}

impl Backlog {
    /// Returns a queue that starts with these frames.
    pub(crate) fn new(start: Vec<Arc<Frame>>) -> Self {
        let mut backlog = Self {
            events: VecDeque::with_capacity(start.len()),
            bytes: 0,
            start: (0, 0),
            behind_since: None,
            awaiting_keyframe: false,
            skipped: 0,
            skips: 0,
        };
        for frame in start {
            backlog.append(StreamEvent::Frame(frame));
        }
        backlog.start = (backlog.bytes, backlog.events.len());
        backlog
    }

    /// Queues an event.
    pub(crate) fn push(&mut self, event: StreamEvent) {
        if let StreamEvent::Frame(frame) = &event
            && matches!(**frame, Frame::Video(_))
        {
            if frame.is_keyframe() {
                self.awaiting_keyframe = false;
                if self.is_behind() {
                    self.skip_to(self.events.len());
                }
            } else if self.awaiting_keyframe {
                self.skipped += 1;
                return;
            }
        }
        self.append(event);
        let (bytes, events) = self.start;
        if self.bytes > bytes + MAX_BYTES || self.events.len() > events + MAX_EVENTS {
            let keyframe = self.events.iter().rposition(is_keyframe);
            let keyframe = keyframe.filter(|&at| at > 0);
            self.awaiting_keyframe = keyframe.is_none();
            self.skip_to(keyframe.unwrap_or(self.events.len()));
        }
    }

    /// Returns the next event for the player.
    pub(crate) fn pop(&mut self) -> Option<StreamEvent> {
        let event = self.events.pop_front()?;
        self.bytes -= size(&event);
        if self.events.is_empty() {
            self.behind_since = None;
            self.start = (0, 0);
        }
        Some(event)
    }

    /// Returns whether the queue is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns the number of skipped frames.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns the number of skips to the next keyframe.
    pub(crate) fn skips(&self) -> u64 {
        self.skips
    }

    fn is_behind(&self) -> bool {
        self.behind_since
            .is_some_and(|since| since.elapsed() >= MAX_BEHIND)
    }

    fn append(&mut self, event: StreamEvent) {
        self.behind_since.get_or_insert_with(Instant::now);
        self.bytes += size(&event);
        self.events.push_back(event);
    }

    /// Drops all events before this index.
    fn skip_to(&mut self, index: usize) {
        self.skips += 1;
        for event in self.events.drain(..index) {
            self.bytes -= size(&event);
            self.skipped += u64::from(matches!(event, StreamEvent::Frame(_)));
        }
        self.start = (0, 0);
        self.behind_since = (!self.events.is_empty()).then(Instant::now);
    }
}

fn is_keyframe(event: &StreamEvent) -> bool {
    matches!(event, StreamEvent::Frame(frame) if frame.is_keyframe())
}

fn size(event: &StreamEvent) -> usize {
    match event {
        StreamEvent::Frame(frame) => frame.memory(),
        StreamEvent::Data(data) => data.memory(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use distributary_media::test_util::video_frame;
    use distributary_media::{AudioCodec, AudioFrame, MediaTime, TimedData};

    fn video(number: i64, keyframe: bool, len: usize) -> StreamEvent {
        let frame = video_frame(number, keyframe, len);
        StreamEvent::Frame(Arc::new(Frame::Video(frame)))
    }

    fn audio(number: i64) -> StreamEvent {
        StreamEvent::Frame(Arc::new(Frame::Audio(AudioFrame {
            codec: AudioCodec::Aac,
            pts: MediaTime::from_millis(number),
            data: Bytes::from_static(&[1]),
        })))
    }

    fn times(backlog: &mut Backlog) -> Vec<i64> {
        let events = std::iter::from_fn(|| backlog.pop());
        events
            .filter_map(|event| match event {
                StreamEvent::Frame(frame) => Some(frame.dts().as_millis()),
                _ => None,
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn player_that_keeps_up_gets_everything() {
        let mut backlog = Backlog::new(Vec::new());
        for second in 0..20 {
            backlog.push(video(second, true, 10));
            assert_eq!(times(&mut backlog), [second]);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(backlog.skipped(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn player_that_falls_behind_continues_at_the_next_keyframe() {
        let mut backlog = Backlog::new(Vec::new());
        backlog.push(video(0, true, 10));
        backlog.push(video(1, false, 10));
        tokio::time::advance(MAX_BEHIND).await;
        backlog.push(audio(2));
        backlog.push(video(3, false, 10));
        backlog.push(video(4, true, 10));
        backlog.push(video(5, false, 10));
        assert_eq!(times(&mut backlog), [4, 5]);
        assert_eq!(backlog.skipped(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_limited_and_a_long_gop_is_dropped_up_to_the_next_keyframe() {
        let mut backlog = Backlog::new(Vec::new());
        let half = MAX_BYTES / 2;
        backlog.push(video(0, true, half));
        backlog.push(video(1, true, half));
        backlog.push(video(2, false, 1));
        assert_eq!(backlog.skipped(), 1, "one keyframe too many");
        backlog.push(video(3, false, half));
        backlog.push(video(4, false, 1));
        backlog.push(audio(5));
        assert_eq!(backlog.bytes, size(&audio(5)), "audio goes on at once");
        backlog.push(video(6, true, 1));
        assert_eq!(times(&mut backlog), [5, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn initial_gop_does_not_count_against_the_limit() {
        let start = (0..3).map(|n| match video(n, n == 0, MAX_BYTES) {
            StreamEvent::Frame(frame) => frame,
            _ => unreachable!(),
        });
        let mut backlog = Backlog::new(start.collect());
        backlog.push(video(3, false, 1));
        assert_eq!(times(&mut backlog), [0, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_of_timed_data_is_limited() {
        let mut backlog = Backlog::new(Vec::new());
        let data = Arc::new(TimedData {
            time: MediaTime::ZERO,
            name: "onTextData".to_owned(),
            values: vec!["x".repeat(128 << 10).into()],
        });
        for _ in 0..2 * (MAX_BYTES >> 17) {
            backlog.push(StreamEvent::Data(Arc::clone(&data)));
            assert!(backlog.events.len() <= MAX_BYTES >> 17);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_events_is_limited() {
        let mut backlog = Backlog::new(Vec::new());
        for n in 0..3 * MAX_EVENTS as i64 {
            backlog.push(audio(n));
            assert!(backlog.events.len() <= MAX_EVENTS);
        }
    }
}
