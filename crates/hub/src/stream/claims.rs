//! The publishers of one name: the active one, and those that stand by to take over.
//!
//! Viewers get the frames of the active publisher. A standby takes over (`takeover`) with a keyframe
//! of its own, or with audio if it has no video, when the active publisher is gone, is silent, or an
//! operator requests it. Subscribers see the stream continue: the timeline goes on, and no
//! event says that the publisher has left. The replaced publisher, if it is connected, stands by.
//!
//! A stream whose active publisher has left, and that has standbys, is vacant: it counts as live
//! for at most [`MAX_VACANCY`](super::standing::MAX_VACANCY).

use std::time::Instant;

use tokio::sync::watch;

use super::activity::{Activity, MAX_PAUSE};
use super::contribution::Contribution;
use super::standing::{Dismissal, Position, Standing};
use super::{PublisherBFrames, State, Stream};
use crate::admission::Tenure;
use crate::subscriber::StreamEvent;

/// Maximum number of publishers of one name that stand by.
pub const MAX_STANDBYS: usize = 4;

/// The right to publish a stream, or to stand by for it, until the publisher is dismissed.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) id: u64,
    pub(super) position: watch::Receiver<Position>,
}

impl Claim {
    pub(super) fn position(&self) -> Position {
        *self.position.borrow()
    }
}

/// A publisher, as its stream knows it.
#[derive(Debug)]
pub(super) struct Claimant {
    pub(super) id: u64,
    pub(super) since: Instant,
    pub(super) activity: Activity,
    /// The ownership of the name during which it was admitted, once it is known.
    tenure: Option<Tenure>,
    position: watch::Sender<Position>,
}

/// A publisher that stands by.
#[derive(Debug)]
pub(super) struct Standby {
    pub(super) claimant: Claimant,
    pub(super) contribution: Contribution,
    /// Time at which an operator has requested that it takes over.
    pub(super) requested_at: Option<Instant>,
    /// Time of its last keyframe while it stood by.
    pub(super) keyframe_at: Option<Instant>,
}

impl Standby {
    pub(super) fn new(claimant: Claimant, contribution: Contribution) -> Self {
        Self {
            claimant,
            contribution,
            requested_at: None,
            keyframe_at: None,
        }
    }
}

impl Claimant {
    fn new(id: u64, standing: Standing, now: Instant) -> (Self, Claim) {
        let (sender, position) = watch::channel(Position::new(standing));
        let claimant = Self {
            id,
            since: now,
            activity: Activity::new(now),
            tenure: None,
            position: sender,
        };
        (claimant, Claim { id, position })
    }

    /// Returns whether this gateway has the name for it: another one may have it by now, or still.
    pub(super) fn has_name(&self) -> bool {
        self.tenure.as_ref().is_none_or(Tenure::is_held)
    }

    /// Returns whether it was admitted during this ownership of the name.
    pub(super) fn is_of(&self, tenure: &Tenure) -> bool {
        self.tenure.as_ref().is_some_and(|own| own.is(tenure))
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.position.borrow().is_dismissed()
    }

    /// Tells the publisher its standing, unless it is the same. A dismissal is final.
    pub(super) fn tell(&self, standing: Standing) {
        self.position
            .send_if_modified(|position| position.change(standing));
    }
}

impl Stream {
    /// Makes the caller the active publisher if there is none.
    pub(crate) fn take_publisher(&self, now: Instant) -> Option<Claim> {
        let mut state = self.lock();
        state.dismiss_remote();
        if state.active.is_some() {
            return None;
        }
        self.tell_online(&state);
        Some(state.claim(now))
    }

    /// Makes the caller the active publisher of a stream from another gateway, and dismisses one
    /// that is another one's as well. Publishers of this gateway keep the stream if it has the name
    /// for one of them; otherwise they stand by or are dismissed. Subscribers see the stream continue.
    pub(crate) fn take_remotely(&self, now: Instant) -> Option<Claim> {
        let mut state = self.lock();
        state.dismiss_remote();
        if state.claimants().any(Claimant::has_name) {
            return None;
        }
        state.step_back(now);
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

    /// Makes the caller, admitted during this ownership of the name, the active publisher if this
    /// gateway has the name and the stream has no publisher, and otherwise lets it stand by. If there
    /// are too many standbys, the one that is silent for longest gives way; `None` if all of them
    /// send.
    pub(crate) fn stand_by(&self, tenure: Option<Tenure>, now: Instant) -> Option<Claim> {
        let mut state = self.lock();
        if tenure.as_ref().is_none_or(Tenure::is_held) {
            state.dismiss_remote();
            if state.active.is_none() && state.standbys.is_empty() {
                self.tell_online(&state);
                let claim = state.claim(now);
                if let Some(active) = &mut state.active {
                    active.tenure = tenure;
                }
                return Some(claim);
            }
        }
        if state.standbys.len() >= MAX_STANDBYS {
            let silence = |standby: &Standby| standby.claimant.activity.silence(now);
            let standbys = state.standbys.iter().enumerate();
            let (silent, _) = standbys
                .filter(|(_, standby)| silence(standby) > MAX_PAUSE)
                .max_by_key(|(_, standby)| silence(standby))?;
            let evicted = state.standbys.remove(silent);
            let dismissal = Standing::Dismissed(Dismissal::Evicted);
            evicted.claimant.tell(dismissal);
        }
        let (mut claimant, claim) = Claimant::new(state.next_id(), Standing::Standby, now);
        claimant.tenure = tenure;
        let standing = state.standing_of(&claimant);
        claimant.tell(standing);
        let standby = Standby::new(claimant, Contribution::new(now));
        state.standbys.push(standby);
        Some(claim)
    }

    /// Tells all who follow the stream that a publisher begins, or is replaced.
    pub(super) fn tell_online(&self, state: &State) {
        state.deliver(&if state.live_since.is_some() {
            StreamEvent::Gap
        } else {
            StreamEvent::Online
        });
        self.liveness.send_replace(true);
    }

    /// Ends the publishing of a stream by this publisher. Returns whether it was the active one. If
    /// others stand by, here or on another gateway, the stream waits for their next keyframe, and ends
    /// with the last of them.
    pub(super) fn release_publisher(&self, id: u64, has_ended: bool) -> bool {
        let mut state = self.lock();
        let is_active = state.is_active(id);
        if is_active {
            state.active = None;
        } else if let Some(at) = state.standby_index(id) {
            state.standbys.remove(at);
        } else {
            return false;
        }
        state.has_ended = has_ended;
        if state.active.is_none() {
            let mut standbys = state.standbys.iter();
            let has_next = standbys.any(|standby| standby.claimant.has_name());
            if !has_next && state.successors.is_empty() {
                self.go_offline(&mut state);
            } else if state.live_since.is_some() {
                state.tell_standbys();
            }
        }
        is_active
    }

    /// Returns whether the stream is live, and has no publisher but this one, which stands by.
    pub(super) fn is_last_standby(&self, publisher: u64) -> bool {
        let state = self.lock();
        let is_vacant = state.active.is_none() && state.live_since.is_some();
        is_vacant && state.standbys.len() == 1 && state.standby_index(publisher).is_some()
    }

    /// Ends the waiting of a vacant stream: it is offline until a standby sends a keyframe. Returns
    /// `false` if it is not vacant.
    pub(super) fn end_vacancy(&self) -> bool {
        let mut state = self.lock();
        let is_vacant = state.active.is_none() && state.live_since.is_some();
        if is_vacant {
            self.go_offline(&mut state);
        }
        is_vacant
    }

    /// Tells that the stream is offline, and has ended if it is offline already.
    pub(super) fn go_offline(&self, state: &mut State) {
        let was_live = state.live_since.take().is_some();
        state.contribution.end();
        state.audio_job = None;
        state.cache.clear();
        if was_live {
            state.deliver(&StreamEvent::Offline);
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

    /// Notes the ownership of the name during which the active publisher was admitted. If it has ended,
    /// the publisher is dismissed.
    pub(super) fn note_tenure(&self, publisher: u64, tenure: Tenure) {
        let mut state = self.lock();
        let Some(claimant) = state.claimant_mut(publisher) else {
            return;
        };
        if !tenure.is_held() {
            claimant.tell(Standing::Dismissed(Dismissal::Replaced));
        }
        claimant.tenure = Some(tenure);
    }

    /// Dismisses the active publisher and all standbys.
    pub fn dismiss_all(&self) {
        for claimant in self.lock().claimants() {
            claimant.tell(Standing::Dismissed(Dismissal::Removed));
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

    /// Dismisses the active publisher if the stream arrives from another gateway: a publisher of
    /// this gateway has the permit, so the other one has lost it.
    pub(super) fn dismiss_remote(&mut self) {
        let is_remote = self.contribution.node.is_some();
        if let Some(dismissed) = self.active.take_if(|_| is_remote) {
            dismissed.tell(Standing::Dismissed(Dismissal::Replaced));
            self.contribution.node = None;
        }
    }

    /// Starts the turn of an active publisher, whose contribution is that of the stream.
    pub(super) fn begin(&mut self, mut claimant: Claimant, now: Instant) {
        claimant.activity.begin_turn(now);
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

    fn next_id(&mut self) -> u64 {
        let id = self.next_publisher;
        self.next_publisher += 1;
        id
    }

    pub(super) fn is_active(&self, publisher: u64) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|active| active.id == publisher)
    }

    pub(super) fn standby_index(&self, publisher: u64) -> Option<usize> {
        let mut standbys = self.standbys.iter();
        standbys.position(|standby| standby.claimant.id == publisher)
    }

    pub(super) fn claimants(&self) -> impl Iterator<Item = &Claimant> {
        let standbys = self.standbys.iter().map(|standby| &standby.claimant);
        self.active.iter().chain(standbys)
    }

    fn claimant_mut(&mut self, publisher: u64) -> Option<&mut Claimant> {
        let standbys = self.standbys.iter_mut();
        let standbys = standbys.map(|standby| &mut standby.claimant);
        let mut claimants = self.active.iter_mut().chain(standbys);
        claimants.find(|claimant| claimant.id == publisher)
    }

    /// Returns the contribution of a publisher, active or not; `None` if it was replaced.
    pub(super) fn contribution_of(&mut self, publisher: u64) -> Option<&mut Contribution> {
        if self.is_active(publisher) {
            return Some(&mut self.contribution);
        }
        let at = self.standby_index(publisher)?;
        Some(&mut self.standbys[at].contribution)
    }

    /// Returns the standing of a publisher that stands by.
    fn standing_of(&self, standby: &Claimant) -> Standing {
        if standby.tenure.as_ref().is_some_and(Tenure::is_revoked) {
            Standing::Dismissed(Dismissal::Replaced)
        } else if self.active.is_some() || !standby.has_name() {
            Standing::Standby
        } else {
            Standing::Next
        }
    }

    pub(super) fn tell_standbys(&self) {
        for standby in &self.standbys {
            standby.claimant.tell(self.standing_of(&standby.claimant));
        }
    }
}

#[cfg(test)]
mod tests;
