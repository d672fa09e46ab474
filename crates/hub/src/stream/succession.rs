//! Standbys of several gateways: when the name goes from one to another.
//!
//! The ownership of the name decides whether a publisher may take over: one whose ownership is
//! suspended stands by, whatever happens to the active publisher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claims::{Claimant, Standby};
use super::contribution::Contribution;
use super::standing::{Dismissal, MAX_VACANCY, Standing};
use super::takeover::REQUEST_EXPIRES;
use super::{State, Stream};
use crate::admission::Tenure;

/// Maximum pause between two questions of another gateway whose publishers stand by, which asks several times
/// a second, and the time after which the next question is that of a newcomer.
const QUESTION_PAUSE: Duration = Duration::from_millis(400);
const QUESTIONS_END: Duration = Duration::from_secs(2);

/// The readiness of the standbys of a gateway to take a stream over from another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// One of them sends video with keyframes; otherwise audio alone.
    pub has_video: bool,
    /// An operator has requested it.
    pub is_requested: bool,
}

/// Another gateway with publishers that stand by for a stream of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// The name of the gateway.
    pub node: Arc<str>,
    /// The number of its standbys.
    pub standbys: usize,
    /// One of them sends what viewers can begin with.
    pub is_ready: bool,
}

impl Stream {
    /// Returns how its standbys could take it over at `now`; `None` if none of them sends what viewers
    /// can begin with.
    pub fn readiness(&self, now: Instant) -> Option<Readiness> {
        let state = self.lock();
        let ready = state
            .standbys
            .iter()
            .filter(|standby| standby.is_ready(now));
        let together = |all: Option<Readiness>, standby: &Standby| {
            let all = all.unwrap_or(Readiness {
                has_video: false,
                is_requested: false,
            });
            Some(Readiness {
                has_video: all.has_video || standby.contribution.has_video,
                is_requested: all.is_requested || standby.is_requested(now),
            })
        };
        ready.fold(None, together)
    }

    /// Returns whether viewers get nothing of this gateway's publishers, so that a standby of another
    /// gateway, with or without video, may have the name: the active one is gone, or late by
    /// `silence` if that is given, and no standby of this gateway could take over. So it is when an operator has
    /// requested it.
    pub fn gives_way(&self, has_video: bool, silence: Option<Duration>, now: Instant) -> bool {
        let mut state = self.lock();
        let since = |at| now.saturating_duration_since(at);
        let questioned_at = state.questioned_at.replace(now);
        if let Some(silence) = silence {
            let heard = questioned_at.filter(|at| since(*at) < QUESTIONS_END);
            state.excuse_standstill(heard, QUESTION_PAUSE.max(silence / 2), now);
        }
        if state
            .yields_at
            .is_some_and(|at| since(at) < REQUEST_EXPIRES)
        {
            return true;
        }
        if state.standbys.iter().any(|standby| standby.is_ready(now)) {
            return false;
        }
        match state.active.as_ref().filter(|one| !one.is_dismissed()) {
            None => true,
            // Audio alone is no better than audio with frozen video.
            Some(active) => silence.is_some_and(|silence| {
                if has_video {
                    active.activity.is_frozen(silence, now)
                } else {
                    active.activity.is_silent(silence, now)
                }
            }),
        }
    }

    /// Returns the number of publishers that stand by.
    pub fn standby_count(&self) -> usize {
        self.lock().standbys.len()
    }

    /// Sets which other gateways have standbys. With any, the stream stays live when its last publisher
    /// has left, until [`Hub::end_tenure`](crate::Hub::end_tenure) ends that.
    pub fn set_successors(&self, successors: Vec<Successor>) {
        self.lock().successors = successors;
    }

    /// Lets the standbys take over with their next keyframe, because this gateway has the name from
    /// now on. The stream is live until then, for a limited time.
    pub fn await_standby(&self, now: Instant) {
        let mut state = self.lock();
        state.yields_at = None;
        state.dismiss_remote();
        if state.active.is_none() && !state.standbys.is_empty() {
            self.tell_online(&state);
            state.live_since.get_or_insert(now);
            // Viewers have had these frames from the gateway before.
            state.cache.clear();
        }
        state.tell_standbys();
    }

    /// Ends the publishing by the publishers of an ownership, unless it is held again.
    pub(crate) fn end_tenure(&self, tenure: &Tenure, now: Instant) {
        let mut state = self.lock();
        if tenure.is_held() {
            return;
        }
        if tenure.is_revoked() {
            for claimant in state.claimants().filter(|claimant| claimant.is_of(tenure)) {
                claimant.tell(Standing::Dismissed(Dismissal::Replaced));
            }
        } else if state
            .active
            .as_ref()
            .is_some_and(|active| active.is_of(tenure))
        {
            state.step_back(now);
        }
        let is_vacant = state.active.is_none() && state.live_since.is_some();
        if is_vacant && !state.claimants().any(Claimant::has_name) {
            self.go_offline(&mut state);
        }
    }
}

impl State {
    /// Lets a standby of another gateway have the name, if one is ready.
    pub(super) fn yield_to_successor(&mut self, now: Instant) -> bool {
        let is_ready = self.successors.iter().any(|successor| successor.is_ready);
        if is_ready {
            self.yields_at = Some(now);
        }
        is_ready
    }

    /// Lets the active publisher stand by if its ownership is suspended, and dismisses all whose
    /// ownership has ended.
    pub(super) fn step_back(&mut self, now: Instant) {
        self.yields_at = None;
        if let Some(active) = self.active.take() {
            let mut next = Contribution::new(now);
            // Viewers have negotiated these.
            next.video = self.contribution.video.clone();
            next.audio = self.contribution.audio.clone();
            let mut own = std::mem::replace(&mut self.contribution, next);
            own.meter.change_clock();
            self.standbys.push(Standby::new(active, own));
        }
        self.tell_standbys();
        self.standbys
            .retain(|standby| !standby.claimant.is_dismissed());
    }
}

impl Standby {
    /// Returns whether it sends what viewers can begin with.
    fn is_ready(&self, now: Instant) -> bool {
        let is_recent = |at| now.saturating_duration_since(at) <= MAX_VACANCY;
        let can_begin = self.keyframe_at.is_some_and(is_recent) || self.is_audio_alone(now);
        can_begin && self.claimant.activity.is_sending(now) && !self.claimant.is_dismissed()
    }
}

#[cfg(test)]
mod tests;
