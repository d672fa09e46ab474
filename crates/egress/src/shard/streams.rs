//! The streams that a shard's viewers watch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use distributary_hub::{Hub, Sink, StreamEvent, StreamName, Subscription};
use distributary_media::audio::packet;
use distributary_media::{AudioCodec, AudioFrame, Frame, VideoFrame};

use super::pictures::{Pictures, Treatment};
use crate::engine::EngineConfig;
use distributary_webrtc::log::{Log, MAX_PAYLOAD};

/// How long sound waits for a picture at most: as long as the pictures of any usual rate are apart.
const MAX_SOUND_WAIT: Duration = Duration::from_millis(45);

/// Most blocks of sound that wait.
const MAX_WAITING: usize = 8;

/// A stream as one shard has it.
pub(super) struct ShardStream {
    pub(super) subscription: Subscription,
    pub(super) video: Log,
    pub(super) audio: Log,
    pictures: Pictures,
    /// Keys of the viewers that watch it.
    pub(super) viewers: Vec<usize>,
    offline_since: Option<Instant>,
    /// When the last picture came.
    last_picture: Option<Instant>,
    /// Sound that waits for the next picture, and since when.
    waiting: Vec<AudioFrame>,
    waiting_since: Option<Instant>,
    /// When its rendition was asked for last.
    requested: Option<Instant>,
}

impl ShardStream {
    fn new(subscription: Subscription, config: &EngineConfig) -> Self {
        let limits = config.log;
        Self {
            pictures: Pictures::new(subscription.stream().b_frame_policy()),
            subscription,
            video: Log::new(90_000, limits),
            audio: Log::new(48_000, limits).with_redundancy(config.audio_red),
            viewers: Vec::new(),
            offline_since: None,
            last_picture: None,
            waiting: Vec::new(),
            waiting_since: None,
            requested: None,
        }
    }

    /// Logs what the hub delivered. Returns whether there is something to send now: with `bundle_from`
    /// viewers or more, sound waits for the next picture. A call to the kernel costs about as much for
    /// a block of sound as for a whole picture, so they share one.
    pub(super) fn handle(&mut self, event: &StreamEvent, bundle_from: usize, now: Instant) -> bool {
        match event {
            StreamEvent::Frame(frame) => {
                self.video.set_padding(self.viewers.len() >= bundle_from);
                match &**frame {
                    Frame::Audio(sound) if self.is_bundled(bundle_from, now) => {
                        self.hold(sound, now)
                    }
                    frame => {
                        self.push(frame, now);
                        true
                    }
                }
            }
            StreamEvent::Offline => {
                self.note_offline(now);
                true
            }
            StreamEvent::Online => {
                self.offline_since = None;
                false
            }
            _ => false,
        }
    }

    fn note_offline(&mut self, now: Instant) {
        self.release_sound(now);
        self.offline_since = Some(now);
        // What comes next, if anything, is another publisher's and begins with a keyframe.
        self.video.end_group();
    }

    /// Looks whether its publisher is there: what the hub told of it was lost if the queue was full.
    fn notice_publisher(&mut self, now: Instant) {
        match (self.subscription.stream().is_live(), self.offline_since) {
            (true, Some(_)) => self.offline_since = None,
            (false, None) => self.note_offline(now),
            _ => {}
        }
    }

    /// Whether its rendition is to be asked for: not again and again.
    pub(super) fn is_request_due(&mut self, interval: Duration, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < interval;
        let is_due = !self.requested.is_some_and(is_recent);
        if is_due {
            self.requested = Some(now);
        }
        is_due
    }

    fn push(&mut self, frame: &Frame, now: Instant) {
        match frame {
            Frame::Video(frame) => {
                self.last_picture = Some(now);
                self.push_picture(frame, now);
                self.release_sound(now);
            }
            Frame::Audio(frame) if frame.codec == AudioCodec::Opus => {
                self.release_sound(now);
                self.audio.push_audio(frame, now);
            }
            // AAC is made Opus before it comes here.
            Frame::Audio(_) => {}
        }
    }

    fn push_picture(&mut self, frame: &VideoFrame, now: Instant) {
        match self.pictures.treat(frame) {
            Treatment::Send => self.video.push_video(frame, now),
            Treatment::Reorder(depth) => self.video.push_reordered(frame, depth, now),
            Treatment::LeaveOut => {}
        }
    }

    /// Whether sound goes with pictures: enough viewers, and pictures come.
    fn is_bundled(&self, from: usize, now: Instant) -> bool {
        self.viewers.len() >= from
            && self
                .last_picture
                .is_some_and(|last| now.saturating_duration_since(last) < MAX_SOUND_WAIT)
    }

    /// Lets sound wait for a picture. Returns whether it has to go now.
    fn hold(&mut self, sound: &AudioFrame, now: Instant) -> bool {
        if sound.codec != AudioCodec::Opus {
            return false;
        }
        self.waiting_since.get_or_insert(now);
        self.waiting.push(sound.clone());
        let is_full = self.waiting.len() >= MAX_WAITING;
        if is_full {
            self.release_sound(now);
        }
        is_full
    }

    /// Logs the sound that waits. Two blocks become one packet where that can be: behind a picture
    /// there is room for one in the same call.
    pub(super) fn release_sound(&mut self, now: Instant) {
        self.waiting_since = None;
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut blocks = waiting.drain(..).peekable();
        while let Some(mut block) = blocks.next() {
            if let Some(joined) = blocks
                .peek()
                .and_then(|next| packet::join(&block.data, &next.data))
                .filter(|joined| joined.len() <= MAX_PAYLOAD)
            {
                block.data = joined;
                blocks.next();
            }
            self.audio.push_audio(&block, now);
        }
        drop(blocks);
        // Its room is used again.
        self.waiting = waiting;
    }

    /// When the sound has waited long enough for a picture, if it waits.
    pub(super) fn sound_due(&self) -> Option<Instant> {
        Some(self.waiting_since? + MAX_SOUND_WAIT)
    }

    /// Whether its publisher has been gone for longer than `grace`.
    pub(super) fn is_over(&self, grace: Option<Duration>, now: Instant) -> bool {
        let gone = self.offline_since.zip(grace);
        gone.is_some_and(|(since, grace)| now.saturating_duration_since(since) > grace)
    }
}

/// The streams of a shard, each with the tag under which the hub delivers it.
#[derive(Default)]
pub(super) struct Streams {
    by_tag: HashMap<u64, ShardStream>,
    tags: HashMap<StreamName, u64>,
    next_tag: u64,
}

impl Streams {
    /// The tag of a stream, which is subscribed to if no viewer watched it so far. `None`: the hub
    /// has no such stream any more.
    pub(super) fn open(
        &mut self,
        name: &StreamName,
        hub: &Hub,
        sink: &Sink,
        config: &EngineConfig,
        now: Instant,
    ) -> Option<u64> {
        if let Some(tag) = self.tags.get(name) {
            return Some(*tag);
        }
        let tag = self.next_tag;
        let (subscription, cached) = hub.subscribe(name, sink.clone(), tag)?;
        self.next_tag += 1;
        let mut stream = ShardStream::new(subscription, config);
        if !stream.subscription.stream().is_live() {
            stream.offline_since = Some(now);
        }
        for frame in cached {
            stream.push(&frame, now);
        }
        self.by_tag.insert(tag, stream);
        self.tags.insert(name.clone(), tag);
        Some(tag)
    }

    pub(super) fn get_mut(&mut self, tag: u64) -> Option<&mut ShardStream> {
        self.by_tag.get_mut(&tag)
    }

    pub(super) fn get(&self, tag: u64) -> Option<&ShardStream> {
        self.by_tag.get(&tag)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ShardStream> {
        self.by_tag.values()
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = (u64, &ShardStream)> {
        self.by_tag.iter().map(|(tag, stream)| (*tag, stream))
    }

    /// Looks whether the publishers are there.
    pub(super) fn notice_publishers(&mut self, now: Instant) {
        for stream in self.by_tag.values_mut() {
            stream.notice_publisher(now);
        }
    }

    /// Gives up the streams that nobody watches.
    pub(super) fn drop_unwatched(&mut self) {
        self.by_tag.retain(|_, stream| {
            let is_watched = !stream.viewers.is_empty();
            if !is_watched {
                self.tags.remove(stream.subscription.stream().name());
            }
            is_watched
        });
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
    use distributary_hub::HubConfig;
    use distributary_media::{AudioFrame, MediaTime, VideoCodec, VideoFrame};
    use std::sync::Arc;

    fn sound(millis: i64) -> StreamEvent {
        StreamEvent::Frame(Arc::new(Frame::Audio(AudioFrame {
            codec: AudioCodec::Opus,
            pts: MediaTime::from_millis(millis),
            data: Bytes::from_static(&[0xFC, 7]),
        })))
    }

    fn picture() -> StreamEvent {
        StreamEvent::Frame(Arc::new(Frame::Video(VideoFrame {
            codec: VideoCodec::H264,
            pts: MediaTime::ZERO,
            dts: MediaTime::ZERO,
            keyframe: true,
            units: vec![Bytes::from_static(&[0x65])],
        })))
    }

    #[test]
    fn sound_waits_for_a_picture_where_there_are_many_viewers_and_not_for_long() {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").unwrap();
        let start = Instant::now();
        let _publisher = hub.publish(&name, start).unwrap();
        let (sink, _queue) = Sink::channel(8);
        let (subscription, _) = hub.subscribe(&name, sink, 0).unwrap();
        let mut stream = ShardStream::new(subscription, &EngineConfig::default());
        let at = |stream: &mut ShardStream, event: &StreamEvent, millis: u64| {
            stream.handle(event, 2, start + Duration::from_millis(millis))
        };

        stream.viewers = vec![0];
        assert!(at(&mut stream, &picture(), 0));
        assert!(at(&mut stream, &sound(0), 5), "one viewer");
        assert_eq!(stream.audio.head(), 1);
        stream.viewers = vec![0, 1];
        assert!(!at(&mut stream, &sound(20), 25));
        assert!(!at(&mut stream, &sound(40), 30));
        let due = start + Duration::from_millis(25) + MAX_SOUND_WAIT;
        assert_eq!(stream.sound_due(), Some(due));
        assert_eq!(stream.audio.head(), 1, "it waits");
        assert!(at(&mut stream, &picture(), 33));
        assert_eq!(stream.sound_due(), None);
        assert_eq!(stream.audio.head(), 2, "two blocks in one packet");
        let packet = stream.audio.get(1).unwrap();
        assert_eq!((packet.timestamp, packet.payload.len()), (960, 4));

        assert!(!at(&mut stream, &sound(60), 45));
        stream.release_sound(start + Duration::from_millis(90));
        assert_eq!((stream.audio.head(), stream.sound_due()), (3, None));
        assert!(at(&mut stream, &sound(80), 120), "no pictures come");
        assert_eq!(stream.audio.head(), 4);
        assert!(at(&mut stream, &picture(), 121));
        assert!(!at(&mut stream, &sound(100), 122));
        assert!(at(&mut stream, &StreamEvent::Offline, 123));
        assert_eq!(stream.audio.head(), 5, "nothing stays behind");
    }
}
