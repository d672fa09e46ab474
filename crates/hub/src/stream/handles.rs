//! The handles of those who feed a stream and those who take from it.

use std::sync::Arc;
use std::time::Instant;

use distributary_media::{AudioTrack, Frame, TimedData, VideoTrack};

use super::{Claim, Dismissal, MissingAudio, MissingVideo, PublisherInfo, State, Stream};
use crate::hub::Shared;
use crate::policy::Refusal;

/// The right to feed a stream. The stream goes offline when it is dropped, unless another publisher
/// has taken it over.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    claim: Claim,
    hub: Arc<Shared>,
}

impl Publisher {
    pub(crate) fn new(stream: Arc<Stream>, claim: Claim, hub: Arc<Shared>) -> Self {
        Self { stream, claim, hub }
    }

    /// The stream that is fed.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Completes when this publisher may not go on: another has taken the stream over, and nothing this
    /// one feeds is taken any more, or it is told to go.
    pub fn dismissed(&self) -> impl Future<Output = Dismissal> + Send + use<> {
        let mut told = self.claim.dismissed.clone();
        async move {
            let dismissal = told.wait_for(Option::is_some).await;
            // The sender goes only with a publisher that was replaced.
            dismissal.map_or(Dismissal::Replaced, |told| {
                told.unwrap_or(Dismissal::Replaced)
            })
        }
    }

    /// The times of what is fed are on a continuous timeline with this origin.
    pub(crate) fn follow_clock(&self, origin: Instant) {
        self.with_state(|state| state.timeline.follow(origin));
    }

    /// Says what is known about the publisher.
    pub fn set_info(&self, info: PublisherInfo) {
        self.with_state(|state| state.info = Some(Arc::new(info)));
    }

    /// Tells why viewers hear nothing of the audio that comes; `None` when they do again.
    pub fn set_missing_audio(&self, missing: Option<MissingAudio>) {
        self.with_state(|state| state.missing_audio = missing.map(Arc::new));
    }

    /// Says that video arrives that viewers cannot be shown, and why, or that this is over.
    pub fn set_missing_video(&self, missing: Option<MissingVideo>) {
        self.with_state(|state| state.missing_video = missing.map(Arc::new));
    }

    /// Declares the video track, or that it has changed: before its first frame.
    pub fn set_video_track(&self, track: VideoTrack) {
        self.with_state(|state| state.video = Some(Arc::new(track)));
    }

    /// Declares the audio track, or that it has changed: before its first frame.
    pub fn set_audio_track(&self, track: AudioTrack) {
        self.with_state(|state| {
            if state.audio.as_deref() != Some(&track) {
                state.audio = Some(Arc::new(track));
            }
        });
    }

    /// Says something that arrived at `now`; its time is on the publisher's clock.
    pub fn push_data(&self, mut data: TimedData, now: Instant) {
        self.with_state(|state| {
            data.time = state.timeline.locate(data.time, now);
            let data = Arc::new(data);
            if data.name == TimedData::METADATA {
                state.metadata = Some(Arc::clone(&data));
            }
            for subscriber in &state.subscribers {
                subscriber.deliver_data(&data);
            }
        });
    }

    /// Feeds one frame that arrived at `now`. Never waits.
    ///
    /// # Errors
    /// When a stream like this is not to be published. The frame was not taken.
    pub fn push(&self, frame: Frame, now: Instant) -> Result<(), Refusal> {
        self.stream.push(self.claim.id, frame, now)
    }

    /// Changes what is known of the stream, as long as it is this publisher's.
    fn with_state(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.stream.lock();
        if state.is_current(self.claim.id) {
            change(&mut state);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stream.release_publisher(self.claim.id);
        self.hub.remove_if_idle(self.stream.name());
    }
}

/// A place at a stream for somebody who is about to subscribe: a viewer whose connection is being
/// made. The stream is kept for it, and counts as watched.
#[derive(Debug)]
pub struct Reservation {
    stream: Arc<Stream>,
    hub: Arc<Shared>,
}

impl Reservation {
    /// For a stream at which [`Stream::add_reservation`] has been called.
    pub(crate) fn new(stream: Arc<Stream>, hub: Arc<Shared>) -> Self {
        Self { stream, hub }
    }

    /// The stream that is kept.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        state.reservations -= 1;
        self.stream.count_subscribers(&state);
        drop(state);
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

    /// Tells how many percent of the packets of sound are lost on the way to those whom the subscriber
    /// serves. What is made into Opus here is coded to bear the most that any subscriber tells.
    pub fn set_audio_loss(&self, percent: u8) {
        self.stream.set_audio_loss(self.id, percent);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.remove_subscriber(self.id);
        self.hub.remove_if_idle(self.stream.name());
    }
}
