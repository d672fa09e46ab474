//! The publishers of one name: the active one, and those that stand by to take over.
//!
//! Viewers get the frames of the active publisher. A standby takes over with a keyframe of its own
//! (or with any audio frame, if it has no video), when the active publisher is gone, is silent, or
//! an operator wants the standby. Subscribers see the stream continue: the timeline goes on, and no
//! event says that the publisher has left. The replaced publisher, if it is connected, stands by.
//!
//! A stream whose active publisher has left, and that has standbys, is vacant: it counts as live
//! for at most [`MAX_VACANCY`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime, TimedData};
use tokio::sync::watch;
use tokio::time::timeout;

use super::contribution::Contribution;
use super::{PublisherBFrames, State, Stream};
use crate::policy::{BFramePolicy, Refusal};
use crate::subscriber::StreamEvent;

/// Maximum number of publishers of one name that stand by.
pub const MAX_STANDBYS: usize = 4;

/// Maximum time for which a stream without an active publisher waits for a keyframe of a standby
/// before it is offline: longer than the GOP of ordinary encoders.
const MAX_VACANCY: Duration = Duration::from_secs(10);

/// Distance to which audio with an earlier timestamp than the keyframe of a takeover belongs before
/// it. At a greater distance the clocks of the tracks are unrelated.
const MAX_LAG: Duration = Duration::from_secs(1);

/// The reason why a publisher is dismissed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// Another publisher has taken the stream over.
    Replaced,
    /// It was removed through the API.
    Removed,
}

/// The standing of a publisher among those of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Viewers get its frames.
    Active,
    /// It stands by, and viewers get the frames of another publisher.
    Standby,
    /// It stands by, and there is no active publisher: its next keyframe takes over.
    Next,
    /// It is dismissed. If it was replaced, nothing that it pushes is accepted.
    Dismissed(Dismissal),
}

/// The reason why a standby takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverReason {
    /// The active publisher has left.
    Gone,
    /// The active publisher has sent no frame for too long.
    Silent,
    /// It was requested through the API.
    Api,
}

impl TakeoverReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Gone, Self::Silent, Self::Api];

    /// Returns its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Api => "api",
        }
    }
}

impl fmt::Display for TakeoverReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the active publisher has left",
            Self::Silent => "the active publisher is silent",
            Self::Api => "requested through the API",
        })
    }
}

/// The right to publish a stream, or to stand by for it, until the publisher is dismissed.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) id: u64,
    pub(super) standing: watch::Receiver<Standing>,
}

/// A publisher, as its stream knows it.
#[derive(Debug)]
pub(super) struct Claimant {
    pub(super) id: u64,
    pub(super) since: Instant,
    /// Time of its last frame, or of its start.
    pub(super) last_frame: Instant,
    standing: watch::Sender<Standing>,
    /// Silence is no reason to replace it.
    holds_in_silence: bool,
}

/// A publisher that stands by.
#[derive(Debug)]
pub(super) struct Standby {
    pub(super) claimant: Claimant,
    pub(super) contribution: Contribution,
    /// An operator wants it to take over.
    pub(super) is_wanted: bool,
}

impl Claimant {
    fn new(id: u64, standing: Standing, now: Instant) -> (Self, Claim) {
        let (tell, standing) = watch::channel(standing);
        let claimant = Self {
            id,
            since: now,
            last_frame: now,
            standing: tell,
            holds_in_silence: false,
        };
        (claimant, Claim { id, standing })
    }

    fn is_dismissed(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Dismissed(_))
    }

    /// Tells the publisher its standing, unless it is the same. A dismissal is final.
    fn tell(&self, standing: Standing) {
        self.standing.send_if_modified(|current| {
            let is_news = *current != standing && !matches!(current, Standing::Dismissed(_));
            if is_news {
                *current = standing;
            }
            is_news
        });
    }

    fn is_silent(&self, limit: Duration, now: Instant) -> bool {
        !self.holds_in_silence && now.saturating_duration_since(self.last_frame) >= limit
    }
}

impl Stream {
    /// Makes the caller the active publisher if there is none.
    pub(crate) fn take_publisher(&self, now: Instant) -> Option<Claim> {
        let mut state = self.lock();
        if state.active.is_some() {
            return None;
        }
        self.tell_online(&state);
        Some(state.claim(now))
    }

    /// Makes the caller the active publisher, and dismisses the current one. Subscribers see the
    /// stream continue.
    pub(crate) fn take_over(&self, now: Instant) -> Claim {
        let mut state = self.lock();
        if let Some(replaced) = state.active.take() {
            replaced.tell(Standing::Dismissed(Dismissal::Replaced));
        }
        self.tell_online(&state);
        state.claim(now)
    }

    /// Makes the caller the active publisher if the stream has no publisher, and otherwise lets it
    /// stand by. If there are too many standbys, one that has sent no frame for `silence` gives
    /// way; `None` if all of them send.
    pub(crate) fn stand_by(&self, silence: Duration, now: Instant) -> Option<Claim> {
        let mut state = self.lock();
        if state.active.is_none() && state.standbys.is_empty() {
            self.tell_online(&state);
            return Some(state.claim(now));
        }
        if state.standbys.len() >= MAX_STANDBYS {
            let standbys = state.standbys.iter().enumerate();
            let (silent, _) = standbys
                .filter(|(_, standby)| standby.claimant.is_silent(silence, now))
                .min_by_key(|(_, standby)| standby.claimant.last_frame)?;
            let removed = state.standbys.remove(silent);
            let dismissal = Standing::Dismissed(Dismissal::Replaced);
            removed.claimant.tell(dismissal);
        }
        let standing = state.standing_of_standbys();
        let (claimant, claim) = Claimant::new(state.next_id(), standing, now);
        state.standbys.push(Standby {
            claimant,
            contribution: Contribution::new(now),
            is_wanted: false,
        });
        Some(claim)
    }

    /// Tells all who follow the stream that a publisher begins, or is replaced.
    fn tell_online(&self, state: &State) {
        if state.live_since.is_none() {
            for subscriber in &state.subscribers {
                subscriber.deliver(StreamEvent::Online);
            }
        }
        self.liveness.send_replace(true);
    }

    /// Handles a frame of a standby that arrived at `now`: it takes over if the frame allows it and
    /// the active publisher is gone, wanted to be replaced, or silent for `silence`. Returns the
    /// reason if it took over; then the frame has to be pushed.
    ///
    /// # Errors
    /// Returns [`Refusal`] if the stream's policy refuses the frame, so that the standby would be
    /// of no use.
    pub(super) fn offer(
        &self,
        standby: u64,
        frame: &Frame,
        silence: Duration,
        now: Instant,
    ) -> Result<Option<TakeoverReason>, Refusal> {
        if let Frame::Video(video) = frame
            && self.b_frame_policy() == BFramePolicy::Refuse
            && PublisherBFrames::default().update(video.info.b_frames)
        {
            return Err(Refusal::BFrames);
        }
        let mut state = self.lock();
        let Some(at) = state.standby_index(standby) else {
            return Ok(None);
        };
        state.standbys[at].note_frame(frame, now);
        let reason = state.takeover_reason(at, frame, silence, now);
        if reason.is_some() {
            self.tell_online(&state);
            state.promote(at, frame, now);
        }
        Ok(reason)
    }

    /// Ends the publishing of a stream by this publisher. Returns whether it was the active one. If
    /// others stand by, the stream waits for their next keyframe.
    pub(super) fn release_publisher(&self, id: u64, has_ended: bool) -> bool {
        let mut state = self.lock();
        let is_active = state.is_active(id);
        if is_active {
            state.active = None;
            state.has_ended = has_ended;
        } else if let Some(at) = state.standby_index(id) {
            state.standbys.remove(at);
        } else {
            return false;
        }
        if state.active.is_none() && state.live_since.is_some() {
            if state.standbys.is_empty() {
                self.go_offline(&mut state);
            } else {
                state.tell_standbys();
            }
        }
        is_active
    }

    /// Ends the waiting of a vacant stream: it is offline until a standby sends a keyframe.
    fn end_vacancy(&self) {
        let mut state = self.lock();
        if state.active.is_none() && state.live_since.is_some() {
            self.go_offline(&mut state);
        }
    }

    fn go_offline(&self, state: &mut State) {
        state.live_since = None;
        state.contribution.end();
        state.audio_thread = None;
        state.cache.clear();
        for subscriber in &state.subscribers {
            subscriber.deliver(StreamEvent::Offline);
        }
        self.liveness.send_replace(false);
    }

    /// Dismisses the publisher of a rendition whose source has another publisher now.
    pub(super) fn displace(&self) {
        let mut state = self.lock();
        if let Some(displaced) = state.active.take() {
            displaced.tell(Standing::Dismissed(Dismissal::Replaced));
            self.go_offline(&mut state);
        }
    }

    /// Returns the number of the active publisher among those of this stream; `None` if there is
    /// none.
    pub fn publisher_id(&self) -> Option<u64> {
        self.lock().active.as_ref().map(|active| active.id)
    }

    /// Dismisses the active publisher. A standby takes over with its next keyframe. Returns `false`
    /// if there is none.
    pub fn dismiss_publisher(&self) -> bool {
        let state = self.lock();
        if let Some(active) = &state.active {
            active.tell(Standing::Dismissed(Dismissal::Removed));
        }
        state.active.is_some()
    }

    /// Dismisses the publisher of this number, active or not. Returns `false` if there is none.
    pub fn dismiss(&self, publisher: u64) -> bool {
        let state = self.lock();
        let mut claimants = state.claimants();
        let found = claimants.find(|claimant| claimant.id == publisher);
        if let Some(claimant) = found {
            claimant.tell(Standing::Dismissed(Dismissal::Removed));
        }
        found.is_some()
    }

    /// Dismisses the active publisher and all standbys.
    pub fn dismiss_all(&self) {
        for claimant in self.lock().claimants() {
            claimant.tell(Standing::Dismissed(Dismissal::Removed));
        }
    }

    /// Lets a standby take over with its next keyframe: that of this number, or the one that has
    /// waited for longest. Returns its number; `None` if there is no such standby.
    pub fn promote(&self, standby: Option<u64>) -> Option<u64> {
        let mut state = self.lock();
        let mut standbys = state.standbys.iter().map(|standby| &standby.claimant);
        let chosen = standbys
            .find(|one| !one.is_dismissed() && standby.is_none_or(|id| one.id == id))?
            .id;
        for standby in &mut state.standbys {
            standby.is_wanted = standby.claimant.id == chosen;
        }
        Some(chosen)
    }

    /// Sets that silence is no reason to replace a publisher.
    pub(super) fn hold_in_silence(&self, publisher: u64) {
        let mut state = self.lock();
        let State {
            active, standbys, ..
        } = &mut *state;
        let waiting = standbys.iter_mut().map(|standby| &mut standby.claimant);
        let mut claimants = active.iter_mut().chain(waiting);
        if let Some(claimant) = claimants.find(|claimant| claimant.id == publisher) {
            claimant.holds_in_silence = true;
        }
    }
}

impl State {
    /// Resets the state for a new active publisher.
    fn claim(&mut self, now: Instant) -> Claim {
        let (claimant, claim) = Claimant::new(self.next_id(), Standing::Active, now);
        let mut contribution = Contribution::new(now);
        contribution.video = self.contribution.video.take();
        contribution.audio = self.contribution.audio.take();
        self.contribution = contribution;
        self.begin(claimant, now);
        claim
    }

    /// Starts the turn of an active publisher, whose contribution is that of the stream.
    fn begin(&mut self, claimant: Claimant, now: Instant) {
        self.active = Some(claimant);
        self.live_since = Some(now);
        self.has_ended = false;
        self.contribution.renew_audio();
        self.cache.clear();
        self.timeline.restart();
        self.b_frames = PublisherBFrames::default();
        self.awaiting_keyframe = true;
        self.audio_from = None;
        self.tell_standbys();
    }

    /// Makes a standby the active publisher, and lets the active one stand by. `frame` is its first
    /// one.
    fn promote(&mut self, standby: usize, frame: &Frame, now: Instant) {
        let Standby {
            claimant,
            mut contribution,
            ..
        } = self.standbys.remove(standby);
        contribution.meter.change_clock();
        std::mem::swap(&mut self.contribution, &mut contribution);
        if let Some(replaced) = self.active.take() {
            contribution.meter.change_clock();
            self.standbys.push(Standby {
                claimant: replaced,
                contribution,
                is_wanted: false,
            });
        }
        for standby in &mut self.standbys {
            standby.is_wanted = false;
        }
        claimant.tell(Standing::Active);
        self.begin(claimant, now);
        if matches!(frame, Frame::Video(_)) {
            self.audio_from = Some(frame.dts());
        }
        if let Some(metadata) = self.contribution.metadata.take() {
            let data = TimedData {
                time: self.timeline.locate(metadata.time, now),
                ..(*metadata).clone()
            };
            self.deliver_data(&Arc::new(data));
        }
    }

    /// Returns why a standby takes over with this frame, if it does.
    fn takeover_reason(
        &self,
        standby: usize,
        frame: &Frame,
        silence: Duration,
        now: Instant,
    ) -> Option<TakeoverReason> {
        let standby = &self.standbys[standby];
        let can_begin = match frame {
            Frame::Video(video) => video.keyframe,
            Frame::Audio(_) => !standby.contribution.has_video,
        };
        if !can_begin || standby.claimant.is_dismissed() {
            return None;
        }
        match &self.active {
            None => Some(TakeoverReason::Gone),
            Some(active) if active.is_dismissed() => Some(TakeoverReason::Gone),
            Some(_) if standby.is_wanted => Some(TakeoverReason::Api),
            Some(active) => active
                .is_silent(silence, now)
                .then_some(TakeoverReason::Silent),
        }
    }

    /// Returns whether audio of a publisher that has just taken over belongs before the keyframe
    /// with which it did: viewers have had that time from the publisher before.
    pub(super) fn is_before_takeover(&mut self, audio: MediaTime) -> bool {
        let Some(from) = self.audio_from else {
            return false;
        };
        let is_before = audio < from && from.saturating_since(audio) <= MAX_LAG;
        if !is_before {
            self.audio_from = None;
        }
        is_before
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_publisher;
        self.next_publisher += 1;
        id
    }

    pub(super) fn is_active(&self, publisher: u64) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|active| active.id == publisher)
    }

    fn standby_index(&self, publisher: u64) -> Option<usize> {
        let mut standbys = self.standbys.iter();
        standbys.position(|standby| standby.claimant.id == publisher)
    }

    fn claimants(&self) -> impl Iterator<Item = &Claimant> {
        let standbys = self.standbys.iter().map(|standby| &standby.claimant);
        self.active.iter().chain(standbys)
    }

    /// Returns the contribution of a publisher, active or not; `None` if it was replaced.
    pub(super) fn contribution_of(&mut self, publisher: u64) -> Option<&mut Contribution> {
        if self.is_active(publisher) {
            return Some(&mut self.contribution);
        }
        let at = self.standby_index(publisher)?;
        Some(&mut self.standbys[at].contribution)
    }

    fn standing_of_standbys(&self) -> Standing {
        if self.active.is_some() {
            Standing::Standby
        } else {
            Standing::Next
        }
    }

    fn tell_standbys(&self) {
        let standing = self.standing_of_standbys();
        for standby in &self.standbys {
            standby.claimant.tell(standing);
        }
    }
}

impl Standby {
    fn note_frame(&mut self, frame: &Frame, now: Instant) {
        self.claimant.last_frame = now;
        self.contribution.meter.handle(frame, now);
    }
}

/// Follows the standing of one publisher. Somebody has to wait for [`next`](Self::next) as long as
/// the publisher is there: it also ends the time for which the stream waits for a standby.
#[derive(Debug)]
pub struct Standings {
    stream: Arc<Stream>,
    standing: watch::Receiver<Standing>,
    /// The standing that was returned last.
    told: Standing,
}

impl Standings {
    pub(super) fn new(stream: Arc<Stream>, claim: &Claim) -> Self {
        let standing = claim.standing.clone();
        let told = *standing.borrow();
        Self {
            stream,
            standing,
            told,
        }
    }

    /// Returns the standing at first, and then the one that [`next`](Self::next) returned last.
    pub fn current(&self) -> Standing {
        self.told
    }

    /// Waits for a change of the standing, and returns the new one; that of a dismissed publisher
    /// at once. The future may be dropped and the function called again.
    pub async fn next(&mut self) -> Standing {
        let told = self.told;
        let is_news = |now: &Standing| *now != told || matches!(now, Standing::Dismissed(_));
        if told == Standing::Next {
            let changed = timeout(MAX_VACANCY, self.standing.wait_for(is_news)).await;
            if changed.is_err() {
                self.stream.end_vacancy();
            }
        }
        self.told = match self.standing.wait_for(is_news).await {
            Ok(standing) => *standing,
            // The sender is dropped only after the publisher was replaced.
            Err(_) => Standing::Dismissed(Dismissal::Replaced),
        };
        self.told
    }
}

#[cfg(test)]
mod tests;
