//! The task of a rendition: from the first viewer that needs it to the last.

use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{
    Audience, DemandQueue, Hub, PublishError, Publisher, Refusal, RenditionOrigin,
};
use distributary_media::flv::FlvEvent;
use distributary_media::{AudioCodec, AudioTrack, Frame, VideoTrack};
use distributary_names::{RenditionId, StreamName};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::attempt::{Attempt, AttemptError, Output, Source};
use crate::config::TranscodeConfig;
use crate::supervisor::{Ending, Next, Supervisor};

/// State that all renditions share.
#[derive(Debug)]
pub(crate) struct TranscodeContext {
    pub(crate) hub: Hub,
    pub(crate) config: TranscodeConfig,
    /// One permit per encoder.
    pub(crate) encoders: Semaphore,
}

/// The transcode of one stream.
pub(crate) struct Rendition {
    shared: Arc<TranscodeContext>,
    name: StreamName,
    /// The demands that wait for its first frame.
    waiting: DemandQueue,
    /// Set from the first frame on, and while one encoder is replaced by another.
    publisher: Option<Publisher>,
    /// Set from the first frame on.
    audience: Option<Audience>,
    /// The track of the encoder's frames.
    track: Option<VideoTrack>,
    /// Frames of the current encoder.
    frames: u64,
}

/// The reason why an encoder ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    #[error("the limit of {0} encoders is reached (see \"max\" under [transcode])")]
    TooMany(usize),
    #[error("the stream has ended")]
    Offline(Source),
    #[error("the stream has changed")]
    Changed,
    #[error("no viewers")]
    Unwatched,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Unfit(#[from] Refusal),
}

impl End {
    /// Returns the ending for the supervisor, after an encoder that ran for `worked` and returned
    /// `frames` frames.
    fn ending(&self, worked: Duration, frames: u64) -> Ending {
        match self {
            Self::Changed => Ending::Changed,
            Self::Offline(_) => Ending::Offline,
            Self::Unwatched => Ending::Unwatched,
            Self::Attempt(_) | Self::TooMany(_) | Self::Publish(_) | Self::Unfit(_) => {
                Ending::Failed {
                    after: worked,
                    has_output: frames > 0,
                }
            }
        }
    }
}

impl Rendition {
    pub(crate) fn new(
        shared: Arc<TranscodeContext>,
        name: StreamName,
        waiting: DemandQueue,
    ) -> Self {
        Self {
            shared,
            name,
            waiting,
            publisher: None,
            audience: None,
            track: None,
            frames: 0,
        }
    }

    /// Transcodes while somebody watches.
    pub(crate) async fn run(mut self) {
        let mut supervisor = Supervisor::default();
        loop {
            let began = Instant::now();
            self.frames = 0;
            let end = self.encode().await;
            let worked = began.elapsed();
            let (seconds, frames) = (worked.as_secs(), self.frames);
            let ending = end.ending(worked, frames);
            match ending {
                Ending::Failed { .. } => {
                    self.shared.hub.count_transcoder_failure();
                    warn!(reason = %end, seconds, frames, "transcoding failed");
                }
                _ => info!(reason = %end, seconds, frames, "transcoding ends"),
            }
            let continues = match supervisor.handle(ending) {
                Next::Again => true,
                Next::Stop => false,
                Next::AwaitPublisher => self.await_publisher(end).await,
                Next::Pause(pause) => self.pause(&end, pause).await,
                Next::GiveUpFor(pause) => {
                    // Viewers then get the stream itself.
                    self.publisher = None;
                    self.pause(&end, pause).await
                }
            };
            if !continues {
                return;
            }
        }
    }

    /// Encodes until there is a reason to stop.
    async fn encode(&mut self) -> End {
        let shared = Arc::clone(&self.shared);
        let Ok(_permit) = shared.encoders.try_acquire() else {
            return End::TooMany(shared.config.max);
        };
        let Some(source) = Source::subscribe(&shared.hub, &self.name.published()) else {
            return AttemptError::NoFrame.into();
        };
        if !source.stream().is_live() {
            return End::Offline(source);
        }
        let mut attempt = match Attempt::begin(source, &shared.config, &shared.hub).await {
            Ok(attempt) => attempt,
            Err(error) => return error.into(),
        };
        let end = self.relay(&mut attempt).await;
        let (source, status) = attempt.end().await;
        match (end, status) {
            (Relayed::Offline, _) => End::Offline(source),
            (Relayed::End(End::Attempt(AttemptError::Ended(_))), Some(status)) => {
                AttemptError::Ended(status).into()
            }
            (Relayed::End(end), _) => end,
        }
    }

    /// Publishes the output of an encoder until there is a reason to stop.
    async fn relay(&mut self, attempt: &mut Attempt) -> Relayed {
        loop {
            let is_live = self.publisher.is_some();
            let next = tokio::select! {
                next = attempt.next() => next,
                Some(demand) = self.waiting.next(), if is_live => {
                    demand.answer(Ok(()));
                    self.audience.as_mut().map(Audience::expect);
                    continue;
                }
                () = gone(self.audience.as_mut()) => return End::Unwatched.into(),
            };
            let handled = match next {
                Ok(Output::Offline) => return Relayed::Offline,
                Ok(next) => self.handle(next, attempt.source()),
                Err(error) => Err(error.into()),
            };
            if let Err(end) = handled {
                return end.into();
            }
        }
    }

    fn handle(&mut self, next: Output, source: &Source) -> Result<(), End> {
        let now = Instant::now().into_std();
        match next {
            Output::Encoded(FlvEvent::VideoTrack(track)) => {
                if let Some(publisher) = &self.publisher {
                    publisher.set_video_track(track.clone());
                }
                self.track = Some(track);
            }
            Output::Encoded(FlvEvent::Frame(frame)) => {
                self.frames += 1;
                self.publisher(source)?.push(frame, now)?;
            }
            Output::Audio(audio) => {
                if let Some(publisher) = &self.publisher {
                    source.set_audio_loss(publisher.stream().audio_loss());
                    publisher.push(Frame::Audio(audio), now)?;
                }
            }
            Output::Data(data) => {
                if let Some(publisher) = &self.publisher {
                    publisher.push_data((*data).clone(), now);
                }
            }
            Output::Changed => return Err(End::Changed),
            Output::Encoded(_) | Output::Offline => {}
        }
        Ok(())
    }

    /// Returns the publisher of the rendition, which goes live with its first frame.
    fn publisher(&mut self, source: &Source) -> Result<&Publisher, End> {
        let publisher = match self.publisher.take() {
            Some(publisher) => publisher,
            None => {
                let publisher = self.go_live(source)?;
                let idle_timeout = self.shared.config.idle_timeout;
                self.audience = Some(Audience::new(publisher.stream(), idle_timeout));
                publisher
            }
        };
        Ok(self.publisher.insert(publisher))
    }

    fn go_live(&self, source: &Source) -> Result<Publisher, End> {
        let now = Instant::now().into_std();
        let publisher = self.shared.hub.publish_rendition(
            source.stream(),
            &RenditionId::H264,
            RenditionOrigin::Transcoded,
            now,
        )?;
        if let Some(track) = self.track.clone() {
            publisher.set_video_track(track);
        }
        if source.stream().stats().audio.is_some() {
            publisher.set_audio_track(opus());
        }
        if let Some(metadata) = source.stream().metadata() {
            publisher.push_data((*metadata).clone(), now);
        }
        info!("the transcode is live");
        Ok(publisher)
    }

    /// Waits until the stream's publisher reconnects. Returns whether somebody still watches.
    async fn await_publisher(&mut self, end: End) -> bool {
        self.publisher = None;
        let (Some(audience), End::Offline(mut source)) = (&mut self.audience, end) else {
            return false;
        };
        loop {
            tokio::select! {
                biased;
                () = source.online() => return true,
                () = audience.gone() => return false,
                Some(demand) = self.waiting.next() => drop(demand),
            }
        }
    }

    /// Waits before the next attempt. Returns whether somebody still watches.
    async fn pause(&mut self, end: &End, pause: Duration) -> bool {
        self.waiting.refuse(&end.to_string(), pause).await;
        self.audience.as_ref().is_some_and(Audience::is_there)
    }
}

/// The reason why the relay ends.
enum Relayed {
    Offline,
    End(End),
}

impl From<End> for Relayed {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// Returns the audio track of a rendition: the Opus that the hub encodes.
fn opus() -> AudioTrack {
    AudioTrack {
        codec: AudioCodec::Opus,
        sample_rate: 48_000,
        channels: 2,
        config: bytes::Bytes::new(),
    }
}

/// Completes when the audience is gone; never if there is none yet.
async fn gone(audience: Option<&mut Audience>) {
    match audience {
        Some(audience) => audience.gone().await,
        None => std::future::pending().await,
    }
}
