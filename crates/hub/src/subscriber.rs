//! The output of the hub: one bounded queue per subscriber, and a rule for when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use distributary_media::{Frame, TimedData};
use tokio::sync::mpsc;

/// An event of a stream for its subscribers.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// The next frame of a track, on the stream's continuous timeline.
    Frame(Arc<Frame>),
    /// Timed data of the publisher, on that timeline.
    Data(Arc<TimedData>),
    /// The publisher has left. Frames may follow when it reconnects; the timeline continues.
    Offline,
    /// There is a publisher again.
    Online,
    /// The video so far is old, and frames after it are missing, or another publisher takes over.
    /// Viewers that begin now wait for the next video frame: it continues the video, or is a keyframe.
    Gap,
    /// The list of the stream's renditions has changed: see
    /// [`Hub::renditions`](crate::Hub::renditions).
    Renditions,
}

/// One queued event, with the tag of the subscription.
#[derive(Debug)]
pub struct Delivery {
    /// The subscriber's own identifier of the stream.
    pub tag: u64,
    /// The event.
    pub event: StreamEvent,
    /// Time at which a video frame arrived from its publisher; `None` for all other events.
    pub arrived: Option<Instant>,
    /// Returns the stream's slot in the queue when the delivery is dropped.
    _slot: Slot,
}

/// One of a stream's slots in a subscriber's queue. Their limit keeps one stream from filling the
/// queue for the others.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The form in which a subscriber receives audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudioForm {
    /// Opus: published audio is transcoded while a subscriber receives this form.
    #[default]
    Opus,
    /// As published.
    Published,
    /// No audio.
    Without,
}

/// The sending half of a subscriber's queue. Many streams can share one queue.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: mpsc::Sender<Delivery>,
    audio: AudioForm,
    has_video: bool,
}

impl Sink {
    /// Returns a queue for `capacity` deliveries, all streams together, with audio as Opus.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Delivery>) {
        let (queue, receiver) = mpsc::channel(capacity);
        let sink = Self {
            queue,
            audio: AudioForm::default(),
            has_video: true,
        };
        (sink, receiver)
    }

    /// Returns the same queue, with audio in this form.
    #[must_use]
    pub fn with_audio(self, audio: AudioForm) -> Self {
        Self { audio, ..self }
    }

    /// Returns the same queue, without video.
    #[must_use]
    pub fn without_video(self) -> Self {
        let has_video = false;
        Self { has_video, ..self }
    }
}

/// A stream's side of one subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) id: u64,
    tag: u64,
    sink: Sink,
    /// Deliveries of this stream in the queue now.
    queued: Arc<AtomicUsize>,
    /// Maximum deliveries of this stream in the queue.
    limit: usize,
    /// Set when a video frame was dropped: what follows cannot be decoded before a keyframe.
    awaiting_keyframe: bool,
    /// Loss of audio packets behind it, in percent.
    audio_loss: u8,
}

impl Subscriber {
    pub(crate) fn new(id: u64, tag: u64, sink: Sink, limit: usize) -> Self {
        Self {
            id,
            tag,
            sink,
            queued: Arc::default(),
            limit,
            awaiting_keyframe: false,
            audio_loss: 0,
        }
    }

    pub(crate) fn audio_loss(&self) -> u8 {
        self.audio_loss
    }

    pub(crate) fn set_audio_loss(&mut self, percent: u8) {
        self.audio_loss = percent;
    }

    /// Returns the form in which it receives audio.
    pub(crate) fn audio_form(&self) -> AudioForm {
        self.sink.audio
    }

    /// Returns whether it receives video.
    pub(crate) fn has_video(&self) -> bool {
        self.sink.has_video
    }

    /// Queues a frame, or drops it when the subscriber is behind. Returns whether it was queued.
    pub(crate) fn deliver_frame(&mut self, frame: &Arc<Frame>, arrived: Option<Instant>) -> bool {
        let is_video = matches!(**frame, Frame::Video(_));
        if is_video && self.awaiting_keyframe && !frame.is_keyframe() {
            return false;
        }
        let queued = self.enqueue(StreamEvent::Frame(Arc::clone(frame)), arrived);
        if is_video {
            self.awaiting_keyframe = !queued;
        }
        queued
    }

    /// Queues timed data. Half of the stream's slots are kept for frames, so that a flood of data
    /// cannot displace them. Returns whether it was queued.
    pub(crate) fn deliver_data(&self, data: &Arc<TimedData>) -> bool {
        let has_room = self.queued.load(Ordering::Relaxed) < self.limit.div_ceil(2);
        has_room && self.deliver(StreamEvent::Data(Arc::clone(data)))
    }

    /// Queues an event if there is room. Returns whether it was queued.
    pub(crate) fn deliver(&self, event: StreamEvent) -> bool {
        self.enqueue(event, None)
    }

    fn enqueue(&self, event: StreamEvent, arrived: Option<Instant>) -> bool {
        if self.queued.load(Ordering::Relaxed) >= self.limit {
            return false;
        }
        self.queued.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(Arc::clone(&self.queued));
        let delivery = Delivery {
            tag: self.tag,
            event,
            arrived,
            _slot: slot,
        };
        self.sink.queue.try_send(delivery).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_media::MediaTime;
    use distributary_media::test_util::{opus_frame, video_frame};

    fn video(keyframe: bool) -> Arc<Frame> {
        Arc::new(Frame::Video(video_frame(0, keyframe, 1)))
    }

    fn audio() -> Arc<Frame> {
        Arc::new(Frame::Audio(opus_frame(0, &[1])))
    }

    #[test]
    fn video_continues_at_a_keyframe_after_a_drop_and_audio_at_once() {
        let (sink, mut queue) = Sink::channel(16);
        let mut subscriber = Subscriber::new(1, 7, sink, 2);
        assert!(subscriber.deliver_frame(&video(true), None));
        assert!(subscriber.deliver_frame(&video(false), None));
        assert!(
            !subscriber.deliver_frame(&video(false), None),
            "the stream's slots are full"
        );

        assert_eq!(queue.try_recv().unwrap().tag, 7);
        queue.try_recv().unwrap();
        assert!(
            !subscriber.deliver_frame(&video(false), None),
            "cannot be decoded"
        );
        assert!(subscriber.deliver_frame(&audio(), None));
        assert!(subscriber.deliver_frame(&video(true), None));
    }

    #[test]
    fn flood_of_data_leaves_room_for_frames() {
        let (sink, _queue) = Sink::channel(16);
        let mut subscriber = Subscriber::new(1, 0, sink, 4);
        let data = Arc::new(TimedData {
            time: MediaTime::ZERO,
            name: "onTextData".into(),
            values: Vec::new(),
        });
        let queued = (0..10).filter(|_| subscriber.deliver_data(&data)).count();
        assert_eq!(queued, 2);
        assert!(subscriber.deliver_frame(&video(true), None));
    }

    #[test]
    fn closed_queue_accepts_nothing() {
        let (sink, queue) = Sink::channel(16);
        let mut subscriber = Subscriber::new(1, 0, sink, 2);
        drop(queue);
        for _ in 0..5 {
            assert!(!subscriber.deliver_frame(&video(true), None));
        }
        assert_eq!(
            subscriber.queued.load(Ordering::Relaxed),
            0,
            "failed sends return their slot"
        );
    }
}
