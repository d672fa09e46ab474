//! The transcode of one stream: from the first viewer that needs a rendition to the last.
//!
//! One encoder makes all renditions that are needed. When others are needed, or with another limit
//! of their bitrate, a second encoder starts; what only it makes goes live with its first frame,
//! and at a keyframe of the source it takes over the rest ([`Splice`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{
    Audience, Demand, DemandError, DemandQueue, PublishError, Publisher, Refusal, RenditionOrigin,
    SourceVideo, Stream,
};
use distributary_media::flv::FlvEvent;
use distributary_media::{Frame, MediaTime, VideoFrame};
use distributary_names::{RenditionId, StreamName};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::attempt::{AttemptError, Event, RunEnd};
use crate::context::TranscodeContext;
use crate::ladder::Output;
use crate::requests::Requests;
use crate::splice::Splice;
use crate::supervisor::{Ending, Next, Supervisor};
use crate::worker::Worker;

/// Time in which requests that come together are collected before an encoder starts.
const COLLECT: Duration = Duration::from_millis(20);

/// Interval at which viewers and bitrates are checked.
const TICK: Duration = Duration::from_millis(250);

/// Minimum time for which an encoder runs before another takes over only to change a limit.
const LIMIT_INTERVAL: Duration = Duration::from_secs(10);

/// Time before the next attempt after an encoder failed that was to take over.
const SUCCESSOR_RETRY: Duration = Duration::from_secs(10);

/// A successor takes over when it is at most this far behind.
const MAX_BEHIND: Duration = Duration::from_millis(150);

/// Maximum time for which a successor waits for a keyframe of the source. After that it takes over
/// at one of its own, and viewers may see a few frames again.
const MAX_GOP_WAIT: Duration = Duration::from_secs(6);

/// The transcode of one stream.
pub(crate) struct Job {
    context: Arc<TranscodeContext>,
    /// The published stream.
    name: StreamName,
    demands: DemandQueue,
    requests: Requests,
    renditions: BTreeMap<RenditionId, LiveRendition>,
    /// Frames of the encoders since the last start.
    frames: u64,
}

/// A rendition from its first frame on.
struct LiveRendition {
    /// Unset while the publisher of the stream is gone.
    publisher: Option<Publisher>,
    audience: Audience,
    splice: Splice,
}

/// The encoders of a stream.
struct Encoders {
    current: Worker,
    successor: Option<Successor>,
    /// No successor is started before.
    retry_at: Instant,
}

impl Encoders {
    /// Requests a keyframe of a rendition of the encoder whose frames it has.
    fn request_keyframe(&self, id: RenditionId) {
        let successor = self.successor.as_ref().map(|successor| &successor.worker);
        let mut all = [Some(&self.current), successor].into_iter().flatten();
        if let Some(worker) = all.find(|worker| worker.makes(id)) {
            worker.request_keyframe();
        }
    }
}

/// An encoder that is to take over.
struct Successor {
    worker: Worker,
    /// The keyframe at which it takes over, once that is decided.
    cut: Option<MediaTime>,
    /// True after something that only it makes went live.
    is_in_service: bool,
}

/// The reason why transcoding ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Run(#[from] RunEnd),
    #[error("the limit of {0} transcoded streams is reached (see \"max\" under [transcode])")]
    TooMany(usize),
    #[error("no viewers")]
    Unwatched,
    #[error("there is no such rendition of the stream")]
    NotOffered,
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
            Self::Run(RunEnd::Changed) => Ending::Changed,
            Self::Run(RunEnd::Offline) => Ending::Offline,
            Self::Unwatched | Self::NotOffered => Ending::Unwatched,
            Self::Run(RunEnd::Failed(_)) | Self::TooMany(_) | Self::Publish(_) | Self::Unfit(_) => {
                Ending::Failed {
                    after: worked,
                    has_output: frames > 0,
                }
            }
        }
    }
}

/// The next event of a job.
enum Step {
    Current(Option<Event>),
    Successor(Option<Event>),
    Demand(Demand),
    Tick,
}

impl Job {
    pub(crate) fn new(
        context: Arc<TranscodeContext>,
        name: StreamName,
        demands: DemandQueue,
    ) -> Self {
        Self {
            context,
            name,
            demands,
            requests: Requests::default(),
            renditions: BTreeMap::new(),
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
                    self.context.hub.count_transcoder_failure();
                    warn!(reason = %end, seconds, frames, "transcoding failed");
                }
                _ => info!(reason = %end, seconds, frames, "transcoding ends"),
            }
            let continues = match supervisor.handle(ending) {
                Next::Again => true,
                Next::Stop => false,
                Next::AwaitPublisher => self.await_publisher().await,
                Next::Pause(pause) => self.pause(&end, pause).await,
                Next::GiveUpFor(pause) => {
                    // Viewers then get the stream itself.
                    self.renditions.clear();
                    let _pause = self.context.availability.pause(&self.name);
                    self.pause(&end, pause).await
                }
            };
            if !continues {
                self.requests.refuse(&end.to_string(), |_| true);
                return;
            }
        }
    }

    /// Encodes until there is a reason to stop.
    async fn encode(&mut self) -> End {
        self.collect().await;
        let Some(_place) = self.context.availability.take(&self.name) else {
            return End::TooMany(self.context.availability.max());
        };
        let Some(stream) = self.context.hub.stream(&self.name) else {
            return RunEnd::from(AttemptError::NoFrame).into();
        };
        if !stream.is_live() {
            return RunEnd::Offline.into();
        }
        let Some(source) = stream.source_video(Instant::now().into_std()) else {
            return RunEnd::from(AttemptError::NoFrame).into();
        };
        for rendition in self.renditions.values_mut() {
            rendition.splice.reset();
        }
        let outputs = self.plan(&source);
        if outputs.is_empty() {
            return End::NotOffered;
        }
        let mut encoders = Encoders {
            current: Worker::start(&self.context, &self.name, &outputs),
            successor: None,
            retry_at: Instant::now(),
        };
        let end = self.drive(&mut encoders, &stream).await;
        self.frames = encoders.current.frames();
        end
    }

    /// Collects the demands that come together.
    async fn collect(&mut self) {
        let until = Instant::now() + COLLECT;
        while let Ok(Some(demand)) = timeout_at(until, self.demands.next()).await {
            self.handle_demand(demand, None);
        }
    }

    async fn drive(&mut self, encoders: &mut Encoders, stream: &Arc<Stream>) -> End {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                event = encoders.current.next() => Step::Current(event),
                event = next_of(encoders.successor.as_mut()) => Step::Successor(event),
                Some(demand) = self.demands.next() => Step::Demand(demand),
                _ = ticks.tick() => Step::Tick,
            };
            let handled = match step {
                Step::Current(event) => self.handle_current(event, encoders, stream),
                Step::Successor(event) => self.handle_successor(event, encoders, stream),
                Step::Demand(demand) => {
                    if self.handle_demand(demand, Some(encoders)) {
                        self.collect().await;
                    }
                    Ok(())
                }
                Step::Tick => self.handle_tick(),
            };
            let adapted = handled.and_then(|()| self.adapt(encoders, stream));
            if let Err(end) = adapted {
                return end;
            }
        }
    }

    /// Handles a demand. Returns whether it is for a rendition that is not live yet. One for a
    /// rendition that is live is a request for a keyframe: the viewer cannot start with the last.
    fn handle_demand(&mut self, demand: Demand, encoders: Option<&Encoders>) -> bool {
        let id = demand.name().rendition_id();
        match self.renditions.get_mut(&id) {
            Some(rendition) if rendition.publisher.is_some() => {
                demand.answer(Ok(()));
                rendition.audience.expect();
                if let Some(encoders) = encoders {
                    encoders.request_keyframe(id);
                }
                false
            }
            _ => {
                self.requests.push(id, demand);
                true
            }
        }
    }

    /// Ends the renditions without viewers.
    fn handle_tick(&mut self) -> Result<(), End> {
        self.renditions
            .retain(|_, rendition| !rendition.audience.is_gone());
        if self.renditions.is_empty() && self.requests.ids().next().is_none() {
            return Err(End::Unwatched);
        }
        Ok(())
    }

    fn handle_current(
        &mut self,
        event: Option<Event>,
        encoders: &mut Encoders,
        stream: &Arc<Stream>,
    ) -> Result<(), End> {
        let current = &mut encoders.current;
        match event.unwrap_or_else(ended) {
            Event::SourceKeyframe(at) => self.decide_cut(encoders, at),
            Event::Encoded(id, FlvEvent::VideoTrack(track)) => {
                if let Some(publisher) = self.publisher(id) {
                    publisher.set_video_track(track.clone());
                }
                current.set_track(id, track);
            }
            Event::Encoded(id, FlvEvent::Frame(Frame::Video(frame))) => {
                current.note_frame(id, frame.pts);
                let passed = match self.live(id, current, stream)? {
                    Some(rendition) => rendition.splice.first(frame),
                    None => None,
                };
                self.publish(id, passed)?;
                self.try_take_over(encoders)?;
            }
            Event::Encoded(..) => {}
            Event::Ended(end) => return Err(end.into()),
        }
        Ok(())
    }

    fn handle_successor(
        &mut self,
        event: Option<Event>,
        encoders: &mut Encoders,
        stream: &Arc<Stream>,
    ) -> Result<(), End> {
        let Some(successor) = &mut encoders.successor else {
            return Ok(());
        };
        match event.unwrap_or_else(ended) {
            Event::SourceKeyframe(at) => self.decide_cut(encoders, at),
            Event::Encoded(id, FlvEvent::VideoTrack(track)) => {
                successor.worker.set_track(id, track);
            }
            Event::Encoded(id, FlvEvent::Frame(Frame::Video(frame))) => {
                successor.worker.note_frame(id, frame.pts);
                if encoders.current.makes(id) {
                    self.decide_late_cut(encoders, &frame);
                    if let Some(rendition) = self.renditions.get_mut(&id) {
                        rendition.splice.second(frame);
                    }
                } else {
                    successor.is_in_service = true;
                    let passed = match self.live(id, &successor.worker, stream)? {
                        Some(rendition) => rendition.splice.first(frame),
                        None => None,
                    };
                    self.publish(id, passed)?;
                }
                self.try_take_over(encoders)?;
            }
            Event::Encoded(..) => {}
            Event::Ended(RunEnd::Failed(error)) => {
                self.context.hub.count_transcoder_failure();
                warn!(reason = %error, "another encoder for more renditions failed");
                let current = &encoders.current;
                self.requests
                    .refuse(&error.to_string(), |id| !current.makes(id));
                self.renditions.retain(|id, _| current.makes(*id));
                self.abandon()?;
                encoders.successor = None;
                encoders.retry_at = Instant::now() + SUCCESSOR_RETRY;
            }
            Event::Ended(end) => return Err(end.into()),
        }
        Ok(())
    }

    /// Starts a successor if what is needed is not what is made.
    fn adapt(&mut self, encoders: &mut Encoders, stream: &Arc<Stream>) -> Result<(), End> {
        let coming = encoders.successor.as_ref();
        // Something of it is watched already: it has to take over first.
        if coming.is_some_and(|successor| successor.is_in_service)
            || Instant::now() < encoders.retry_at
        {
            return Ok(());
        }
        let newest = coming.map_or(&encoders.current, |successor| &successor.worker);
        let is_complete = self.wanted().all(|id| newest.makes(id));
        let is_minimal = newest.outputs().all(|output| self.is_wanted(output.id));
        let may_limit = coming.is_none() && newest.began().elapsed() >= LIMIT_INTERVAL;
        if is_complete && is_minimal && !may_limit {
            return Ok(());
        }
        let Some(source) = stream.source_video(Instant::now().into_std()) else {
            return Ok(());
        };
        let outputs = self.plan(&source);
        if outputs.is_empty() {
            return Err(End::NotOffered);
        }
        let is_made = |output: &Output| {
            let made = newest.outputs().find(|made| made.id == output.id);
            made.is_some_and(|made| !may_limit || is_near(made.limit, output.limit))
        };
        if newest.outputs().count() == outputs.len() && outputs.iter().all(is_made) {
            return Ok(());
        }
        self.abandon()?;
        let worker = Worker::start(&self.context, &self.name, &outputs);
        if encoders.current.frames() == 0 {
            // Nobody watches it yet.
            encoders.current = worker;
            encoders.successor = None;
        } else {
            encoders.successor = Some(Successor {
                worker,
                cut: None,
                is_in_service: false,
            });
        }
        Ok(())
    }

    /// Returns what has to be made of the source. Refuses what cannot be made of it.
    fn plan(&mut self, source: &SourceVideo) -> Vec<Output> {
        let ladder = self.context.availability.ladder();
        let outputs: Vec<Output> = self
            .wanted()
            .filter_map(|id| ladder.output(id, source))
            .collect();
        let is_made = |id: RenditionId| outputs.iter().any(|output| output.id == id);
        let reason = End::NotOffered.to_string();
        self.requests.refuse(&reason, |id| !is_made(id));
        self.renditions.retain(|id, _| is_made(*id));
        outputs
    }

    fn wanted(&self) -> impl Iterator<Item = RenditionId> {
        let live = self.renditions.keys().copied();
        let requested = self.requests.ids();
        live.chain(requested.filter(|id| !self.renditions.contains_key(id)))
    }

    fn is_wanted(&self, id: RenditionId) -> bool {
        self.renditions.contains_key(&id) || self.requests.contains(id)
    }

    /// Decides that the successor takes over at a keyframe of the source, if it is not behind.
    fn decide_cut(&mut self, encoders: &mut Encoders, at: MediaTime) {
        let current = &encoders.current;
        let Some(successor) = &mut encoders.successor else {
            return;
        };
        let worker = &successor.worker;
        let is_close = self.shared_renditions(current, worker).all(|(id, splice)| {
            let last = worker.last(id).zip(splice.last());
            last.is_some_and(|(own, last)| last.saturating_since(own) <= MAX_BEHIND)
        });
        if successor.cut.is_none() && is_close {
            successor.cut = Some(at);
            self.cut(current, worker, |splice| splice.cut(at));
        }
    }

    /// Decides that the successor takes over at this keyframe of its own, if it has waited for one
    /// of the source for long enough.
    fn decide_late_cut(&mut self, encoders: &mut Encoders, frame: &VideoFrame) {
        let current = &encoders.current;
        let Some(successor) = &mut encoders.successor else {
            return;
        };
        let worker = &successor.worker;
        if successor.cut.is_none() && frame.keyframe && worker.began().elapsed() > MAX_GOP_WAIT {
            successor.cut = Some(frame.pts);
            self.cut(current, worker, |splice| splice.cut_late(frame.pts));
        }
    }

    fn cut(&mut self, current: &Worker, worker: &Worker, cut: impl Fn(&mut Splice)) {
        for (id, rendition) in &mut self.renditions {
            if current.makes(*id) && worker.makes(*id) {
                cut(&mut rendition.splice);
            }
        }
    }

    /// Returns the renditions that both encoders make.
    fn shared_renditions<'a>(
        &'a self,
        current: &'a Worker,
        successor: &'a Worker,
    ) -> impl Iterator<Item = (RenditionId, &'a Splice)> {
        self.renditions
            .iter()
            .filter(|(id, _)| current.makes(**id) && successor.makes(**id))
            .map(|(id, rendition)| (*id, &rendition.splice))
    }

    /// Lets the successor take over once it has all that is needed.
    fn try_take_over(&mut self, encoders: &mut Encoders) -> Result<(), End> {
        let Some(successor) = &mut encoders.successor else {
            return Ok(());
        };
        let (current, worker) = (&encoders.current, &successor.worker);
        let mut both = self.shared_renditions(current, worker).peekable();
        // With nothing in common it takes over with its first frame.
        let has_nothing = both.peek().is_none();
        let (mut is_ready, mut is_failed) = (worker.frames() > 0, false);
        for (_, splice) in both {
            is_ready &= splice.is_ready();
            is_failed |= splice.is_failed();
        }
        if is_failed {
            successor.cut = None;
            return self.abandon();
        }
        if !is_ready || (successor.cut.is_none() && !has_nothing) {
            return Ok(());
        }
        let Some(successor) = encoders.successor.take() else {
            return Ok(());
        };
        // The first encoder ends here.
        encoders.current = successor.worker;
        let ids: Vec<_> = self.renditions.keys().copied().collect();
        for id in ids {
            let Some(rendition) = self.renditions.get_mut(&id) else {
                continue;
            };
            let frames = rendition.splice.take_over();
            if let (Some(publisher), Some(track)) =
                (&rendition.publisher, encoders.current.track(id))
            {
                publisher.set_video_track(track.clone());
            }
            self.publish(id, frames)?;
        }
        info!("another encoder has taken over");
        Ok(())
    }

    /// Leaves all renditions to the current encoder.
    fn abandon(&mut self) -> Result<(), End> {
        let ids: Vec<_> = self.renditions.keys().copied().collect();
        for id in ids {
            if let Some(rendition) = self.renditions.get_mut(&id) {
                let frames = rendition.splice.abandon();
                self.publish(id, frames)?;
            }
        }
        Ok(())
    }

    /// Returns a rendition that an encoder makes, which goes live with its first frame; `None` if
    /// nobody wants it.
    fn live(
        &mut self,
        id: RenditionId,
        worker: &Worker,
        stream: &Arc<Stream>,
    ) -> Result<Option<&mut LiveRendition>, End> {
        if !self.is_wanted(id) {
            return Ok(None);
        }
        if self.publisher(id).is_none() {
            self.go_live(id, worker, stream)?;
        }
        Ok(self.renditions.get_mut(&id))
    }

    fn go_live(
        &mut self,
        id: RenditionId,
        worker: &Worker,
        stream: &Arc<Stream>,
    ) -> Result<(), End> {
        let now = Instant::now().into_std();
        let origin = RenditionOrigin::Transcoded;
        let hub = &self.context.hub;
        let publisher = hub.publish_rendition(stream, &id, origin, now)?;
        if let Some(track) = worker.track(id) {
            publisher.set_video_track(track.clone());
        }
        let idle_timeout = self.context.config.idle_timeout;
        let audience = Audience::new(publisher.stream(), idle_timeout);
        self.renditions.insert(
            id,
            LiveRendition {
                publisher: Some(publisher),
                audience,
                splice: Splice::default(),
            },
        );
        self.requests.answer(id);
        info!(rendition = %id, "the transcode is live");
        Ok(())
    }

    fn publisher(&self, id: RenditionId) -> Option<&Publisher> {
        self.renditions.get(&id)?.publisher.as_ref()
    }

    fn publish(
        &self,
        id: RenditionId,
        frames: impl IntoIterator<Item = VideoFrame>,
    ) -> Result<(), End> {
        let now = Instant::now().into_std();
        if let Some(publisher) = self.publisher(id) {
            for frame in frames {
                publisher.push(Frame::Video(frame), now)?;
            }
        }
        Ok(())
    }

    /// Waits until the stream's publisher reconnects. Returns whether somebody still watches.
    async fn await_publisher(&mut self) -> bool {
        for rendition in self.renditions.values_mut() {
            rendition.publisher = None;
        }
        let now = Instant::now().into_std();
        let source = self.context.hub.reserve(&self.name, now);
        let mut liveness = source.stream().liveness();
        loop {
            self.renditions
                .retain(|_, rendition| !rendition.audience.is_gone());
            if self.renditions.is_empty() {
                return false;
            }
            tokio::select! {
                biased;
                _ = liveness.wait_for(|is_live| *is_live) => return true,
                () = sleep_until(Instant::now() + TICK) => {}
                Some(demand) = self.demands.next() => drop(demand),
            }
        }
    }

    /// Waits before the next attempt. Returns whether somebody still watches.
    async fn pause(&mut self, end: &End, pause: Duration) -> bool {
        let reason = end.to_string();
        self.requests.refuse(&reason, |_| true);
        let refusal = DemandError::Failed(reason.as_str().into());
        self.demands.refuse(refusal, pause).await;
        let mut renditions = self.renditions.values();
        renditions.any(|rendition| rendition.audience.is_there())
    }
}

/// Returns the next event of a successor; never if there is none.
async fn next_of(successor: Option<&mut Successor>) -> Option<Event> {
    match successor {
        Some(successor) => successor.worker.next().await,
        None => std::future::pending().await,
    }
}

/// Returns the event for an encoder whose task is gone.
fn ended() -> Event {
    let error = AttemptError::Ended("its task has ended".to_owned());
    Event::Ended(error.into())
}

/// Returns whether two limits of a bitrate are so close that no other encoder is started for the
/// difference.
fn is_near(made: Option<u64>, wanted: Option<u64>) -> bool {
    match (made, wanted) {
        (Some(made), Some(wanted)) => wanted * 10 <= made * 13 && made * 10 <= wanted * 15,
        (made, wanted) => made == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_follows_only_large_changes_of_the_source() {
        assert!(is_near(Some(1_000_000), Some(1_300_000)));
        assert!(!is_near(Some(1_000_000), Some(1_310_000)));
        assert!(is_near(Some(1_500_000), Some(1_000_000)));
        assert!(!is_near(Some(1_510_000), Some(1_000_000)));
        assert!(!is_near(None, Some(1)) && is_near(None, None));
    }
}
