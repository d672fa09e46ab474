//! One live stream.
//!
//! * [`Stream`]: its tracks, its clock, its cache and its subscribers.
//! * `stats`: [`StreamStats`], and the metadata of its publisher.
//! * `handles`: [`Publisher`], [`Reservation`] and [`Subscription`].
//! * `claims`: the active publisher, and those that stand by; `contribution`: what each describes;
//!   `standing`: how each follows which of them it is; `takeover`: a standby becomes the active one.
//! * `activity`: the activity of a publisher, by which its silence is judged.
//! * `standbys`: [`StreamReport`], the description of all publishers.
//! * `audio`: the transcoding of its audio.
//! * `b_frames`: its B-frames, and the log lines about them.
//! * `owner`: the registry that it belongs to.
//! * `remote`: a stream that arrives from another gateway; `succession`: standbys of several gateways.
//! * `renditions`: the renditions that are published for it.

mod activity;
mod audio;
mod b_frames;
mod claims;
mod contribution;
mod handles;
mod owner;
mod remote;
mod renditions;
#[cfg(test)]
mod scene;
mod standbys;
mod standing;
mod stats;
mod succession;
mod takeover;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use distributary_media::{AudioCodec, Frame, MediaTime, TimedData, VideoTrack};
use distributary_names::StreamName;
use distributary_net::sync::{Mutex, MutexGuard};
use tokio::sync::watch;
use tracing::warn;

use crate::adapt::Adapter;
use crate::audio::{AudioJob, AudioPool};
use crate::cache::{GopCache, Overflow};
use crate::config::{HubConfig, StreamsConfig};
use crate::event_limit::EventLimit;
use crate::memory::{Memory, StreamMemory};
use crate::meter::PublisherStats;
use crate::offer::RenditionOrigin;
use crate::policy::{BFramePolicy, Refusal};
use crate::subscriber::{AudioForm, Sink, StreamEvent, Subscriber};
use crate::timeline::Timeline;
use crate::transcoder::TranscoderPresence;
use b_frames::PublisherBFrames;
use claims::{Claimant, Standby};
use contribution::Contribution;

pub(crate) use claims::Claim;
pub use claims::MAX_STANDBYS;
pub use handles::{Publisher, Reservation, Subscription};
pub(crate) use owner::StreamOwner;
pub use remote::{Snapshot, Tracks};
pub use standbys::{StandbyStats, StreamReport};
pub use standing::{Dismissal, Standing, Standings};
pub use stats::{MissingAudio, MissingVideo, PublisherInfo, StreamStats};
pub use succession::{Readiness, Successor};
pub use takeover::{TakeoverError, TakeoverReason};

/// Limit of log lines about the clocks of a stream's publishers.
const CLOCK_FAULTS: EventLimit = EventLimit::new(4, Duration::from_secs(60));

/// Limit of log lines about frames that are dropped because the stream holds too much memory.
const MEMORY_FAULTS: EventLimit = EventLimit::new(4, Duration::from_secs(60));

/// A named stream: its tracks, its clock, its cache and its subscribers.
///
/// One short lock guards it; the publisher takes it once per frame, and never while a frame is
/// sent to a viewer.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    config: Arc<HubConfig>,
    transcoder: Arc<TranscoderPresence>,
    audio_pool: Arc<AudioPool>,
    /// The memory of its frames.
    memory: Arc<StreamMemory>,
    epoch: Instant,
    state: Mutex<State>,
    /// The number of subscribers; observable.
    subscriber_count: watch::Sender<usize>,
    /// True while there is a publisher; observable.
    liveness: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    live_since: Option<Instant>,
    /// The publisher that has left last has ended the stream itself.
    has_ended: bool,
    /// The publisher whose frames viewers get.
    active: Option<Claimant>,
    /// The contribution of the active publisher, or of the last one.
    contribution: Contribution,
    /// The publishers that stand by, the one that has waited for longest first.
    standbys: Vec<Standby>,
    /// The other gateways that have standbys.
    successors: Vec<Successor>,
    /// Time at which an operator has requested that another gateway takes over.
    yields_at: Option<Instant>,
    /// Time at which another gateway has asked last whether this one gives way.
    questioned_at: Option<Instant>,
    next_publisher: u64,
    /// Set after a takeover: earlier audio of the new publisher is dropped.
    audio_from: Option<MediaTime>,
    /// Runs while a subscriber receives Opus and the audio is not Opus.
    audio_job: Option<AudioJob>,
    /// The loudest recent sample of the audio job; 1 is full scale.
    audio_peak: f32,
    next_audio_job: u64,
    /// Time of the next attempt after the system could not start a thread.
    audio_retry_at: Option<Instant>,
    /// Limits the log lines about the publisher's clock.
    clock_faults: EventLimit,
    /// Limits the log lines about its memory.
    memory_faults: EventLimit,
    timeline: Timeline,
    b_frames: PublisherBFrames,
    adapter: Adapter,
    cache: GopCache,
    /// Set until the publisher's first keyframe: nothing before it can be decoded.
    awaiting_keyframe: bool,
    subscribers: Vec<Subscriber>,
    next_subscriber: u64,
    /// Viewers that are about to subscribe, and subscribers of its renditions.
    reservations: usize,
    /// The renditions that are published for this stream.
    renditions: Vec<(Arc<Stream>, RenditionOrigin)>,
    video_frames: u64,
    audio_frames: u64,
    bytes: u64,
    dropped: u64,
}

impl Stream {
    pub(crate) fn new(
        name: StreamName,
        config: Arc<HubConfig>,
        transcoder: Arc<TranscoderPresence>,
        audio_pool: Arc<AudioPool>,
        memory: Arc<Memory>,
        now: Instant,
    ) -> Self {
        let memory = StreamMemory::new(config.limits.memory_per_publisher, memory);
        let state = State {
            live_since: None,
            has_ended: false,
            active: None,
            contribution: Contribution::new(now),
            standbys: Vec::new(),
            successors: Vec::new(),
            yields_at: None,
            questioned_at: None,
            next_publisher: 0,
            audio_from: None,
            audio_job: None,
            audio_peak: 0.0,
            next_audio_job: 0,
            audio_retry_at: None,
            clock_faults: CLOCK_FAULTS,
            memory_faults: MEMORY_FAULTS,
            timeline: Timeline::new(now),
            b_frames: PublisherBFrames::default(),
            adapter: Adapter::new(config.sei(&name), config.vui(&name)),
            cache: GopCache::new(config.streams.cache_size, config.streams.cache_duration),
            awaiting_keyframe: true,
            subscribers: Vec::new(),
            next_subscriber: 0,
            reservations: 0,
            renditions: Vec::new(),
            video_frames: 0,
            audio_frames: 0,
            bytes: 0,
            dropped: 0,
        };
        Self {
            name,
            config,
            transcoder,
            audio_pool,
            memory: Arc::new(memory),
            epoch: now,
            state: Mutex::new(state),
            subscriber_count: watch::Sender::new(0),
            liveness: watch::Sender::new(false),
        }
    }

    /// Returns the name under which it is published.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Returns the instant of the timeline's origin: a frame at [`distributary_media::MediaTime`]
    /// `t` stands for the moment `epoch + t`.
    pub fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Returns whether there is a publisher, or a standby is about to take over from the last one.
    pub fn is_live(&self) -> bool {
        self.lock().live_since.is_some()
    }

    /// Returns whether there is no publisher, also none that stands by, because the last one has
    /// ended the stream. One whose connection was lost may be back soon.
    pub fn has_ended(&self) -> bool {
        let state = self.lock();
        state.has_ended && state.live_since.is_none() && state.standbys.is_empty()
    }

    /// Returns a receiver that follows whether there is a publisher.
    pub fn liveness(&self) -> watch::Receiver<bool> {
        self.liveness.subscribe()
    }

    /// Returns the stream's stats.
    pub fn stats(&self) -> StreamStats {
        self.lock().stats()
    }

    /// Returns the policy for its B-frames.
    pub fn b_frame_policy(&self) -> BFramePolicy {
        self.config.b_frames(&self.name)
    }

    /// Returns whether it has, or is expected to have, B-frames for which its policy is to
    /// transcode it.
    pub fn needs_transcoding(&self) -> bool {
        let b_frames = self.lock().b_frames.verdict.kind;
        self.b_frame_policy().transcodes(b_frames)
    }

    /// Logs, once per publisher, that viewers need a transcode and there is no transcoder, and what
    /// they get instead. `supports_codec`: the viewers support the codec, but not its B-frames.
    /// Returns whether it was logged now.
    pub(crate) fn note_no_transcoder(&self, supports_codec: bool) -> bool {
        let b_frames = &mut self.lock().b_frames;
        b_frames.log_no_transcoder(&self.name, supports_codec)
    }

    /// Returns the stats of its publisher, measured over the last seconds before `now`.
    pub fn publisher_stats(&self, now: Instant) -> PublisherStats {
        self.lock().contribution.meter.stats(now)
    }

    /// Returns the keyframe of the current GOP with its track; `None` before the first, and when
    /// the GOP has outgrown the cache.
    pub fn keyframe(&self) -> Option<(Arc<Frame>, Arc<VideoTrack>)> {
        let state = self.lock();
        let keyframe = state.cache.frames().next()?;
        Some((Arc::clone(keyframe), state.contribution.video.clone()?))
    }

    /// Returns whether its cached frames are old, and others are missing after them: viewers that begin
    /// now wait for the next video frame, as after [`StreamEvent::Gap`].
    pub fn has_gap(&self) -> bool {
        self.lock().cache.is_suspended()
    }

    /// Returns the last `onMetaData` of its publisher.
    pub fn metadata(&self) -> Option<Arc<TimedData>> {
        self.lock().contribution.metadata.clone()
    }

    /// Returns a receiver that follows the number of subscribers: egress shards, RTMP players and
    /// reservations. While it is 0 the stream has no viewers.
    pub fn subscribers(&self) -> watch::Receiver<usize> {
        self.subscriber_count.subscribe()
    }

    pub(crate) fn add_reservation(&self) {
        let mut state = self.lock();
        state.reservations += 1;
        self.count_subscribers(&state);
    }

    fn count_subscribers(&self, state: &State) {
        let count = state.subscribers.len() + state.reservations;
        self.subscriber_count.send_replace(count);
    }

    pub(crate) fn add_subscriber(&self, sink: Sink, tag: u64) -> (u64, Vec<Arc<Frame>>) {
        let mut state = self.lock();
        let id = state.next_subscriber;
        state.next_subscriber += 1;
        state.subscribers.push(Subscriber::new(
            id,
            tag,
            sink,
            self.config.streams.queue_frames,
        ));
        self.count_subscribers(&state);
        (id, state.cache.frames().cloned().collect())
    }

    fn remove_subscriber(&self, id: u64) {
        let mut state = self.lock();
        state.subscribers.retain(|subscriber| subscriber.id != id);
        self.count_subscribers(&state);
        if !state.has_subscriber(AudioForm::Opus) {
            state.audio_job = None;
        }
    }

    fn set_audio_loss(&self, id: u64, percent: u8) {
        let mut state = self.lock();
        let mut subscribers = state.subscribers.iter_mut();
        if let Some(subscriber) = subscribers.find(|subscriber| subscriber.id == id) {
            subscriber.set_audio_loss(percent);
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.live_since.is_none()
            && state.standbys.is_empty()
            && state.subscribers.is_empty()
            && state.reservations == 0
            && state.renditions.is_empty()
    }

    /// Returns the settings of the stream.
    pub fn settings(&self) -> &StreamsConfig {
        &self.config.streams
    }

    /// Accepts a frame. Returns whether it changes what is known about the stream's renditions.
    fn push(
        self: &Arc<Self>,
        publisher: u64,
        mut frame: Frame,
        now: Instant,
    ) -> Result<bool, Refusal> {
        let mut state = self.lock();
        if !state.is_active(publisher) {
            return Ok(false);
        }
        if let Frame::Audio(audio) = &frame
            && state.is_before_takeover(audio.pts)
        {
            return Ok(false);
        }
        let mut has_news = false;
        if let Some(fault) = state.timeline.place(&mut frame, now)
            && let Some(held_back) = state.clock_faults.admit(now)
        {
            let track = match frame {
                Frame::Video(_) => "video",
                Frame::Audio(_) => "audio",
            };
            warn!(stream = %self.name, track, held_back = NonZeroU64::new(held_back), "{fault}; check the encoder's clock");
        }
        state.bytes += frame.payload_len() as u64;
        state.contribution.meter.handle(&frame, now);
        state.note_activity(&frame, now);
        match &mut frame {
            Frame::Video(video) => {
                state.video_frames += 1;
                if state.awaiting_keyframe && !video.keyframe {
                    return Ok(false);
                }
                state.awaiting_keyframe = false;
                has_news = state.b_frames.update(video.info.b_frames);
                if has_news && self.b_frame_policy() == BFramePolicy::Refuse {
                    return Err(Refusal::BFrames);
                }
                // That of another gateway is told there.
                if state.contribution.node.is_none()
                    && state.b_frames.is_log_due()
                    && let Some(has_transcoder) = self.transcoder.is_there()
                {
                    let policy = self.b_frame_policy();
                    state.b_frames.log(&self.name, policy, has_transcoder);
                }
                state.note_video(now);
                state.adapter.adapt(video);
                state.cache.limit(self.gop_limit());
                if !self.hold(&mut state, &mut frame, now) {
                    state.awaiting_keyframe = true;
                    return Ok(has_news);
                }
                let frame = Arc::new(frame);
                state.cache.push(&frame, now);
                state.deliver_where(&frame, Some(now), Subscriber::has_video);
            }
            Frame::Audio(_) => {
                state.audio_frames += 1;
                if !self.memory.hold(&mut frame) {
                    state.dropped += 1;
                    return Ok(false);
                }
                let Frame::Audio(audio) = &frame else {
                    return Ok(false);
                };
                if audio.codec == AudioCodec::Opus {
                    // Opus that the job still makes of earlier audio would come late.
                    state.audio_job = None;
                    let form = state.is_made_opus().then_some(AudioForm::Opus);
                    state.deliver_audio(&Arc::new(frame), form);
                } else {
                    state.transcode(self, audio, now);
                    state.deliver_audio(&Arc::new(frame), Some(AudioForm::Published));
                }
            }
        }
        Ok(has_news)
    }

    /// Returns the maximum bytes of its GOP cache, and of its log in each shard, now.
    pub fn gop_limit(&self) -> usize {
        self.memory.gop_limit(self.config.streams.cache_size)
    }

    /// Drops the GOP cache if it is over the limit while memory is short.
    pub(crate) fn limit_gop(&self) {
        self.lock().cache.limit(self.gop_limit());
    }

    /// Counts the memory of a video frame until its last slice is gone. Returns `false` if the
    /// stream holds too much: its GOP cache is dropped, and frames up to the next keyframe are.
    fn hold(&self, state: &mut State, frame: &mut Frame, now: Instant) -> bool {
        if frame.is_keyframe() && !self.memory.has_room(frame.memory()) {
            // It replaces the GOP anyway.
            state.cache.clear();
        }
        if self.memory.hold(frame) {
            return true;
        }
        state.cache.overflow_by(Overflow::Memory);
        state.dropped += 1;
        if let Some(held_back) = state.memory_faults.admit(now) {
            warn!(
                stream = %self.name,
                held = self.memory.held(),
                frame = frame.memory(),
                held_back,
                "frames up to the next keyframe are dropped: those that viewers and the GOP cache \
                 have not finished with hold memory_per_publisher under [limits]"
            );
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed, so a panic elsewhere does not spoil
        // it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes a frame of the active publisher at `now`.
    fn note_activity(&mut self, frame: &Frame, now: Instant) {
        if let Some(active) = &mut self.active {
            active.activity.note(now);
            if matches!(frame, Frame::Audio(_)) && !self.contribution.has_video {
                active.activity.note_audio_alone(now);
            }
        }
    }

    /// Notes that a video frame of the active publisher is delivered at `now`.
    fn note_video(&mut self, now: Instant) {
        if let Some(active) = &mut self.active {
            active.activity.note_video(now);
        }
    }

    /// Delivers an event to all subscribers.
    fn deliver(&self, event: &StreamEvent) {
        for subscriber in &self.subscribers {
            subscriber.deliver(event.clone());
        }
    }

    /// Delivers audio to the subscribers that receive it in this form, or to all, of the stream and
    /// of its renditions: all have the same audio.
    fn deliver_audio(&mut self, frame: &Arc<Frame>, form: Option<AudioForm>) {
        self.deliver_where(frame, None, |subscriber| {
            subscriber.audio_form() != AudioForm::Without
                && form.is_none_or(|form| subscriber.audio_form() == form)
        });
        for (rendition, _) in &self.renditions {
            rendition.lock().deliver_audio(frame, form);
        }
    }

    fn deliver_where(
        &mut self,
        frame: &Arc<Frame>,
        arrived: Option<Instant>,
        is_addressed: impl Fn(&Subscriber) -> bool,
    ) {
        for subscriber in self
            .subscribers
            .iter_mut()
            .filter(|subscriber| is_addressed(subscriber))
        {
            if !subscriber.deliver_frame(frame, arrived) {
                self.dropped += 1;
            }
        }
    }

    /// Returns whether Opus that is pushed was made of what is published: by another gateway, which has
    /// the audio as published too.
    fn is_made_opus(&self) -> bool {
        let track = self.contribution.audio.as_ref();
        track.is_some_and(|track| track.codec != AudioCodec::Opus)
            && self.contribution.node.is_some()
    }

    fn has_subscriber(&self, form: AudioForm) -> bool {
        let mut forms = self.subscribers.iter().map(Subscriber::audio_form);
        let mut renditions = self.renditions.iter();
        forms.any(|other| other == form)
            || renditions.any(|(rendition, _)| rendition.lock().has_subscriber(form))
    }

    /// Delivers timed data to the subscribers of the stream and of its renditions, and keeps the
    /// metadata.
    fn deliver_data(&mut self, data: &Arc<TimedData>) {
        if data.name == TimedData::METADATA {
            self.contribution.metadata = Some(Arc::clone(data));
        }
        for subscriber in &self.subscribers {
            subscriber.deliver_data(data);
        }
        for (rendition, _) in &self.renditions {
            rendition.lock().deliver_data(data);
        }
    }
}
