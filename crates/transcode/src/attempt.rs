//! The work of one encoder: pictures in, pictures out.

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

/// Deliveries that wait for an encoder, some three seconds of pictures and sound. One that is further
/// behind is not fast enough: it is given no pictures up to the next keyframe.
const QUEUE: usize = 256;

/// How long a stream may take to its first picture.
const FIRST_PICTURE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an encoder may take in pictures and give none back.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an encoder is given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    /// The program cannot be run.
    #[error("{command:?} cannot be run: {source}")]
    Start {
        /// The program.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// The stream to be encoded is not there, or shows no picture.
    #[error("the stream has no picture")]
    NoPicture,
    /// The stream is larger than what is transcoded.
    #[error("{width}x{height} is more than the {limit} pixels that are transcoded: see max_pixels")]
    TooLarge {
        /// Width of the video.
        width: u32,
        /// Height of the video.
        height: u32,
        /// The most pixels.
        limit: u64,
    },
    /// The encoder has ended.
    #[error("the encoder has ended ({0})")]
    Ended(String),
    /// The encoder does nothing.
    #[error("the encoder made no picture within {STALL_TIMEOUT:?}")]
    Stalled,
    /// What the encoder makes is of no use.
    #[error("the encoder wrote something else than pictures: {0}")]
    Harvest(#[from] HarvestError),
}

/// What has come of an encoder, or past it.
#[derive(Debug)]
pub(crate) enum Yield {
    /// A track or a picture made by the encoder.
    Made(FlvEvent),
    /// Sound of the stream.
    Sound(AudioFrame),
    /// Something the publisher says.
    Data(Arc<TimedData>),
    /// The stream's publisher has left.
    Offline,
    /// The stream's pictures are described anew, or come from another publisher: they need another encoder.
    Changed,
}

/// A stream that is to be encoded.
#[derive(Debug)]
pub(crate) struct Source {
    subscription: Subscription,
    queue: mpsc::Receiver<Delivery>,
    /// The pictures since the last keyframe, before those in the queue.
    cached: Vec<Arc<Frame>>,
    /// Whether the publisher is there: in a queue that is full, what is told of it would be lost.
    liveness: watch::Receiver<bool>,
}

impl Source {
    /// Subscribes to the stream; `None` when there is none of this name.
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

    /// Waits until its publisher is there. It may be dropped and called again.
    pub(crate) async fn online(&mut self) {
        // The stream, which tells it, is held here.
        let _ = self.liveness.wait_for(|is_live| *is_live).await;
    }

    /// What comes next, if it `takes` something: or, first of all, that the publisher has left, or another
    /// is there in its place. It may be dropped and called again.
    async fn next(&mut self, takes: bool) -> Result<StreamEvent, Yield> {
        tokio::select! {
            biased;
            _ = self.liveness.changed() => Err(match *self.liveness.borrow_and_update() {
                true => Yield::Changed,
                false => Yield::Offline,
            }),
            Some(delivery) = self.queue.recv(), if takes => Ok(delivery.event),
        }
    }

    /// Tells how much of the sound is lost on the way to the listeners.
    pub(crate) fn set_audio_loss(&self, percent: u8) {
        self.subscription.set_audio_loss(percent);
    }

    /// The pictures to begin with, a keyframe first.
    async fn first_pictures(&mut self) -> Vec<VideoFrame> {
        let mut pictures = Vec::new();
        for frame in self.cached.drain(..) {
            pictures.extend(picture(&frame).cloned());
        }
        while pictures.is_empty() {
            match self.queue.recv().await.map(|delivery| delivery.event) {
                Some(StreamEvent::Frame(frame)) if frame.is_keyframe() => {
                    pictures.extend(picture(&frame).cloned());
                }
                Some(_) => {}
                None => break,
            }
        }
        pictures
    }
}

fn picture(frame: &Frame) -> Option<&VideoFrame> {
    match frame {
        Frame::Video(frame) => Some(frame),
        Frame::Audio(_) => None,
    }
}

/// An encoder at work.
#[derive(Debug)]
pub(crate) struct Attempt {
    source: Source,
    encoder: Encoder,
    feed: Feed,
    harvest: Harvest,
    _counted: RunningTranscoder,
    /// Since when it owes a picture.
    owes_since: Option<Instant>,
    /// Whether it was too slow once, which is said once.
    was_slow: bool,
}

impl Attempt {
    /// Starts an encoder. It takes in the pictures since the last keyframe, and encodes from the newest
    /// of them on: viewers come to see the present.
    pub(crate) async fn begin(
        mut source: Source,
        config: &TranscodeConfig,
        hub: &Hub,
    ) -> Result<Self, AttemptError> {
        let deadline = Instant::now() + FIRST_PICTURE_TIMEOUT;
        let pictures = timeout_at(deadline, source.first_pictures()).await;
        let pictures = pictures.unwrap_or_default();
        let stats = source.stream().stats();
        let (Some(first), Some(last), Some(track)) =
            (pictures.first(), pictures.last(), stats.video)
        else {
            return Err(AttemptError::NoPicture);
        };
        check_size(&track, config.max_pixels)?;
        let origin = first.dts;
        let skip = Duration::from_millis(last.dts.saturating_since(origin).as_millis() as u64);
        let encoder = Encoder::start(config, skip).map_err(|source| AttemptError::Start {
            command: config.command.clone(),
            source,
        })?;
        let counted = hub.count_transcoder();
        tracing::info!(
            codec = %track.codec,
            size = %format_args!("{}x{}", track.width, track.height),
            pid = encoder.id(),
            "encoding begins"
        );
        let frame_rate = stats.info.and_then(|info| info.frame_rate);
        let mut feed = Feed::new(track, origin, frame_rate);
        for picture in &pictures {
            feed.push(picture);
        }
        Ok(Self {
            source,
            encoder,
            feed,
            // The encoder's clock begins with what it does not skip.
            harvest: Harvest::new(origin + skip),
            _counted: counted,
            owes_since: Some(Instant::now()),
            was_slow: false,
        })
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// What comes next. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Yield, AttemptError> {
        loop {
            if let Some(made) = self.harvest.next_event()? {
                self.owes_since = None;
                return Ok(Yield::Made(made));
            }
            let is_fed = self.feed.pending().is_empty();
            let due = self.owes_since.map(|since| since + STALL_TIMEOUT);
            tokio::select! {
                event = self.source.next(is_fed) => {
                    let event = match event {
                        Ok(event) => event,
                        Err(change) => return Ok(change),
                    };
                    self.note_slowness();
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

    /// Gives pictures to the encoder, and passes on what goes past it.
    fn handle(&mut self, event: StreamEvent) -> Option<Yield> {
        match event {
            StreamEvent::Frame(frame) => match &*frame {
                Frame::Video(picture) => {
                    if picture.keyframe && self.is_described_anew() {
                        return Some(Yield::Changed);
                    }
                    self.feed.push(picture);
                    self.owes_since.get_or_insert_with(Instant::now);
                    None
                }
                Frame::Audio(sound) => Some(Yield::Sound(sound.clone())),
            },
            StreamEvent::Data(data) => Some(Yield::Data(data)),
            _ => None,
        }
    }

    fn note_slowness(&mut self) {
        // The place of what has just been taken out may have been filled again.
        if !self.was_slow && self.source.queue.len() + 1 >= QUEUE {
            self.was_slow = true;
            tracing::warn!("the encoder is slower than the stream: pictures are left out for it");
        }
    }

    fn is_described_anew(&self) -> bool {
        let track = self.source.stream().stats().video;
        track.is_some_and(|track| track != *self.feed.track())
    }

    /// Ends the encoder. The stream is given back, and how the encoder ended if it did so by itself.
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

/// Completes at this moment; never where there is none.
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
    fn streams_over_the_limit_of_pixels_are_not_transcoded() {
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
    async fn the_end_of_a_publisher_is_noticed_whatever_waits_in_the_queue() {
        let hub = Hub::new(HubConfig::default());
        let name = StreamName::parse("live/test").expect("a name");
        let now = Instant::now().into_std();
        let publisher = hub.publish(&name, now).expect("it is free");
        let mut source = Source::subscribe(&hub, &name).expect("it is there");
        let sound = |n: i64| {
            Frame::Audio(AudioFrame {
                codec: AudioCodec::Opus,
                pts: MediaTime::from_millis(20 * n),
                data: bytes::Bytes::from_static(&[0xfc]),
            })
        };
        for n in 0..=QUEUE as i64 {
            publisher.push(sound(n), now).expect("it may be published");
        }
        assert_eq!(source.queue.len(), QUEUE, "there is no room for more");
        drop(publisher);
        assert!(matches!(source.next(true).await, Err(Yield::Offline)));
        let first = hub.publish(&name, now).expect("it is free");
        source.online().await;
        let _second = hub.take_over(&name, now);
        drop(first);
        assert!(matches!(source.next(true).await, Err(Yield::Changed)));
        assert!(source.next(true).await.is_ok(), "once");
    }
}
