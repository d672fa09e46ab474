//! The handles of a stream's publishers and subscribers.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use distributary_media::{AudioTrack, Frame, TimedData, VideoFrame, VideoTrack};
use tracing::warn;

use super::contribution::Contribution;
use super::owner::StreamOwner;
use super::{
    Claim, Dismissal, MissingAudio, MissingVideo, PublisherInfo, Standing, Standings, State,
    Stream, TakeoverReason,
};
use crate::admission::Permit;
use crate::journal::JournalKind;
use crate::offer::{JoinAlignment, RenditionOrigin};
use crate::policy::Refusal;

/// The right to publish a stream, or to stand by for it. When that of the active publisher is
/// dropped, the stream goes offline, unless another publisher has taken it over or stands by.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    claim: Claim,
    owner: Arc<dyn StreamOwner>,
    /// The source, if it publishes a rendition.
    source: Option<Arc<Stream>>,
    has_finished: bool,
    /// Held as long as this publishes.
    permit: Permit,
}

impl Publisher {
    pub(crate) fn new(stream: Arc<Stream>, claim: Claim, owner: Arc<dyn StreamOwner>) -> Self {
        Self {
            stream,
            claim,
            owner,
            source: None,
            has_finished: false,
            permit: Permit::default(),
        }
    }

    /// Holds the permit of an arbiter until this is dropped. It is dismissed if the name has another
    /// owner by now.
    #[must_use]
    pub fn with_permit(self, permit: Permit) -> Self {
        if let Some(tenure) = permit.tenure.clone() {
            self.stream.note_tenure(self.claim.id, tenure);
        }
        self.hold(permit)
    }

    /// Holds the permit that its stream has considered.
    pub(crate) fn hold(mut self, permit: Permit) -> Self {
        self.permit = permit;
        self
    }

    /// Declares that the stream is a rendition of `source`, and its timestamps are on the clock of
    /// that.
    pub(crate) fn follow(mut self, source: &Arc<Stream>, origin: RenditionOrigin) -> Self {
        self.while_active(|state| state.timeline.follow(source.epoch()));
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
        self.while_active(|state| place = state.timeline.offset_near(frame.dts));
        if let Some(offset) = place {
            frame.dts = frame.dts.shifted(offset);
            frame.pts = frame.pts.shifted(offset);
        }
        place.is_some()
    }

    /// Notes that the publisher itself ends the stream, for [`Stream::has_ended`] when this is
    /// dropped.
    pub fn finish(&mut self) {
        self.has_finished = true;
    }

    /// Returns whether viewers get the frames of this publisher.
    pub fn is_active(&self) -> bool {
        self.claim.position().standing == Standing::Active
    }

    /// Records in the journal that this publisher, at the address `address`, begins to publish or
    /// to stand by at `now`.
    pub fn note_begin(&self, address: Option<IpAddr>, now: Instant) {
        let kind = if self.claim.position().stands_by {
            JournalKind::Standby
        } else {
            JournalKind::Published
        };
        self.record(kind, address, &"", now);
    }

    /// Records in the journal that this publisher ends at `now`, and why. The stream ends with a
    /// standby if there is no other publisher.
    pub fn note_end(&self, reason: &dyn Display, now: Instant) {
        let stands_by = self.claim.position().stands_by;
        let kind = if stands_by && !self.stream.is_last_standby(self.claim.id) {
            JournalKind::StandbyEnded
        } else {
            JournalKind::Ended
        };
        self.record(kind, None, reason, now);
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

    /// Returns what follows the standing of this publisher.
    pub fn standings(&self) -> Standings {
        Standings::new(
            Arc::clone(&self.stream),
            Arc::clone(&self.owner),
            &self.claim,
        )
    }

    /// Completes when this publisher is dismissed. Nothing that it pushes is accepted from then on.
    pub fn dismissed(&self) -> impl Future<Output = Dismissal> + Send + use<> {
        let mut standings = self.standings();
        async move {
            loop {
                if let Standing::Dismissed(dismissal) = standings.next().await {
                    return dismissal;
                }
            }
        }
    }

    /// Sets the publisher's metadata.
    pub fn set_info(&self, info: PublisherInfo) {
        self.contribute(|own| own.info = Some(Arc::new(info)));
    }

    /// Sets why viewers cannot hear the audio that arrives, or clears it.
    pub fn set_missing_audio(&self, missing: Option<MissingAudio>) {
        self.contribute(|own| own.missing_audio = missing.map(Arc::new));
    }

    /// Sets why viewers cannot see the video that arrives, or clears it.
    pub fn set_missing_video(&self, missing: Option<MissingVideo>) {
        self.contribute(|own| own.missing_video = missing.map(Arc::new));
    }

    /// Sets the video track, before its first frame and whenever it changes.
    pub fn set_video_track(&self, track: VideoTrack) {
        let mut has_changed = false;
        self.contribute(|own| {
            has_changed = own.video.as_deref() != Some(&track);
            own.video = Some(Arc::new(track));
            own.has_video = true;
        });
        if has_changed && self.is_active() {
            self.tell_renditions();
        }
    }

    /// Tells how frames of another stream are put on the clock of this one.
    pub(crate) fn set_alignment(&self, alignment: JoinAlignment) {
        self.contribute(|own| own.alignment = Some(alignment));
    }

    /// Returns the video track that it has declared, or that of the publisher before until then.
    pub fn video_track(&self) -> Option<Arc<VideoTrack>> {
        let mut state = self.stream.lock();
        let own = state.contribution_of(self.claim.id)?;
        own.video.clone()
    }

    /// Sets the audio track, before its first frame and whenever it changes.
    pub fn set_audio_track(&self, track: AudioTrack) {
        self.contribute(|own| {
            if own.audio.as_deref() != Some(&track) {
                own.audio = Some(Arc::new(track));
            }
        });
    }

    /// Delivers timed data that arrived at `now`; its time is on the publisher's clock. Metadata of
    /// a standby is delivered when it takes over, and its other data is dropped.
    pub fn push_data(&self, mut data: TimedData, now: Instant) {
        let mut state = self.stream.lock();
        if state.is_active(self.claim.id) {
            data.time = state.timeline.locate(data.time, now);
            state.deliver_data(&Arc::new(data));
        } else if data.name == TimedData::METADATA
            && let Some(own) = state.contribution_of(self.claim.id)
        {
            own.metadata = Some(Arc::new(data));
        }
    }

    /// Pushes one frame that arrived at `now`, which may be before frames of the other track that were
    /// pushed earlier. Never waits. That of a standby is dropped, unless it takes over with it.
    ///
    /// # Errors
    /// Returns [`Refusal`] if the stream's policy refuses the frame, which is then not accepted.
    pub fn push(&self, frame: Frame, now: Instant) -> Result<(), Refusal> {
        if !self.is_active() {
            let silence = self.owner.standby_after();
            let takeover = self
                .stream
                .consider_takeover(self.claim.id, &frame, silence, now)?;
            let Some(reason) = takeover else {
                return Ok(());
            };
            self.note_takeover(reason, now);
            self.stream.end_tracks();
            self.tell_renditions();
        }
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

    fn note_takeover(&self, reason: TakeoverReason, now: Instant) {
        let info = self.stream.stats().info;
        let address = info.and_then(|info| info.address);
        let name = self.stream.name();
        warn!(
            stream = %name,
            publisher = address.map(tracing::field::display),
            %reason,
            "a standby takes over"
        );
        self.owner.takeovers().note(reason);
        let ip = address.map(|address| address.ip());
        self.record(JournalKind::Takeover, ip, &reason, now);
    }

    /// Changes what this publisher contributes, active or not.
    fn contribute(&self, change: impl FnOnce(&mut Contribution)) {
        if let Some(own) = self.stream.lock().contribution_of(self.claim.id) {
            change(own);
        }
    }

    /// Changes the stream's state if this publisher is the active one.
    pub(super) fn while_active(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.stream.lock();
        if state.is_active(self.claim.id) {
            change(&mut state);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let was_active = self
            .stream
            .release_publisher(self.claim.id, self.has_finished);
        match &self.source {
            Some(source) => {
                if was_active {
                    source.remove_rendition(&self.stream);
                }
                self.owner.remove_if_idle(source.name());
            }
            None => {
                self.stream.tell_other_forms();
                self.owner.note_change();
            }
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
