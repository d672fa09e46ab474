//! The streams that a shard's viewers watch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use distributary_hub::{Hub, Sink, StreamEvent, StreamName, Subscription};
use distributary_media::{AudioCodec, Frame, VideoCodec};

use crate::log::{Log, LogLimits};

/// A stream as one shard has it.
pub(super) struct ShardStream {
    pub(super) subscription: Subscription,
    pub(super) video: Log,
    pub(super) audio: Log,
    /// Keys of the viewers that watch it.
    pub(super) viewers: Vec<usize>,
    offline_since: Option<Instant>,
}

impl ShardStream {
    fn new(subscription: Subscription, limits: LogLimits) -> Self {
        Self {
            subscription,
            video: Log::new(90_000, limits),
            audio: Log::new(48_000, limits),
            viewers: Vec::new(),
            offline_since: None,
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
        limits: LogLimits,
        now: Instant,
    ) -> Option<u64> {
        if let Some(tag) = self.tags.get(name) {
            return Some(*tag);
        }
        let tag = self.next_tag;
        let (subscription, cached) = hub.subscribe(name, sink.clone(), tag)?;
        self.next_tag += 1;
        let mut stream = ShardStream::new(subscription, limits);
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
