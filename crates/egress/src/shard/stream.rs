//! A stream as one shard has it.

use std::time::{Duration, Instant};

use distributary_hub::{StreamEvent, Subscription};
use distributary_media::{AudioCodec, Frame, VideoFrame};
use distributary_webrtc::log::{Log, LogLimits};

use super::b_frames::{BFrameFilter, Treatment};
use super::held_audio::{HeldAudio, MAX_WAIT};
use super::late_audio::LateAudio;
use super::renditions::Renditions;
use crate::engine_config::EngineConfig;

/// The next step of a shard after it has logged an event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing.
    None,
    /// Send the media that is due to the viewers at the live edge.
    Send,
    /// Send, and then see whether viewers belong on another form of the stream: its publisher has
    /// come or gone.
    SendAndFollow,
    /// See whether viewers belong on another form of the stream: its renditions have changed.
    Follow,
}

/// The logs of a stream and the viewers that read them.
pub(super) struct ShardStream {
    pub(super) subscription: Subscription,
    pub(super) video: Log,
    pub(super) audio: Log,
    b_frames: BFrameFilter,
    held_audio: HeldAudio,
    late_audio: LateAudio,
    /// The stream that it is a rendition of, if it is one.
    pub(super) source: Option<u64>,
    /// The renditions of the stream; none for a rendition.
    pub(super) renditions: Renditions,
    /// Keys of the viewers that get its video.
    pub(super) viewers: Vec<usize>,
    /// Keys of the viewers that get its audio, and the video of one of its renditions.
    pub(super) listeners: Vec<usize>,
    /// Number of viewers that are about to get its video.
    awaited: usize,
    /// It had no viewers at the last upkeep, and has had none since.
    pub(super) was_unwatched: bool,
    /// When its publisher left, while it is gone.
    offline_since: Option<Instant>,
    /// When the last video frame came.
    last_video: Option<Instant>,
}

impl ShardStream {
    pub(super) fn new(subscription: Subscription, config: &EngineConfig, now: Instant) -> Self {
        let kept = subscription.stream().settings();
        let limits = LogLimits {
            history: config.viewers.history,
            max_gop: kept.cache_duration,
            max_bytes: subscription.stream().gop_limit(),
        };
        let stream = subscription.stream();
        Self {
            b_frames: BFrameFilter::new(stream.b_frame_policy()),
            offline_since: (!stream.is_live()).then_some(now),
            subscription,
            video: Log::new(90_000, limits),
            audio: Log::new(48_000, limits).with_redundancy(config.viewers.audio_red),
            held_audio: HeldAudio::default(),
            late_audio: LateAudio::default(),
            source: None,
            renditions: Renditions::default(),
            viewers: Vec::new(),
            listeners: Vec::new(),
            awaited: 0,
            was_unwatched: false,
            last_video: None,
        }
    }

    /// Logs a delivery of the hub. With `bundle_from` viewers or more, audio waits for the next
    /// video frame: a call to the kernel costs about as much for one audio packet as for a whole
    /// video frame, so they share one.
    pub(super) fn handle(
        &mut self,
        event: &StreamEvent,
        bundle_from: usize,
        now: Instant,
    ) -> Reaction {
        match event {
            StreamEvent::Frame(frame) if self.is_late(frame, now) => Reaction::None,
            StreamEvent::Frame(frame) => {
                self.video.set_padding(self.viewers.len() >= bundle_from);
                match &**frame {
                    Frame::Audio(audio)
                        if audio.codec == AudioCodec::Opus && self.is_bundled(bundle_from, now) =>
                    {
                        if !self.held_audio.push(audio, now) {
                            return Reaction::None;
                        }
                        self.release_audio(now);
                    }
                    frame => self.push(frame, now),
                }
                Reaction::Send
            }
            StreamEvent::Offline => {
                self.note_offline(now);
                Reaction::SendAndFollow
            }
            StreamEvent::Online => {
                self.offline_since = None;
                Reaction::SendAndFollow
            }
            StreamEvent::Gap => {
                self.suspend_gop();
                Reaction::None
            }
            StreamEvent::Renditions => Reaction::Follow,
            StreamEvent::Data(_) => Reaction::None,
        }
    }

    /// Lets viewers that begin now wait for the next video frame.
    pub(super) fn suspend_gop(&mut self) {
        self.video.suspend_gop();
    }

    /// Keeps its video within the limit that memory allows at `now`.
    pub(super) fn bound(&mut self, now: Instant) {
        let limit = self.subscription.stream().gop_limit();
        self.video.bound(limit, now);
    }

    /// Returns the memory of its logs in addition to the payload, in bytes.
    pub(super) fn log_records(&self) -> usize {
        self.video.records() + self.audio.records()
    }

    fn note_offline(&mut self, now: Instant) {
        self.release_audio(now);
        self.offline_since = Some(now);
        // What comes next, if anything, is another publisher's and begins with a keyframe.
        self.video.end_gop();
    }

    /// Corrects whether the publisher is there: an event of the hub is lost when the queue is full.
    pub(super) fn check_publisher(&mut self, now: Instant) {
        match (self.subscription.stream().is_live(), self.offline_since) {
            (true, Some(_)) => self.offline_since = None,
            (false, None) => self.note_offline(now),
            _ => {}
        }
    }

    /// Returns the keys of the viewers that get its video or only its audio.
    pub(super) fn all_viewers(&self) -> impl Iterator<Item = usize> {
        self.viewers.iter().chain(&self.listeners).copied()
    }

    /// Returns whether viewers get it or are about to get it.
    pub(super) fn is_watched(&self) -> bool {
        !self.viewers.is_empty() || !self.listeners.is_empty() || self.is_awaited()
    }

    /// Returns whether viewers are about to get its video.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited > 0
    }

    /// Records that one viewer more is about to get its video.
    pub(super) fn hold(&mut self) {
        self.awaited += 1;
    }

    /// Records that a viewer is not about to get its video any longer.
    pub(super) fn release(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// Returns whether it has had a publisher for longer than `time`.
    pub(super) fn is_live_for(&self, time: Duration, now: Instant) -> bool {
        let since = self.subscription.stream().stats().live_since;
        since.is_some_and(|since| now.saturating_duration_since(since) > time)
    }

    /// Returns whether a frame is audio that comes later than usual.
    fn is_late(&mut self, frame: &Frame, now: Instant) -> bool {
        match frame {
            Frame::Audio(audio) => {
                let epoch = self.subscription.stream().epoch();
                !self.late_audio.admits(audio.pts, epoch, now)
            }
            Frame::Video(_) => false,
        }
    }

    /// Logs a frame.
    pub(super) fn push(&mut self, frame: &Frame, now: Instant) {
        match frame {
            Frame::Video(frame) => {
                self.last_video = Some(now);
                self.push_video(frame, now);
                self.release_audio(now);
            }
            Frame::Audio(frame) if frame.codec == AudioCodec::Opus => {
                self.release_audio(now);
                self.audio.push_audio(frame, now);
            }
            // Other codecs are transcoded to Opus before it comes here.
            Frame::Audio(_) => {}
        }
    }

    fn push_video(&mut self, frame: &VideoFrame, now: Instant) {
        match self.b_frames.treat(frame) {
            Treatment::Send => self.video.push_video(frame, now),
            Treatment::Reorder(depth) => self.video.push_reordered(frame, depth, now),
            Treatment::Drop => {}
        }
    }

    /// Returns whether audio waits for video: there are enough viewers, and video frames come.
    fn is_bundled(&self, from: usize, now: Instant) -> bool {
        let is_recent = |last| now.saturating_duration_since(last) < MAX_WAIT;
        self.viewers.len() >= from && self.last_video.is_some_and(is_recent)
    }

    /// Logs the audio that waits.
    pub(super) fn release_audio(&mut self, now: Instant) {
        self.held_audio.release(&mut self.audio, now);
    }

    /// Returns when the audio has waited long enough for a video frame, if any waits.
    pub(super) fn audio_due(&self) -> Option<Instant> {
        self.held_audio.due()
    }

    /// Returns whether its publisher has been gone for longer than `grace`; never for `None`.
    pub(super) fn is_over(&self, grace: Option<Duration>, now: Instant) -> bool {
        let gone = self.offline_since.zip(grace);
        gone.is_some_and(|(since, grace)| now.saturating_duration_since(since) > grace)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use distributary_hub::{Delivery, Hub, HubConfig, Publisher, Sink};
    use distributary_media::test_util::{opus_frame, video_frame};
    use distributary_names::StreamName;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    /// A stream that a shard has subscribed to.
    struct Live {
        hub: Hub,
        _publisher: Publisher,
        _queue: mpsc::Receiver<Delivery>,
        stream: ShardStream,
    }

    impl Live {
        fn new(start: Instant) -> Self {
            let hub = Hub::new(HubConfig::default());
            let name = StreamName::parse("live/test").unwrap();
            let publisher = hub.publish(&name, start).unwrap();
            let (sink, queue) = Sink::channel(8);
            let (subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
            Self {
                hub,
                _publisher: publisher,
                _queue: queue,
                stream: ShardStream::new(subscription, &EngineConfig::default(), start),
            }
        }
    }

    fn audio(millis: i64) -> StreamEvent {
        StreamEvent::Frame(Arc::new(Frame::Audio(opus_frame(millis, &[0xFC, 7]))))
    }

    fn video() -> StreamEvent {
        StreamEvent::Frame(Arc::new(Frame::Video(video_frame(0, true, 1))))
    }

    #[test]
    fn log_gives_way_while_memory_is_short() {
        let start = Instant::now();
        let Live {
            hub, mut stream, ..
        } = Live::new(start);
        stream.push(&Frame::Video(video_frame(0, true, 3 << 20)), start);
        for second in 0..5 {
            let now = start + Duration::from_secs(second);
            hub.memory().update(90, Some(100), now);
        }
        stream.bound(start);
        assert!(stream.video.bytes() <= 1 << 20, "the least limit");
        assert_eq!(stream.video.keyframe(), None);
        hub.memory().update(90, None, start);
        stream.bound(start);
        stream.push(&Frame::Video(video_frame(40, true, 3 << 20)), start);
        assert!(stream.video.keyframe().is_some());
    }

    #[test]
    fn newcomers_wait_for_the_next_frame_after_a_gap() {
        let start = Instant::now();
        let Live { mut stream, .. } = Live::new(start);
        stream.handle(&video(), 2, start);
        assert_eq!(stream.video.keyframe(), Some(0));
        stream.handle(&StreamEvent::Gap, 2, start);
        assert_eq!(stream.video.keyframe(), None);
        stream.handle(&audio(0), 2, start);
        assert_eq!(stream.video.keyframe(), None);
        stream.handle(&video(), 2, start);
        assert_eq!(stream.video.keyframe(), Some(1));
    }

    #[test]
    fn late_audio_is_not_logged() {
        let start = Instant::now();
        let Live { mut stream, .. } = Live::new(start);
        let mut at = |time: i64, arrival: u64| {
            let now = start + Duration::from_millis(arrival);
            stream.handle(&audio(time), 2, now);
            stream.audio.head()
        };
        for time in 0..300 {
            at(20 * time, 20 * time as u64);
        }
        let before = at(6000, 6000);
        assert_eq!(at(6020, 6420), before, "late");
        assert_eq!(at(6400, 6425), before + 1, "in time again");
    }

    #[test]
    fn audio_waits_briefly_for_video_when_there_are_many_viewers() {
        let start = Instant::now();
        let Live { mut stream, .. } = Live::new(start);
        let at = |stream: &mut ShardStream, event: &StreamEvent, millis: u64| {
            let reaction = stream.handle(event, 2, start + Duration::from_millis(millis));
            reaction != Reaction::None
        };

        stream.viewers = vec![0];
        assert!(at(&mut stream, &video(), 0));
        assert!(at(&mut stream, &audio(0), 5), "one viewer");
        assert_eq!(stream.audio.head(), 1);
        stream.viewers = vec![0, 1];
        assert!(!at(&mut stream, &audio(20), 25));
        assert!(!at(&mut stream, &audio(40), 30));
        let due = start + Duration::from_millis(25) + MAX_WAIT;
        assert_eq!(stream.audio_due(), Some(due));
        assert_eq!(stream.audio.head(), 1, "it waits");
        assert!(at(&mut stream, &video(), 33));
        assert_eq!(stream.audio_due(), None);
        assert_eq!(stream.audio.head(), 2, "two frames in one packet");
        let packet = stream.audio.get(1).unwrap();
        assert_eq!((packet.timestamp, packet.payload.len()), (960, 4));

        assert!(!at(&mut stream, &audio(60), 45));
        stream.release_audio(start + Duration::from_millis(90));
        assert_eq!((stream.audio.head(), stream.audio_due()), (3, None));
        assert!(at(&mut stream, &audio(80), 120), "no video comes");
        assert_eq!(stream.audio.head(), 4);
        assert!(at(&mut stream, &video(), 121));
        assert!(!at(&mut stream, &audio(100), 122));
        assert!(at(&mut stream, &StreamEvent::Offline, 123));
        assert_eq!(stream.audio.head(), 5, "nothing stays behind");
    }
}
