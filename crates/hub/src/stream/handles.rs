//! The handles of a stream's publishers and subscribers.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use distributary_media::{AudioTrack, Frame, MediaTime, TimedData, VideoFrame, VideoTrack};

use super::owner::StreamOwner;
use super::{Claim, Dismissal, MissingAudio, MissingVideo, PublisherInfo, State, Stream};
use crate::journal::JournalKind;
use crate::offer::RenditionOrigin;
use crate::policy::Refusal;

/// The right to publish a stream. The stream goes offline when it is dropped, unless another
/// publisher has taken it over.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    claim: Claim,
    owner: Arc<dyn StreamOwner>,
    /// The source, if it publishes a rendition.
    source: Option<Arc<Stream>>,
    has_finished: bool,
}

impl Publisher {
    pub(crate) fn new(stream: Arc<Stream>, claim: Claim, owner: Arc<dyn StreamOwner>) -> Self {
        Self {
            stream,
            claim,
            owner,
            source: None,
            has_finished: false,
        }
    }

    /// Declares that the stream is a rendition of `source`, and its timestamps are on the clock of
    /// that.
    pub(crate) fn follow(mut self, source: &Arc<Stream>, origin: RenditionOrigin) -> Self {
        self.with_state(|state| state.timeline.follow(source.epoch()));
        source.add_rendition(Arc::clone(&self.stream), origin);
        self.source = Some(Arc::clone(source));
        self
    }

    /// Returns the published stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Moves a frame of a further track from this publisher's clock to that of the stream. Returns
    /// `false` before the first frame of the stream itself, from which the clock follows.
    pub fn place_track(&self, frame: &mut VideoFrame) -> bool {
        let mut place = None;
        self.with_state(|state| place = state.timeline.offset_near(frame.dts));
        if let Some(offset) = place {
            let shift =
                |time: MediaTime| MediaTime::from_nanos(time.as_nanos().saturating_add(offset));
            frame.dts = shift(frame.dts);
            frame.pts = shift(frame.pts);
        }
        place.is_some()
    }

    /// Notes that the publisher itself ends the stream, for [`Stream::has_ended`] when this is
    /// dropped.
    pub fn finish(&mut self) {
        self.has_finished = true;
    }

    /// Records in the journal that this publisher, at the address `address`, begins at `now`.
    pub fn note_begin(&self, address: Option<IpAddr>, now: Instant) {
        self.record(JournalKind::Published, address, &"", now);
    }

    /// Records in the journal that this publisher ends at `now`, and why.
    pub fn note_end(&self, reason: &dyn Display, now: Instant) {
        self.record(JournalKind::Ended, None, reason, now);
    }

    fn record(
        &self,
        kind: JournalKind,
        address: Option<IpAddr>,
        detail: &dyn Display,
        now: Instant,
    ) {
        let name = Some(self.stream.name());
        self.owner
            .journal()
            .record(kind, name, address, detail, now);
    }

    /// Completes when this publisher is dismissed. After another has taken the stream over, nothing
    /// that this one pushes is accepted.
    pub fn dismissed(&self) -> impl Future<Output = Dismissal> + Send + use<> {
        let mut dismissed = self.claim.dismissed.clone();
        async move {
            let dismissal = dismissed.wait_for(Option::is_some).await;
            // The sender is dropped only after a publisher was replaced.
            dismissal.map_or(Dismissal::Replaced, |dismissal| {
                dismissal.unwrap_or(Dismissal::Replaced)
            })
        }
    }

    /// Sets the publisher's metadata.
    pub fn set_info(&self, info: PublisherInfo) {
        self.with_state(|state| state.info = Some(Arc::new(info)));
    }

    /// Sets why viewers cannot hear the audio that arrives, or clears it.
    pub fn set_missing_audio(&self, missing: Option<MissingAudio>) {
        self.with_state(|state| state.missing_audio = missing.map(Arc::new));
    }

    /// Sets why viewers cannot see the video that arrives, or clears it.
    pub fn set_missing_video(&self, missing: Option<MissingVideo>) {
        self.with_state(|state| state.missing_video = missing.map(Arc::new));
    }

    /// Sets the video track, before its first frame and whenever it changes.
    pub fn set_video_track(&self, track: VideoTrack) {
        let mut has_changed = false;
        self.with_state(|state| {
            has_changed = state.video.as_deref() != Some(&track);
            state.video = Some(Arc::new(track));
        });
        if has_changed {
            self.tell_renditions();
        }
    }

    /// Sets the audio track, before its first frame and whenever it changes.
    pub fn set_audio_track(&self, track: AudioTrack) {
        self.with_state(|state| {
            if state.audio.as_deref() != Some(&track) {
                state.audio = Some(Arc::new(track));
            }
        });
    }

    /// Delivers timed data that arrived at `now`; its time is on the publisher's clock.
    pub fn push_data(&self, mut data: TimedData, now: Instant) {
        self.with_state(|state| {
            data.time = state.timeline.locate(data.time, now);
            state.deliver_data(&Arc::new(data));
        });
    }

    /// Pushes one frame that arrived at `now`. Never waits.
    ///
    /// # Errors
    /// Returns [`Refusal`] if the stream's policy refuses the frame, which is then not accepted.
    pub fn push(&self, frame: Frame, now: Instant) -> Result<(), Refusal> {
        let has_news = self.stream.push(self.claim.id, frame, now)?;
        if has_news {
            self.tell_renditions();
        }
        Ok(())
    }

    /// Tells the subscribers that the stream's renditions have changed.
    fn tell_renditions(&self) {
        let source = self.source.as_ref();
        source.unwrap_or(&self.stream).tell_renditions();
    }

    /// Changes the stream's state while this publisher is the current one.
    fn with_state(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.stream.lock();
        if state.is_current(self.claim.id) {
            change(&mut state);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let was_current = self
            .stream
            .release_publisher(self.claim.id, self.has_finished);
        match &self.source {
            Some(source) => {
                if was_current {
                    source.remove_rendition(&self.stream);
                }
                self.owner.remove_if_idle(source.name());
            }
            None => self.stream.tell_other_forms(),
        }
        self.owner.remove_if_idle(self.stream.name());
    }
}

/// Keeps a stream for a viewer that is about to subscribe, while its connection is established. The
/// stream counts as watched.
#[derive(Debug)]
pub struct Reservation {
    stream: Arc<Stream>,
    owner: Arc<dyn StreamOwner>,
}

impl Reservation {
    /// Returns the reservation of a stream for which [`Stream::add_reservation`] was called.
    pub(crate) fn new(stream: Arc<Stream>, owner: Arc<dyn StreamOwner>) -> Self {
        Self { stream, owner }
    }

    /// Returns the reserved stream.
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
        self.owner.remove_if_idle(self.stream.name());
    }
}

/// A subscription to a stream. Its events stop when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    stream: Arc<Stream>,
    id: u64,
    owner: Arc<dyn StreamOwner>,
    /// Keeps the source of a rendition: its publisher, if that is there on demand, and its clock.
    _source: Option<Reservation>,
}

impl Subscription {
    pub(crate) fn new(
        stream: Arc<Stream>,
        id: u64,
        owner: Arc<dyn StreamOwner>,
        source: Option<Reservation>,
    ) -> Self {
        Self {
            stream,
            id,
            owner,
            _source: source,
        }
    }

    /// Returns the stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Sets the loss of audio packets, in percent, on the way to the subscriber's viewers. Opus is
    /// encoded for the highest loss that any subscriber sets.
    pub fn set_audio_loss(&self, percent: u8) {
        self.stream.set_audio_loss(self.id, percent);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.remove_subscriber(self.id);
        self.owner.remove_if_idle(self.stream.name());
    }
}
