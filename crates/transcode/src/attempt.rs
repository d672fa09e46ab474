//! One run of an encoder: video frames in, video frames out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{Delivery, Hub, RunningTranscoder, Sink, Stream, StreamEvent, Subscription};
use distributary_media::flv::FlvEvent;
use distributary_media::{AudioFrame, Frame, TimedData, VideoFrame, VideoTrack};
use distributary_names::StreamName;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::TranscodeConfig;
use crate::encoder::Encoder;
use crate::feed::Feed;
use crate::harvest::{Harvest, HarvestError};

/// Maximum deliveries that wait for an encoder, about three seconds of video and audio. If an
/// encoder falls further behind, frames up to the next keyframe are dropped.
const QUEUE: usize = 256;

/// Maximum time until a stream's first video frame.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for which an encoder may read frames without returning any.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

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
pub(crate) enum Output {
    /// A track or a video frame from the encoder.
    Encoded(FlvEvent),
    /// An audio frame of the stream.
    Audio(AudioFrame),
    /// Timed data of the publisher.
    Data(Arc<TimedData>),
    /// The stream's publisher has left.
    Offline,
    /// The video track or the publisher has changed: the stream needs another encoder.
    Changed,
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

    /// Waits until there is a publisher. It may be dropped and called again.
    pub(crate) async fn online(&mut self) {
        // The subscription holds the stream, so the channel stays open.
        let _ = self.liveness.wait_for(|is_live| *is_live).await;
    }

    /// Returns the next event of the queue if `is_ready`. First of all it returns that the
    /// publisher has left or was replaced. It may be dropped and called again.
    async fn next(&mut self, is_ready: bool) -> Result<StreamEvent, Output> {
        tokio::select! {
            biased;
            _ = self.liveness.changed() => Err(if *self.liveness.borrow_and_update() {
                Output::Changed
            } else {
                Output::Offline
            }),
            Some(delivery) = self.queue.recv(), if is_ready => Ok(delivery.event),
        }
    }

    /// Sets the loss of audio packets on the way to the viewers, in percent.
    pub(crate) fn set_audio_loss(&self, percent: u8) {
        self.subscription.set_audio_loss(percent);
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
    harvest: Harvest,
    _counted: RunningTranscoder,
    /// Time of the first frame read for which no frame was returned yet.
    unanswered_since: Option<Instant>,
    /// True after a line about a slow encoder was logged.
    logged_slow: bool,
}

impl Attempt {
    /// Starts an encoder. It decodes the frames since the last keyframe, and encodes from the
    /// newest of them on, so that viewers start live.
    pub(crate) async fn begin(
        mut source: Source,
        config: &TranscodeConfig,
        hub: &Hub,
    ) -> Result<Self, AttemptError> {
        let deadline = Instant::now() + FIRST_FRAME_TIMEOUT;
        let frames = timeout_at(deadline, source.first_frames()).await;
        let frames = frames.unwrap_or_default();
        let stats = source.stream().stats();
        let (Some(first), Some(last), Some(track)) = (frames.first(), frames.last(), stats.video)
        else {
            return Err(AttemptError::NoFrame);
        };
        check_size(&track, config.max_pixels)?;
        let origin = first.dts;
        let skip = Duration::from_millis(last.dts.saturating_since(origin).as_millis() as u64);
        let encoder = Encoder::start(config, skip).map_err(|source| AttemptError::Start {
            command: config.command.clone(),
            source,
        })?;
        let counted = hub.count_transcoder(source.stream().name(), encoder.id());
        tracing::info!(
            codec = %track.codec,
            size = %format_args!("{}x{}", track.width, track.height),
            pid = encoder.id(),
            "transcoding starts"
        );
        let frame_rate = stats.info.and_then(|info| info.frame_rate);
        let mut feed = Feed::new(track, origin, frame_rate);
        for frame in &frames {
            feed.push(frame);
        }
        Ok(Self {
            source,
            encoder,
            feed,
            // The encoder's clock starts at the first frame that it does not skip.
            harvest: Harvest::new(origin + skip),
            _counted: counted,
            unanswered_since: Some(Instant::now()),
            logged_slow: false,
        })
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the next event. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Output, AttemptError> {
        loop {
            if let Some(event) = self.harvest.next_event()? {
                self.unanswered_since = None;
                return Ok(Output::Encoded(event));
            }
            let is_fed = self.feed.pending().is_empty();
            let due = self.unanswered_since.map(|since| since + STALL_TIMEOUT);
            tokio::select! {
                event = self.source.next(is_fed) => {
                    let event = match event {
                        Ok(event) => event,
                        Err(change) => return Ok(change),
                    };
                    self.log_if_slow();
                    if let Some(passed) = self.handle(event) {
                        return Ok(passed);
                    }
                }
                exchanged = self.encoder.exchange(self.feed.pending(), self.harvest.buffer()) => {
                    exchanged.map_err(|error| AttemptError::Ended(error.to_string()))?;
                }
                () = reached(due) => return Err(AttemptError::Stalled),
            }
        }
    }

    /// Feeds video frames to the encoder, and returns the events that bypass it.
    fn handle(&mut self, event: StreamEvent) -> Option<Output> {
        match event {
            StreamEvent::Frame(frame) => match &*frame {
                Frame::Video(video) => {
                    if video.keyframe && self.has_new_track() {
                        return Some(Output::Changed);
                    }
                    self.feed.push(video);
                    self.unanswered_since.get_or_insert_with(Instant::now);
                    None
                }
                Frame::Audio(audio) => Some(Output::Audio(audio.clone())),
            },
            StreamEvent::Data(data) => Some(Output::Data(data)),
            _ => None,
        }
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

    /// Ends the encoder. Returns the stream, and the encoder's exit status if it exited by itself.
    pub(crate) async fn end(self) -> (Source, Option<String>) {
        let status = self.encoder.end().await;
        (self.source, status.map(|status| status.to_string()))
    }
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

/// Completes at this moment; never if it is `None`.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_hub::HubConfig;
    use distributary_media::{AudioCodec, MediaTime};

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
        let audio = |n: i64| {
            Frame::Audio(AudioFrame {
                codec: AudioCodec::Opus,
                pts: MediaTime::from_millis(20 * n),
                data: bytes::Bytes::from_static(&[0xfc]),
            })
        };
        for n in 0..=QUEUE as i64 {
            publisher.push(audio(n), now).expect("it may be published");
        }
        assert_eq!(source.queue.len(), QUEUE, "the queue is full");
        drop(publisher);
        assert!(matches!(source.next(true).await, Err(Output::Offline)));
        let first = hub.publish(&name, now).expect("it is free");
        source.online().await;
        let _second = hub.take_over(&name, now);
        drop(first);
        assert!(matches!(source.next(true).await, Err(Output::Changed)));
        assert!(source.next(true).await.is_ok(), "once");
    }
}
