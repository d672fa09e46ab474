//! The life of a rendition: from the first viewer who needs it to the last.

use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{Audience, DemandQueue, Hub, PublishError, Publisher, Refusal};
use distributary_media::flv::FlvEvent;
use distributary_media::{AudioCodec, AudioTrack, Frame, VideoTrack};
use distributary_names::StreamName;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::attempt::{Attempt, AttemptError, Source, Yield};
use crate::config::TranscodeConfig;
use crate::supervisor::{Ending, Next, Supervisor};

/// What the renditions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) config: TranscodeConfig,
    /// One permit per encoder.
    pub(crate) encoders: Semaphore,
}

/// What is made of one stream.
pub(crate) struct Rendition {
    shared: Arc<Shared>,
    name: StreamName,
    /// Those who wait for its first picture.
    waiting: DemandQueue,
    /// There from the first picture on, and while one encoder is replaced by another.
    publisher: Option<Publisher>,
    /// There from the first picture on.
    audience: Option<Audience>,
    /// What the encoder's pictures are.
    track: Option<VideoTrack>,
    /// Pictures of the present encoder.
    pictures: u64,
}

/// Why an encoder is ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Attempt(#[from] AttemptError),
    #[error("as many encoders run as may, {0} (see \"max\" under [transcode])")]
    TooMany(usize),
    #[error("the stream has ended")]
    Offline(Source),
    #[error("the stream has changed")]
    Changed,
    #[error("nobody watches any more")]
    Unwatched,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Unfit(#[from] Refusal),
}

impl End {
    /// What it is to the supervisor, after an encoder that `worked` so long and made so many pictures.
    fn ending(&self, worked: Duration, pictures: u64) -> Ending {
        match self {
            Self::Changed => Ending::Changed,
            Self::Offline(_) => Ending::Offline,
            Self::Unwatched => Ending::Unwatched,
            Self::Attempt(_) | Self::TooMany(_) | Self::Publish(_) | Self::Unfit(_) => {
                Ending::Failed {
                    after: worked,
                    made_pictures: pictures > 0,
                }
            }
        }
    }
}

impl Rendition {
    pub(crate) fn new(shared: Arc<Shared>, name: StreamName, waiting: DemandQueue) -> Self {
        Self {
            shared,
            name,
            waiting,
            publisher: None,
            audience: None,
            track: None,
            pictures: 0,
        }
    }

    /// Encodes as long as somebody watches.
    pub(crate) async fn run(mut self) {
        let mut supervisor = Supervisor::default();
        loop {
            let began = Instant::now();
            self.pictures = 0;
            let end = self.encode().await;
            let worked = began.elapsed();
            let (seconds, pictures) = (worked.as_secs(), self.pictures);
            let ending = end.ending(worked, pictures);
            match ending {
                Ending::Failed { .. } => {
                    self.shared.hub.count_transcoder_failure();
                    warn!(reason = %end, seconds, pictures, "encoding has failed");
                }
                _ => info!(reason = %end, seconds, pictures, "encoding ends"),
            }
            let goes_on = match supervisor.handle(ending) {
                Next::Again => true,
                Next::Stop => false,
                Next::AwaitPublisher => self.outlast(end).await,
                Next::Pause(pause) => self.pause(&end, pause).await,
                Next::GiveUpFor(pause) => {
                    // Viewers are better off with what there is.
                    self.publisher = None;
                    self.pause(&end, pause).await
                }
            };
            if !goes_on {
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
            return AttemptError::NoPicture.into();
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

    /// Hands on what comes of an encoder until there is a reason to stop.
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
                Ok(Yield::Offline) => return Relayed::Offline,
                Ok(next) => self.handle(next, attempt.source()),
                Err(error) => Err(error.into()),
            };
            if let Err(end) = handled {
                return end.into();
            }
        }
    }

    fn handle(&mut self, next: Yield, source: &Source) -> Result<(), End> {
        let now = Instant::now().into_std();
        match next {
            Yield::Made(FlvEvent::VideoTrack(track)) => {
                if let Some(publisher) = &self.publisher {
                    publisher.set_video_track(track.clone());
                }
                self.track = Some(track);
            }
            Yield::Made(FlvEvent::Frame(frame)) => {
                self.pictures += 1;
                self.publisher(source)?.push(frame, now)?;
            }
            Yield::Sound(sound) => {
                if let Some(publisher) = &self.publisher {
                    source.set_audio_loss(publisher.stream().audio_loss());
                    publisher.push(Frame::Audio(sound), now)?;
                }
            }
            Yield::Data(data) => {
                if let Some(publisher) = &self.publisher {
                    publisher.push_data((*data).clone(), now);
                }
            }
            Yield::Changed => return Err(End::Changed),
            Yield::Made(_) | Yield::Offline => {}
        }
        Ok(())
    }

    /// The publisher of the rendition, which goes live with its first picture.
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
        let publisher = self.shared.hub.publish_rendition(source.stream(), now)?;
        if let Some(track) = self.track.clone() {
            publisher.set_video_track(track);
        }
        if source.stream().stats().audio.is_some() {
            publisher.set_audio_track(opus());
        }
        if let Some(metadata) = source.stream().metadata() {
            publisher.push_data((*metadata).clone(), now);
        }
        info!("a transcode is there");
        Ok(publisher)
    }

    /// Waits until the stream's publisher comes back. Returns whether somebody still watches.
    async fn outlast(&mut self, end: End) -> bool {
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

    /// Waits before another encoder is tried. Returns whether somebody still watches.
    async fn pause(&mut self, end: &End, pause: Duration) -> bool {
        self.waiting.refuse(&end.to_string(), pause).await;
        self.audience.as_ref().is_some_and(Audience::is_there)
    }
}

/// Why nothing more is handed on.
enum Relayed {
    Offline,
    End(End),
}

impl From<End> for Relayed {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// The sound of a rendition: what the hub makes of the stream's.
fn opus() -> AudioTrack {
    AudioTrack {
        codec: AudioCodec::Opus,
        sample_rate: 48_000,
        channels: 2,
        config: bytes::Bytes::new(),
    }
}

/// Completes when an audience is gone that was there.
async fn gone(audience: Option<&mut Audience>) {
    match audience {
        Some(audience) => audience.gone().await,
        None => std::future::pending().await,
    }
}
