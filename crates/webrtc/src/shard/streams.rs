//! The streams that a shard's viewers watch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use distributary_hub::{Hub, Sink, StreamEvent, StreamName, Subscription};
use distributary_media::{AudioCodec, Frame, VideoCodec};

use crate::engine::EngineConfig;
use crate::log::Log;

/// How long sound waits for a picture at most: as long as the pictures of any usual rate are apart.
const MAX_SOUND_WAIT: Duration = Duration::from_millis(45);

/// A stream as one shard has it.
pub(super) struct ShardStream {
    pub(super) subscription: Subscription,
    pub(super) video: Log,
    pub(super) audio: Log,
    /// Keys of the viewers that watch it.
    pub(super) viewers: Vec<usize>,
    offline_since: Option<Instant>,
    /// When the last picture came.
    last_picture: Option<Instant>,
    /// Since when sound waits for the next picture.
    waiting_since: Option<Instant>,
}

impl ShardStream {
    fn new(subscription: Subscription, config: &EngineConfig) -> Self {
        let limits = config.log;
        Self {
            subscription,
            video: Log::new(90_000, limits),
            audio: Log::new(48_000, limits).with_redundancy(config.audio_red),
            viewers: Vec::new(),
            offline_since: None,
            last_picture: None,
            waiting_since: None,
        }
    }

    /// Logs what the hub delivered.
    pub(super) fn handle(&mut self, event: &StreamEvent, now: Instant) {
        match event {
            StreamEvent::Frame(frame) => self.push(frame, now),
            StreamEvent::Offline => {
                self.offline_since = Some(now);
                // What comes next, if anything, is another publisher's and begins with a keyframe.
                self.video.end_group();
            }
            StreamEvent::Online => self.offline_since = None,
            _ => {}
        }
    }

    fn push(&mut self, frame: &Frame, now: Instant) {
        match frame {
            Frame::Video(frame) if frame.codec == VideoCodec::H264 => {
                self.video.push_video(frame, now);
            }
            Frame::Audio(frame) if frame.codec == AudioCodec::Opus => {
                self.audio.push_audio(frame, now);
            }
            // Other codings have no payload format here, and no viewer has been promised one.
            _ => {}
        }
    }

    /// Whether what has just been logged is sound that is to wait for the next picture. A call to the
    /// kernel costs about as much for a block of sound as for a whole picture: with `from` viewers or
    /// more they share one.
    pub(super) fn waits_for_picture(
        &mut self,
        event: &StreamEvent,
        from: usize,
        now: Instant,
    ) -> bool {
        let StreamEvent::Frame(frame) = event else {
            return false;
        };
        let is_bundled = self.viewers.len() >= from;
        if let Frame::Video(_) = **frame {
            self.video.set_padding(is_bundled);
            self.last_picture = Some(now);
            self.waiting_since = None;
            return false;
        }
        let has_pictures = self
            .last_picture
            .is_some_and(|last| now.saturating_duration_since(last) < MAX_SOUND_WAIT);
        if is_bundled && has_pictures {
            self.waiting_since.get_or_insert(now);
        }
        self.waiting_since.is_some()
    }

    /// When the sound has waited long enough for a picture, if it waits.
    pub(super) fn sound_due(&self) -> Option<Instant> {
        Some(self.waiting_since? + MAX_SOUND_WAIT)
    }

    /// Notes that the sound is sent without a picture.
    pub(super) fn end_wait(&mut self) {
        self.waiting_since = None;
    }

    /// Whether its publisher has been gone for longer than `grace`.
    pub(super) fn is_over(&self, grace: Duration, now: Instant) -> bool {
        self.offline_since
            .is_some_and(|since| now.saturating_duration_since(since) > grace)
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
    use distributary_media::{AudioFrame, MediaTime, VideoFrame};
    use std::sync::Arc;

    fn sound() -> StreamEvent {
        StreamEvent::Frame(Arc::new(Frame::Audio(AudioFrame {
            codec: AudioCodec::Opus,
            pts: MediaTime::ZERO,
            data: Bytes::from_static(&[1]),
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
        let millis = |n: u64| start + Duration::from_millis(n);
        let waits =
            |stream: &mut ShardStream, event, at| stream.waits_for_picture(&event, 2, millis(at));

        stream.viewers = vec![0];
        assert!(!waits(&mut stream, picture(), 0));
        assert!(!waits(&mut stream, sound(), 5), "one viewer");
        stream.viewers = vec![0, 1];
        assert!(waits(&mut stream, sound(), 25));
        assert!(waits(&mut stream, sound(), 30));
        assert_eq!(stream.sound_due(), Some(millis(25) + MAX_SOUND_WAIT));
        assert!(!waits(&mut stream, picture(), 33), "a picture never waits");
        assert_eq!(stream.sound_due(), None, "the sound goes along");
        assert!(waits(&mut stream, sound(), 45));
        stream.end_wait();
        assert!(!waits(&mut stream, sound(), 120), "no pictures come");
    }
}
