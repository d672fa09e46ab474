//! One live stream.
//!
//! * [`Stream`]: its tracks, its clock, its cache and its subscribers.
//! * `stats`: [`StreamStats`], and what its publisher says about itself.
//! * `handles`: [`Publisher`], [`Reservation`] and [`Subscription`], of those who feed it and those who take
//!   from it.

mod handles;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributary_media::h264::{BFrameDetector, BFrames};
use distributary_media::{
    AudioCodec, AudioFrame, AudioTrack, Frame, OpusConfig, TimedData, VideoTrack,
};
use distributary_names::StreamName;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::adapt::Adapter;
use crate::audio::AudioThread;
use crate::cache::GopCache;
use crate::config::{HubConfig, StreamsConfig};
use crate::event_limit::EventLimit;
use crate::meter::{Meter, PublisherStats};
use crate::policy::{BFrameAdvice, BFramePolicy, Refusal};
use crate::subscriber::{AudioForm, Sink, StreamEvent, Subscriber};
use crate::timeline::Timeline;
use crate::transcoder::TranscoderPresence;

pub use handles::{Publisher, Reservation, Subscription};
pub use stats::{MissingAudio, MissingVideo, PublisherInfo, StreamStats};

/// Bound for log lines about the clocks of a stream's publishers.
const CLOCK_FAULTS: EventLimit = EventLimit::new(4, Duration::from_secs(60));

/// What viewers are sent of B-frames that other frames reference, as they are.
const IN_ORDER_OR_KEYFRAMES: &str =
    "all frames where their player can put them in order, and else only keyframes";

/// How a transcoder is had.
const INSTALL_FFMPEG: &str = "Install ffmpeg (the default container image has it), see [transcode]";

/// Pause after which an audio thread is started again that the system had no memory or no thread for.
const AUDIO_RETRY: Duration = Duration::from_secs(10);

/// A named stream: its tracks, its clock, its cache and its subscribers.
///
/// One short lock guards it; it is taken once per frame by the publisher and never while a frame is
/// sent to a viewer.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    config: Arc<HubConfig>,
    transcoder: Arc<TranscoderPresence>,
    epoch: Instant,
    state: Mutex<State>,
    /// How many subscribers there are, for those who wait for a change of that.
    subscriber_count: watch::Sender<usize>,
    /// Whether a publisher is there, likewise.
    liveness: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    live_since: Option<Instant>,
    /// Whose frames are taken, and how to tell it that they are not any more.
    publisher: Option<(u64, watch::Sender<Option<Dismissal>>)>,
    next_publisher: u64,
    info: Option<Arc<PublisherInfo>>,
    missing_video: Option<Arc<MissingVideo>>,
    missing_audio: Option<Arc<MissingAudio>>,
    /// The last `onMetaData`.
    metadata: Option<Arc<TimedData>>,
    video: Option<Arc<VideoTrack>>,
    audio: Option<Arc<AudioTrack>>,
    /// Runs while somebody takes Opus and the audio is AAC.
    audio_thread: Option<AudioThread>,
    next_audio_thread: u64,
    /// When it is started again after the system had no thread for it.
    audio_retry_at: Option<Instant>,
    /// Set when B-frames were found that nobody was told of yet.
    tells_b_frames: bool,
    /// Whether it was said what viewers get without a transcoder who take the codec, and who do not.
    told_no_transcoder: [bool; 2],
    /// Bounds the log lines about the publisher's clock.
    clock_faults: EventLimit,
    timeline: Timeline,
    b_frames: BFrameDetector,
    adapter: Adapter,
    cache: GopCache,
    /// Set until the publisher's first keyframe: nothing before it can be decoded.
    awaiting_keyframe: bool,
    subscribers: Vec<Subscriber>,
    next_subscriber: u64,
    /// Subscribers that are on their way.
    reservations: usize,
    video_frames: u64,
    audio_frames: u64,
    bytes: u64,
    dropped: u64,
    meter: Meter,
}

/// Why a publisher may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// Another publisher has taken the stream over.
    Replaced,
    /// Whoever runs the gateway wants it gone.
    Removed,
}

impl Stream {
    pub(crate) fn new(
        name: StreamName,
        config: Arc<HubConfig>,
        transcoder: Arc<TranscoderPresence>,
        now: Instant,
    ) -> Self {
        let state = State {
            live_since: None,
            publisher: None,
            next_publisher: 0,
            info: None,
            missing_video: None,
            missing_audio: None,
            metadata: None,
            video: None,
            audio: None,
            audio_thread: None,
            next_audio_thread: 0,
            audio_retry_at: None,
            tells_b_frames: false,
            told_no_transcoder: [false; 2],
            clock_faults: CLOCK_FAULTS,
            timeline: Timeline::new(now),
            b_frames: BFrameDetector::default(),
            adapter: Adapter::new(config.sei(&name), config.vui(&name)),
            cache: GopCache::new(config.streams.cache_size, config.streams.cache_duration),
            awaiting_keyframe: true,
            subscribers: Vec::new(),
            next_subscriber: 0,
            reservations: 0,
            video_frames: 0,
            audio_frames: 0,
            bytes: 0,
            dropped: 0,
            meter: Meter::new(now),
        };
        Self {
            name,
            config,
            transcoder,
            epoch: now,
            state: Mutex::new(state),
            subscriber_count: watch::Sender::new(0),
            liveness: watch::Sender::new(false),
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

    /// Whether a publisher is there, and when that changes.
    pub fn liveness(&self) -> watch::Receiver<bool> {
        self.liveness.subscribe()
    }

    /// The stream in figures.
    pub fn stats(&self) -> StreamStats {
        let state = self.lock();
        StreamStats {
            live_since: state.live_since,
            info: state.info.clone(),
            video: state.video.clone(),
            audio: state.audio.clone(),
            missing_video: state.missing_video.clone(),
            missing_audio: state.missing_audio.clone(),
            b_frames: state
                .b_frames
                .is_certain()
                .then(|| state.b_frames.b_frames()),
            video_frames: state.video_frames,
            audio_frames: state.audio_frames,
            bytes: state.bytes,
            dropped: state.dropped,
            cached_bytes: state.cache.bytes(),
            cached: state.cache.duration(),
            cache_overflow: state.cache.overflow(),
        }
    }

    /// What is done with its B-frames. A rendition is what was done.
    pub fn b_frame_policy(&self) -> BFramePolicy {
        match self.name.is_rendition() {
            true => BFramePolicy::Drop,
            false => self.config.b_frames(&self.name),
        }
    }

    /// Whether it has B-frames, or is to be expected to have some, for which its policy is to encode it
    /// anew.
    pub fn needs_transcoding(&self) -> bool {
        let b_frames = self.lock().b_frames.b_frames();
        match self.b_frame_policy() {
            BFramePolicy::Auto => b_frames == BFrames::Reference,
            BFramePolicy::Transcode => b_frames != BFrames::None,
            BFramePolicy::Drop | BFramePolicy::Reorder | BFramePolicy::Refuse => false,
        }
    }

    /// Says once for each publisher what viewers get who need a transcode where there is no transcoder: those
    /// who do, by `takes_codec`, know the codec but for its B-frames. Returns whether it was said now.
    pub(crate) fn note_no_transcoder(&self, takes_codec: bool) -> bool {
        let told = &mut self.lock().told_no_transcoder[usize::from(takes_codec)];
        if std::mem::replace(told, true) {
            return false;
        }
        let get = if takes_codec {
            IN_ORDER_OR_KEYFRAMES
        } else {
            "no video"
        };
        warn!(
            stream = %self.name,
            "viewers need a transcode of the stream, and ffmpeg is not there: they get {get}. {INSTALL_FFMPEG}, or let \
             the encoder send H264 without B-frames"
        );
        true
    }

    /// What its publisher sends, measured over the last seconds before `now`.
    pub fn publisher_stats(&self, now: Instant) -> PublisherStats {
        self.lock().meter.stats(now)
    }

    /// Tells the publisher to go. `false`: there is none.
    pub fn dismiss_publisher(&self) -> bool {
        let state = self.lock();
        if let Some((_, dismissed)) = &state.publisher {
            dismissed.send_replace(Some(Dismissal::Removed));
        }
        state.publisher.is_some()
    }

    /// How its publisher describes it, as it did last.
    pub fn metadata(&self) -> Option<Arc<TimedData>> {
        self.lock().metadata.clone()
    }

    /// The number of subscribers, and what it becomes. Subscribers are egress shards and RTMP
    /// players, and those who have a reservation; while it is 0 nobody watches.
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

    /// Takes the publisher's place if it is free.
    pub(crate) fn take_publisher(&self, now: Instant) -> Option<Claim> {
        let mut state = self.lock();
        if state.publisher.is_some() {
            return None;
        }
        for subscriber in &state.subscribers {
            subscriber.deliver(StreamEvent::Online);
        }
        self.liveness.send_replace(true);
        Some(state.claim(now))
    }

    /// Takes the publisher's place, free or not. Subscribers see the stream go on.
    pub(crate) fn take_over(&self, now: Instant) -> Claim {
        let mut state = self.lock();
        if let Some((_, replaced)) = state.publisher.take() {
            state.cache.clear();
            replaced.send_replace(Some(Dismissal::Replaced));
        } else {
            for subscriber in &state.subscribers {
                subscriber.deliver(StreamEvent::Online);
            }
        }
        self.liveness.send_replace(true);
        state.claim(now)
    }

    fn release_publisher(&self, id: u64) {
        let mut state = self.lock();
        if !state.is_current(id) {
            return;
        }
        state.publisher = None;
        state.live_since = None;
        state.info = None;
        state.missing_video = None;
        state.missing_audio = None;
        state.metadata = None;
        state.audio_thread = None;
        state.cache.clear();
        for subscriber in &state.subscribers {
            subscriber.deliver(StreamEvent::Offline);
        }
        self.liveness.send_replace(false);
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
            state.audio_thread = None;
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
        state.live_since.is_none() && state.subscribers.is_empty() && state.reservations == 0
    }

    #[cfg(test)]
    pub(crate) fn has_audio_thread(&self) -> bool {
        self.audio_thread_id().is_some()
    }

    #[cfg(test)]
    pub(crate) fn audio_thread_id(&self) -> Option<u64> {
        self.lock().audio_thread.as_ref().map(AudioThread::id)
    }

    /// How many percent of the packets of sound listeners lose: the most that a subscriber tells.
    pub fn audio_loss(&self) -> u8 {
        let state = self.lock();
        let losses = state.subscribers.iter().map(Subscriber::audio_loss);
        losses.max().unwrap_or(0)
    }

    /// The options for its sound.
    /// Returns the settings of the stream.
    pub fn settings(&self) -> &StreamsConfig {
        &self.config.streams
    }

    pub(crate) fn opus_config(&self) -> OpusConfig {
        self.config.streams.opus()
    }

    /// Hands what an audio thread made to the subscribers, unless another thread has taken its
    /// place: then its times may lie before what they have already.
    pub(crate) fn deliver_opus(&self, thread: u64, frames: impl Iterator<Item = AudioFrame>) {
        let mut state = self.lock();
        if state
            .audio_thread
            .as_ref()
            .is_some_and(|current| current.id() == thread)
        {
            for frame in frames {
                state.deliver_audio(&Arc::new(Frame::Audio(frame)), AudioForm::Opus);
            }
        }
    }

    fn push(
        self: &Arc<Self>,
        publisher: u64,
        mut frame: Frame,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut state = self.lock();
        if !state.is_current(publisher) {
            return Ok(());
        }
        if let Some(fault) = state.timeline.place(&mut frame, now)
            && let Some(held_back) = state.clock_faults.admit(now)
        {
            let track = match frame {
                Frame::Video(_) => "video",
                Frame::Audio(_) => "audio",
            };
            warn!(stream = %self.name, track, held_back, "{fault}; check the encoder's clock");
        }
        state.bytes += frame.payload_len() as u64;
        state.meter.handle(&frame, now);
        match &mut frame {
            Frame::Video(video) => {
                state.video_frames += 1;
                if state.awaiting_keyframe && !video.keyframe {
                    return Ok(());
                }
                state.awaiting_keyframe = false;
                let before = state.b_frames.b_frames();
                state.b_frames.observe(video);
                let b_frames = state.b_frames.b_frames();
                if b_frames > before {
                    if self.b_frame_policy() == BFramePolicy::Refuse {
                        return Err(Refusal::BFrames);
                    }
                    state.tells_b_frames = true;
                }
                if state.tells_b_frames
                    && let Some(has_transcoder) = self.transcoder.is_there()
                {
                    state.tells_b_frames = false;
                    self.tell_b_frames(&mut state, b_frames, has_transcoder);
                }
                let State {
                    adapter, b_frames, ..
                } = &mut *state;
                adapter.adapt(video, b_frames);
                let frame = Arc::new(frame);
                state.cache.push(&frame, now);
                state.deliver_where(&frame, Some(now), |_| true);
            }
            Frame::Audio(audio) => {
                state.audio_frames += 1;
                if audio.codec == AudioCodec::Aac {
                    state.transcode(self, audio, now);
                    state.deliver_audio(&Arc::new(frame), AudioForm::Published);
                } else {
                    state.deliver_where(&Arc::new(frame), None, |_| true);
                }
            }
        }
        Ok(())
    }

    /// Says that the video has B-frames, or other ones than it had, and what viewers get: in one line, so that no
    /// other has to say later that there is no transcoder.
    fn tell_b_frames(&self, state: &mut State, b_frames: BFrames, has_transcoder: bool) {
        let policy = self.b_frame_policy();
        let needs_transcode = match policy {
            BFramePolicy::Auto => b_frames == BFrames::Reference,
            BFramePolicy::Transcode => true,
            BFramePolicy::Drop | BFramePolicy::Reorder | BFramePolicy::Refuse => false,
        };
        let get = match (needs_transcode, has_transcoder) {
            (true, true) => "viewers get a transcode of it".to_owned(),
            (true, false) => {
                state.told_no_transcoder[1] = true;
                format!(
                    "ffmpeg is not there for a transcode, so viewers get {IN_ORDER_OR_KEYFRAMES}. {INSTALL_FFMPEG}"
                )
            }
            (false, _) if b_frames == BFrames::NonReference && policy != BFramePolicy::Reorder => {
                "they are dropped, so that video is less smooth".to_owned()
            }
            (false, _) => format!("viewers get {IN_ORDER_OR_KEYFRAMES}"),
        };
        warn!(
            stream = %self.name, %b_frames, ?policy,
            "the stream has B-frames, which WebRTC players cannot show as they are: {get}. Best is to send none: \
             {BFrameAdvice}"
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock leaves the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to feed a stream, until another takes it over.
#[derive(Debug)]
pub(crate) struct Claim {
    id: u64,
    dismissed: watch::Receiver<Option<Dismissal>>,
}

impl State {
    /// Makes room for a publisher that knows nothing of the one before.
    fn claim(&mut self, now: Instant) -> Claim {
        let id = self.next_publisher;
        self.next_publisher += 1;
        let (tell, dismissed) = watch::channel(None);
        self.publisher = Some((id, tell));
        self.meter = Meter::new(now);
        self.live_since = Some(now);
        self.info = None;
        self.missing_video = None;
        self.missing_audio = None;
        self.metadata = None;
        // A track of its own, also if it is the same: its audio begins at another place.
        self.audio = self.audio.take().map(|track| Arc::new((*track).clone()));
        self.timeline.restart();
        self.tells_b_frames = false;
        self.told_no_transcoder = [false; 2];
        self.b_frames = BFrameDetector::default();
        self.awaiting_keyframe = true;
        Claim { id, dismissed }
    }

    fn is_current(&self, publisher: u64) -> bool {
        self.publisher
            .as_ref()
            .is_some_and(|(id, _)| *id == publisher)
    }

    /// Gives AAC to the stream's audio thread, which delivers Opus. When nobody takes Opus nothing is
    /// done.
    fn transcode(&mut self, stream: &Arc<Stream>, frame: &AudioFrame, now: Instant) {
        let (Some(track), true) = (&self.audio, self.has_subscriber(AudioForm::Opus)) else {
            return;
        };
        let track = Arc::clone(track);
        if self.audio_thread.is_none() {
            self.start_audio_thread(stream, now);
        }
        self.dropped += match &self.audio_thread {
            Some(thread) => thread.push(track, frame.clone(), now),
            None => 1,
        };
    }

    fn start_audio_thread(&mut self, stream: &Arc<Stream>, now: Instant) {
        if self.audio_retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.next_audio_thread += 1;
        match AudioThread::spawn(self.next_audio_thread, stream) {
            Ok(thread) => self.audio_thread = Some(thread),
            Err(error) => {
                self.audio_retry_at = Some(now + AUDIO_RETRY);
                error!(
                    stream = %stream.name, %error,
                    "no thread for the audio, viewers hear nothing: raise the limit of threads or memory"
                );
            }
        }
    }

    /// Delivers sound to those who take it in this form.
    fn deliver_audio(&mut self, frame: &Arc<Frame>, form: AudioForm) {
        self.deliver_where(frame, None, |subscriber| subscriber.audio_form() == form);
    }

    fn deliver_where(
        &mut self,
        frame: &Arc<Frame>,
        arrived: Option<Instant>,
        takes: impl Fn(&Subscriber) -> bool,
    ) {
        for subscriber in self
            .subscribers
            .iter_mut()
            .filter(|subscriber| takes(subscriber))
        {
            if !subscriber.deliver_frame(frame, arrived) {
                self.dropped += 1;
            }
        }
    }

    fn has_subscriber(&self, form: AudioForm) -> bool {
        let mut forms = self.subscribers.iter().map(Subscriber::audio_form);
        forms.any(|other| other == form)
    }
}
