//! The transcode of one stream: from the first viewer that needs a rendition to the last.
//!
//! One encoder makes all renditions that are needed. When others are needed, or with another limit
//! of their bitrate, a second encoder starts; what only it makes goes live with its first frame,
//! and at a keyframe it takes over the rest.
//!
//! * [`Job`]: the events of the demands and the encoders.
//! * `plan`: what has to be made, and the encoder that is started when that changes.
//! * `live`: the renditions that are live.
//! * `takeover`: the takeover of one encoder by another.
//! * `end`: the reasons why transcoding ends.

mod end;
mod live;
mod plan;
mod takeover;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::{Demand, DemandError, DemandQueue, Stream};
use distributary_media::Frame;
use distributary_media::flv::FlvEvent;
use distributary_names::{RenditionId, StreamName};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::attempt::{AttemptError, Event, RunEnd};
use crate::context::TranscodeContext;
use crate::requests::Requests;
use crate::supervisor::{Ending, Next, Supervisor};
use crate::worker::Worker;
use end::End;
use live::LiveRendition;
use takeover::Encoders;

/// Time in which requests that come together are collected before an encoder starts.
const COLLECT: Duration = Duration::from_millis(20);

/// Interval at which viewers and bitrates are checked.
const TICK: Duration = Duration::from_millis(250);

/// Time before the next attempt after an encoder failed that was to take over.
const SUCCESSOR_RETRY: Duration = Duration::from_secs(10);

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
        self.collect(None).await;
        let Some(_place) = self.context.availability.take(&self.name) else {
            return End::TooMany(self.context.availability.max());
        };
        let Some(stream) = self.context.hub.stream(&self.name) else {
            return RunEnd::from(AttemptError::NoFrame).into();
        };
        if !stream.is_live() {
            return RunEnd::Offline.into();
        }
        if let Some(node) = stream.node() {
            return End::Elsewhere(node);
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
    async fn collect(&mut self, encoders: Option<&Encoders>) {
        let until = Instant::now() + COLLECT;
        while let Ok(Some(demand)) = timeout_at(until, self.demands.next()).await {
            self.handle_demand(demand, encoders);
        }
    }

    async fn drive(&mut self, encoders: &mut Encoders, stream: &Arc<Stream>) -> End {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                event = encoders.current.next() => Step::Current(event),
                event = takeover::next_of(encoders.successor.as_mut()) => Step::Successor(event),
                Some(demand) = self.demands.next() => Step::Demand(demand),
                _ = ticks.tick() => Step::Tick,
            };
            let handled = match step {
                Step::Current(event) => self.handle_current(event, encoders, stream),
                Step::Successor(event) => self.handle_successor(event, encoders, stream),
                Step::Demand(demand) => {
                    if self.handle_demand(demand, Some(encoders)) {
                        self.collect(Some(encoders)).await;
                    }
                    Ok(())
                }
                Step::Tick => self
                    .handle_tick()
                    .and_then(|()| self.end_takeover(encoders)),
            };
            let adapted = handled.and_then(|()| self.adapt(encoders, stream));
            if let Err(end) = adapted {
                return end;
            }
        }
    }

    /// Handles a demand. Returns whether it is for a rendition that is not live yet.
    fn handle_demand(&mut self, demand: Demand, encoders: Option<&Encoders>) -> bool {
        let id = demand.name().rendition_id();
        match self.renditions.get_mut(&id) {
            Some(rendition) if rendition.publisher.is_some() => {
                if let Some((encoders, after)) = encoders.zip(demand.keyframe_after()) {
                    encoders.request_keyframe(id, after);
                }
                demand.answer(Ok(()));
                rendition.audience.expect();
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
            // The other encoder has none there.
            Event::RequestedKeyframe(_) => {}
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
                self.request_awaited(id, encoders);
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
            Event::SourceKeyframe(at) | Event::RequestedKeyframe(at) => {
                self.decide_cut(encoders, at);
            }
            Event::Encoded(id, FlvEvent::VideoTrack(track)) => {
                successor.worker.set_track(id, track);
            }
            Event::Encoded(id, FlvEvent::Frame(Frame::Video(frame))) => {
                successor.worker.note_frame(id, frame.pts);
                if encoders.current.makes(id) {
                    if let Some(rendition) = self.renditions.get_mut(&id) {
                        rendition.splice.second(frame);
                    }
                    self.request_cut(encoders);
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

/// Returns the event for an encoder whose task is gone.
fn ended() -> Event {
    let error = AttemptError::Ended("its task has ended".to_owned());
    Event::Ended(error.into())
}
