//! One live stream, and the handles of those who feed it and those who take from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributary_media::{AudioTrack, Frame, VideoTrack};

use crate::cache::GopCache;
use crate::hub::{HubConfig, Shared};
use crate::name::StreamName;
use crate::subscriber::{Sink, StreamEvent, Subscriber};
use crate::timeline::Timeline;

/// A named stream: its tracks, its clock, its cache and its subscribers.
///
/// One short lock guards it; it is taken once per frame by the publisher and never while a frame is
/// sent to a viewer.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    config: HubConfig,
    epoch: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    live_since: Option<Instant>,
    video: Option<Arc<VideoTrack>>,
    audio: Option<Arc<AudioTrack>>,
    timeline: Timeline,
    cache: GopCache,
    /// Set until the publisher's first keyframe: nothing before it can be decoded.
    awaiting_keyframe: bool,
    subscribers: Vec<Subscriber>,
    next_subscriber: u64,
    video_frames: u64,
    audio_frames: u64,
    bytes: u64,
    dropped: u64,
}

/// A stream in figures.
#[derive(Clone, Debug)]
pub struct StreamStats {
    /// Since when a publisher is there; `None` while it is gone.
    pub live_since: Option<Instant>,
    /// The video track, once its sequence header has come.
    pub video: Option<Arc<VideoTrack>>,
    /// The audio track, once its sequence header has come.
    pub audio: Option<Arc<AudioTrack>>,
    /// Video frames accepted since the stream began.
    pub video_frames: u64,
    /// Audio frames accepted since the stream began.
    pub audio_frames: u64,
    /// Bytes of coded media accepted since the stream began.
    pub bytes: u64,
    /// Frames dropped because a subscriber's queue was full.
    pub dropped: u64,
    /// Bytes in the group-of-pictures cache.
    pub cached_bytes: usize,
    /// Media time in the group-of-pictures cache.
    pub cached: Duration,
    /// Whether the present group of pictures was too large to keep: newcomers wait for a keyframe.
    pub cache_overflowed: bool,
}

impl Stream {
    pub(crate) fn new(name: StreamName, config: HubConfig, now: Instant) -> Self {
        let state = State {
            live_since: None,
            video: None,
            audio: None,
            timeline: Timeline::new(now),
            cache: GopCache::new(config.gop_cache_bytes, config.gop_cache_duration),
            awaiting_keyframe: true,
            subscribers: Vec::new(),
            next_subscriber: 0,
            video_frames: 0,
            audio_frames: 0,
            bytes: 0,
            dropped: 0,
        };
        Self {
            name,
            config,
            epoch: now,
            state: Mutex::new(state),
        }
    }

    /// The name it is published under.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// The instant of the timeline's origin: a frame at [`distributary_media::MediaTime`] `t` stands
    /// for the moment `epoch + t`.
    pub fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Whether a publisher is there now.
    pub fn is_live(&self) -> bool {
        self.lock().live_since.is_some()
    }

    /// The stream in figures.
    pub fn stats(&self) -> StreamStats {
        let state = self.lock();
        StreamStats {
            live_since: state.live_since,
            video: state.video.clone(),
            audio: state.audio.clone(),
            video_frames: state.video_frames,
            audio_frames: state.audio_frames,
            bytes: state.bytes,
            dropped: state.dropped,
            cached_bytes: state.cache.bytes(),
            cached: state.cache.duration(),
            cache_overflowed: state.cache.overflowed(),
        }
    }

    /// Takes the publisher's place if it is free.
    pub(crate) fn take_publisher(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.live_since.is_some() {
            return false;
        }
        state.live_since = Some(now);
        state.timeline.restart();
        state.awaiting_keyframe = true;
        for subscriber in &state.subscribers {
            subscriber.deliver(StreamEvent::Online);
        }
        true
    }

    fn release_publisher(&self) {
        let mut state = self.lock();
        state.live_since = None;
        state.cache.clear();
        for subscriber in &state.subscribers {
            subscriber.deliver(StreamEvent::Offline);
        }
    }

    pub(crate) fn add_subscriber(&self, sink: Sink, tag: u64) -> (u64, Vec<Arc<Frame>>) {
        let mut state = self.lock();
        let id = state.next_subscriber;
        state.next_subscriber += 1;
        state
            .subscribers
            .push(Subscriber::new(id, tag, sink, self.config.queue_frames));
        (id, state.cache.frames().cloned().collect())
    }

    fn remove_subscriber(&self, id: u64) {
        let mut state = self.lock();
        state.subscribers.retain(|subscriber| subscriber.id != id);
        if state.subscribers.is_empty() {}
    }

    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.live_since.is_none() && state.subscribers.is_empty()
    }

    fn push(&self, mut frame: Frame, now: Instant) {
        let mut state = self.lock();
        state.timeline.place(&mut frame, now);
        state.bytes += frame.payload_len() as u64;
        match &frame {
            Frame::Video(video) => {
                state.video_frames += 1;
                if state.awaiting_keyframe && !video.keyframe {
                    return;
                }
                state.awaiting_keyframe = false;
                let frame = Arc::new(frame);
                state.cache.push(&frame);
                state.deliver(&frame);
            }
            Frame::Audio(_) => {
                state.audio_frames += 1;
                state.deliver(&Arc::new(frame));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self, frame: &Arc<Frame>) {
        for subscriber in &mut self.subscribers {
            if !subscriber.deliver_frame(frame) {
                self.dropped += 1;
            }
        }
    }
}

/// The right to feed a stream. The stream goes offline when it is dropped.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    hub: Arc<Shared>,
}

impl Publisher {
    pub(crate) fn new(stream: Arc<Stream>, hub: Arc<Shared>) -> Self {
        Self { stream, hub }
    }

    /// The stream that is fed.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Declares the video track, or that it has changed: before its first frame.
    pub fn set_video_track(&self, track: VideoTrack) {
        self.stream.lock().video = Some(Arc::new(track));
    }

    /// Declares the audio track, or that it has changed: before its first frame.
    pub fn set_audio_track(&self, track: AudioTrack) {
        let mut state = self.stream.lock();
        if state.audio.as_deref() != Some(&track) {
            state.audio = Some(Arc::new(track));
            // The next frame starts a decoder for the new configuration.
        }
    }

    /// Feeds one frame that arrived at `now`. Never waits.
    pub fn push(&self, frame: Frame, now: Instant) {
        self.stream.push(frame, now);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stream.release_publisher();
        self.hub.remove_if_idle(self.stream.name());
    }
}

/// A subscriber's place at a stream. Its events stop when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    stream: Arc<Stream>,
    id: u64,
    hub: Arc<Shared>,
}

impl Subscription {
    pub(crate) fn new(stream: Arc<Stream>, id: u64, hub: Arc<Shared>) -> Self {
        Self { stream, id, hub }
    }

    /// The stream subscribed to.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.remove_subscriber(self.id);
        self.hub.remove_if_idle(self.stream.name());
    }
}
