//! One run of an encoder: video frames in, video frames out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use distributary_hub::{
    AudioForm, Delivery, Hub, RunningTranscoder, Sink, Stream, StreamEvent, Subscription,
};
use distributary_media::flv::FlvEvent;
use distributary_media::{Frame, MediaTime, VideoFrame, VideoTrack};
use distributary_names::{RenditionId, StreamName};
use distributary_net::reached;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::arguments::Run;
use crate::context::TranscodeContext;
use crate::encoder::{Encoder, ReadBuffers};
use crate::feed::Feed;
use crate::harvest::{Harvest, HarvestError};
use crate::keyframes::{KeyframePlan, KeyframeRequests};
use crate::ladder::Output;
use crate::output_limit::OutputLimit;

/// Maximum deliveries that wait for an encoder, about three seconds of video and audio. If an
/// encoder falls further behind, frames up to the next keyframe are dropped.
const QUEUE: usize = 256;

/// Maximum time until a stream's first video frame.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for which the start of an encoder waits for one more frame.
const NEXT_FRAME_TIMEOUT: Duration = Duration::from_millis(50);

/// Maximum time for which an encoder may read frames without returning any.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest interval between keyframes: the longest wait of a viewer that has lost one.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);

/// The reason why a run of an encoder fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    /// The program cannot be run.
    #[error("{command:?} cannot be run: {source}")]
    Start {
        /// The program.
        command: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The stream does not exist, or has no video frame.
    #[error("the stream has no video frame")]
    NoFrame,
    /// The frame size of the stream exceeds the limit.
    #[error("{width}x{height} is more than the {limit} pixels that are transcoded: see max_pixels")]
    TooLarge {
        /// Width of the video.
        width: u32,
        /// Height of the video.
        height: u32,
        /// The maximum number of pixels.
        limit: u64,
    },
    /// The encoder has ended.
    #[error("the encoder has ended ({0})")]
    Ended(String),
    /// The encoder does not return frames.
    #[error("the encoder returned no video frame within {STALL_TIMEOUT:?}")]
    Stalled,
    /// The output of the encoder is invalid.
    #[error("the output of the encoder is invalid: {0}")]
    Harvest(#[from] HarvestError),
}

/// An event of an encoder, or of the stream that it encodes.
#[derive(Debug)]
pub(crate) enum Event {
    /// A keyframe of the stream goes to the encoder, which has returned no frame of that
    /// presentation time or later.
    SourceKeyframe(MediaTime),
    /// As above, for a frame of the stream of which only this encoder makes a keyframe, on request.
    RequestedKeyframe(MediaTime),
    /// A track or a video frame of an output.
    Encoded(RenditionId, FlvEvent),
    /// The run has ended.
    Ended(RunEnd),
}

/// The reason why a run ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunEnd {
    /// The stream's publisher has left.
    #[error("the stream has ended")]
    Offline,
    /// The video track or the publisher has changed: the stream needs another encoder.
    #[error("the stream has changed")]
    Changed,
    /// It failed.
    #[error(transparent)]
    Failed(#[from] AttemptError),
}

/// A subscription to the stream that is encoded.
#[derive(Debug)]
pub(crate) struct Source {
    subscription: Subscription,
    queue: mpsc::Receiver<Delivery>,
    /// The video frames since the last keyframe, before those in the queue.
    cached: Vec<Arc<Frame>>,
    /// Follows whether there is a publisher: a full queue would lose the event.
    liveness: watch::Receiver<bool>,
}

impl Source {
    /// Subscribes to the stream. Returns `None` if there is none of this name.
    pub(crate) fn subscribe(hub: &Hub, name: &StreamName) -> Option<Self> {
        let (sink, queue) = Sink::channel(QUEUE);
        let sink = sink.with_audio(AudioForm::Without);
        let (subscription, cached) = hub.subscribe(name, sink, 0)?;
        Some(Self {
            liveness: subscription.stream().liveness(),
            subscription,
            queue,
            cached,
        })
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.subscription.stream()
    }

    /// Returns the next event of the queue if `is_ready`. First of all it returns that the
    /// publisher has left or was replaced. It may be dropped and called again.
    async fn next(&mut self, is_ready: bool) -> Result<StreamEvent, RunEnd> {
        tokio::select! {
            biased;
            _ = self.liveness.changed() => Err(if *self.liveness.borrow_and_update() {
                RunEnd::Changed
            } else {
                RunEnd::Offline
            }),
            Some(delivery) = self.queue.recv(), if is_ready => Ok(delivery.event),
        }
    }

    /// Returns the frames to start with, a keyframe first.
    async fn first_frames(&mut self) -> Vec<VideoFrame> {
        let mut frames = Vec::new();
        for frame in self.cached.drain(..) {
            frames.extend(video(&frame).cloned());
        }
        while frames.is_empty() {
            match self.queue.recv().await.map(|delivery| delivery.event) {
                Some(StreamEvent::Frame(frame)) if frame.is_keyframe() => {
                    frames.extend(video(&frame).cloned());
                }
                Some(_) => {}
                None => break,
            }
        }
        frames
    }

    /// Returns the next video frame if it comes soon.
    async fn next_soon(&mut self) -> Option<VideoFrame> {
        let deadline = Instant::now() + NEXT_FRAME_TIMEOUT;
        while let Ok(Some(delivery)) = timeout_at(deadline, self.queue.recv()).await {
            if let StreamEvent::Frame(frame) = delivery.event
                && let Some(video) = video(&frame)
            {
                return Some(video.clone());
            }
        }
        None
    }
}

fn video(frame: &Frame) -> Option<&VideoFrame> {
    match frame {
        Frame::Video(frame) => Some(frame),
        Frame::Audio(_) => None,
    }
}

/// A running encoder with its input and output.
#[derive(Debug)]
pub(crate) struct Attempt {
    source: Source,
    encoder: Encoder,
    feed: Feed,
    outputs: Outputs,
    keyframes: KeyframePlan,
    /// The latest presentation time that was queued for the encoder.
    newest: MediaTime,
    hub: Hub,
    _counted: RunningTranscoder,
    /// Time of the first frame read for which no frame was returned yet.
    unanswered_since: Option<Instant>,
    /// True after a line about a slow encoder was logged.
    logged_slow: bool,
}

/// The readers of an encoder's outputs.
#[derive(Debug)]
struct Outputs(Vec<(RenditionId, Harvest)>);

impl ReadBuffers for Outputs {
    fn buffer(&mut self, output: usize) -> Option<&mut BytesMut> {
        self.0.get_mut(output).map(|(_, harvest)| harvest.buffer())
    }
}

impl Outputs {
    /// Returns the next track or video frame.
    fn next_event(&mut self) -> Result<Option<(RenditionId, FlvEvent)>, HarvestError> {
        let now = Instant::now();
        for (id, harvest) in &mut self.0 {
            if let Some(event) = harvest.next_event(now)? {
                return Ok(Some((*id, event)));
            }
        }
        Ok(None)
    }
}

/// Runs an encoder until the stream or the encoder ends. Its events go to `events`, the last of
/// them is the end.
pub(crate) async fn run(
    context: Arc<TranscodeContext>,
    name: StreamName,
    outputs: Vec<Output>,
    keyframes: KeyframeRequests,
    events: mpsc::Sender<Event>,
) {
    let end = match Attempt::begin(&context, &name, outputs, keyframes).await {
        Ok(attempt) => attempt.run(&events).await,
        Err(end) => end,
    };
    // Nobody listens to an encoder that is not needed anymore.
    let _ = events.send(Event::Ended(end)).await;
}

impl Attempt {
    /// Starts an encoder. It decodes the frames since the last keyframe, and encodes from the
    /// newest of them on, so that viewers start live. That one is, if the stream does not pause,
    /// newer than all that was sent to the viewers for which it is started, so its keyframe is the
    /// next frame that they see.
    async fn begin(
        context: &TranscodeContext,
        name: &StreamName,
        outputs: Vec<Output>,
        keyframes: KeyframeRequests,
    ) -> Result<Self, RunEnd> {
        let Some(mut source) = Source::subscribe(&context.hub, name) else {
            return Err(AttemptError::NoFrame.into());
        };
        if !source.stream().is_live() {
            return Err(RunEnd::Offline);
        }
        let deadline = Instant::now() + FIRST_FRAME_TIMEOUT;
        let frames = timeout_at(deadline, source.first_frames()).await;
        let mut frames = frames.unwrap_or_default();
        if let Some(next) = source.next_soon().await {
            if next.keyframe {
                frames.clear();
            }
            frames.push(next);
        }
        let stats = source.stream().stats();
        let (Some(first), Some(last), Some(track)) = (frames.first(), frames.last(), stats.video)
        else {
            return Err(AttemptError::NoFrame.into());
        };
        check_size(&track, context.config.max_pixels)?;
        let origin = first.dts;
        let skip = Duration::from_millis(last.dts.saturating_since(origin).as_millis() as u64);
        let declared = stats.info.and_then(|info| info.frame_rate);
        let measured = source.stream().publisher_stats(Instant::now().into_std());
        let run = Run {
            skip,
            outputs,
            keyframe_interval: keyframe_interval(measured.frame_rate.max(declared.unwrap_or(0.0))),
            has_fps_mode: context.has_fps_mode,
        };
        let encoder =
            Encoder::start(&context.config, &run).map_err(|source| AttemptError::Start {
                command: context.config.command.clone(),
                source,
            })?;
        let counted = context.hub.count_transcoder(name, encoder.id());
        let ids = run.outputs.iter().map(|output| output.id.to_string());
        tracing::info!(
            codec = %track.codec,
            size = %format_args!("{}x{}", track.width, track.height),
            pid = encoder.id(),
            renditions = ids.collect::<Vec<_>>().join(", "),
            "transcoding starts"
        );
        let mut feed = Feed::new(track, origin, declared);
        for frame in &frames {
            feed.push(frame);
        }
        // The encoder's clock starts at the first frame that it does not skip.
        let now = Instant::now();
        let harvest = |output: &Output| {
            let limit = OutputLimit::new(output.limit, now);
            (output.id, Harvest::new(origin + skip, limit))
        };
        let mut keyframes = KeyframePlan::new(keyframes);
        let newest = frames.iter().map(|frame| frame.pts).max();
        keyframes.note_keyframe(last.pts, now);
        Ok(Self {
            newest: newest.unwrap_or(last.pts),
            hub: context.hub.clone(),
            source,
            encoder,
            feed,
            outputs: Outputs(run.outputs.iter().map(harvest).collect()),
            keyframes,
            _counted: counted,
            unanswered_since: Some(now),
            logged_slow: false,
        })
    }

    async fn run(mut self, events: &mpsc::Sender<Event>) -> RunEnd {
        let end = self.relay(events).await;
        if let RunEnd::Failed(AttemptError::Ended(_)) = end
            && let Some(status) = self.encoder.exited().await
        {
            return AttemptError::Ended(status.to_string()).into();
        }
        self.encoder.end().await;
        end
    }

    async fn relay(&mut self, events: &mpsc::Sender<Event>) -> RunEnd {
        loop {
            let event = match self.next().await {
                Ok(event) => event,
                Err(end) => return end,
            };
            if events.send(event).await.is_err() {
                // It is not needed anymore.
                return RunEnd::Changed;
            }
        }
    }

    async fn next(&mut self) -> Result<Event, RunEnd> {
        loop {
            let output = self.outputs.next_event().map_err(AttemptError::from)?;
            if let Some((id, event)) = output {
                self.unanswered_since = None;
                return Ok(Event::Encoded(id, event));
            }
            let is_fed = self.feed.pending().is_empty();
            let due = self.unanswered_since.map(|since| since + STALL_TIMEOUT);
            tokio::select! {
                event = self.source.next(is_fed) => {
                    let event = event?;
                    self.log_if_slow();
                    if let Some(keyframe) = self.handle(&event)? {
                        return Ok(keyframe);
                    }
                }
                exchanged = self.encoder.exchange(self.feed.pending(), &mut self.outputs) => {
                    exchanged.map_err(|error| AttemptError::Ended(error.to_string()))?;
                }
                () = reached(due) => return Err(AttemptError::Stalled.into()),
            }
        }
    }

    /// Queues a video frame for the encoder. Returns the event if it is a keyframe.
    fn handle(&mut self, event: &StreamEvent) -> Result<Option<Event>, RunEnd> {
        let StreamEvent::Frame(frame) = event else {
            return Ok(None);
        };
        let Some(video) = video(frame) else {
            return Ok(None);
        };
        if video.keyframe && self.has_new_track() {
            return Err(RunEnd::Changed);
        }
        let now = Instant::now();
        // A B-frame cannot become a keyframe, and comes out before others that were queued.
        let is_newest = video.pts > self.newest;
        let is_due = is_newest && !video.keyframe && self.keyframes.is_due(video.pts, now);
        let is_requested = if is_due {
            self.feed.push_keyframe(video)
        } else {
            self.feed.push(video);
            false
        };
        if video.keyframe || is_requested {
            self.keyframes.note_keyframe(video.pts, now);
        }
        self.newest = self.newest.max(video.pts);
        self.unanswered_since.get_or_insert(now);
        if is_requested {
            self.keyframes.note_requested(now);
            self.hub.count_requested_keyframe();
            return Ok(Some(Event::RequestedKeyframe(video.pts)));
        }
        Ok(video.keyframe.then_some(Event::SourceKeyframe(video.pts)))
    }

    fn log_if_slow(&mut self) {
        // The slot of the event just taken may have been filled again.
        if !self.logged_slow && self.source.queue.len() + 1 >= QUEUE {
            self.logged_slow = true;
            tracing::warn!(
                "the encoder is slower than the stream: frames are dropped; see encode under [transcode]"
            );
        }
    }

    fn has_new_track(&self) -> bool {
        let track = self.source.stream().stats().video;
        track.is_some_and(|track| track != *self.feed.track())
    }
}

/// Returns the number of frames in [`KEYFRAME_INTERVAL`].
fn keyframe_interval(frame_rate: f64) -> u32 {
    let rate = if frame_rate > 0.0 {
        frame_rate.clamp(1.0, 240.0)
    } else {
        30.0
    };
    (rate * KEYFRAME_INTERVAL.as_secs_f64()).round() as u32
}

fn check_size(track: &VideoTrack, limit: u64) -> Result<(), AttemptError> {
    let (width, height) = (track.width, track.height);
    if limit > 0 && u64::from(width) * u64::from(height) > limit {
        return Err(AttemptError::TooLarge {
            width,
            height,
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TranscodeConfig;
    use distributary_hub::HubConfig;
    use distributary_media::test_util::video_frame;

    #[test]
    fn keyframes_are_two_seconds_apart_at_any_rate() {
        for (rate, frames) in [
            (0.0, 60),
            (25.0, 50),
            (59.94, 120),
            (1e9, 480),
            (f64::NAN, 60),
        ] {
            assert_eq!(keyframe_interval(rate), frames, "{rate}");
        }
    }

    #[test]
    fn stream_over_the_pixel_limit_is_not_transcoded() {
        let track = |width, height| VideoTrack {
            codec: distributary_media::VideoCodec::H264,
            width,
            height,
            profile_level_id: [0; 3],
            config: bytes::Bytes::new(),
        };
        let limit = TranscodeConfig::default().max_pixels;
        assert!(check_size(&track(3840, 2160), limit).is_ok());
        assert!(check_size(&track(8192, 4320), 0).is_ok());
        let error = check_size(&track(8192, 4320), limit).unwrap_err();
        assert!(error.to_string().contains("8192x4320"), "{error}");
    }

    #[tokio::test]
    async fn end_of_the_publisher_is_noticed_with_a_full_queue() {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").expect("a name");
        let now = Instant::now().into_std();
        let publisher = hub.publish(&name, now).expect("it is free");
        let mut source = Source::subscribe(&hub, &name).expect("it is there");
        let video = |n: i64| Frame::Video(video_frame(40 * n, n == 0, 1));
        for n in 0..=QUEUE as i64 {
            publisher.push(video(n), now).expect("it may be published");
        }
        assert_eq!(source.queue.len(), QUEUE, "the queue is full");
        drop(publisher);
        assert!(matches!(source.next(true).await, Err(RunEnd::Offline)));
        let first = hub.publish(&name, now).expect("it is free");
        let live = source.liveness.wait_for(|is_live| *is_live).await;
        assert!(live.is_ok());
        drop(live);
        let _second = hub.take_over(&name, now);
        drop(first);
        assert!(matches!(source.next(true).await, Err(RunEnd::Changed)));
        assert!(source.next(true).await.is_ok(), "once");
    }
}
