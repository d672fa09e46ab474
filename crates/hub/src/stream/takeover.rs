//! Takeovers: a publisher that stands by becomes the active one with a frame of its own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime, TimedData};

use super::activity::MAX_PAUSE;
use super::claims::Standby;
use super::standing::{MAX_VACANCY, Standing};
use super::{PublisherBFrames, State, Stream};
use crate::policy::{BFramePolicy, Refusal};
use crate::timeline::MAX_LATE;

/// Time for which a standby has to send audio before it takes over without video: the video header
/// of an encoder may arrive later than its first audio.
const AUDIO_ALONE_AFTER: Duration = Duration::from_secs(2);

/// Time after which the request of an operator expires if the standby has sent no keyframe.
pub(super) const REQUEST_EXPIRES: Duration = MAX_VACANCY;

/// The reason why a standby takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverReason {
    /// The active publisher has left.
    Gone,
    /// The active publisher has sent no frame for too long, or its video is frozen.
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
            Self::Silent => "the active publisher is silent, or its video is frozen",
            Self::Api => "requested through the API",
        })
    }
}

/// The reason why a standby cannot be requested to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TakeoverError {
    /// There is no such standby.
    #[error("there is no such standby; it may have left")]
    NoStandby,
    /// The standby, or each of them, has sent no frame for some seconds.
    #[error("it has sent no frame for {} s: check the encoder", MAX_PAUSE.as_secs())]
    Silent,
}

impl Stream {
    /// Requests that a standby takes over with its next keyframe, in place of an earlier request:
    /// that of this number, or of those that send the one that has waited for longest, preferably
    /// with video. The request expires after 10 s. Returns the number of the standby, or `None` if it is
    /// one of another gateway, because this one has none that sends.
    ///
    /// # Errors
    /// Returns [`TakeoverError`] if there is no such standby, or it sends no frames.
    pub fn request_takeover(
        &self,
        standby: Option<u64>,
        now: Instant,
    ) -> Result<Option<u64>, TakeoverError> {
        let mut state = self.lock();
        let is_meant = |one: &&Standby| {
            let claimant = &one.claimant;
            !claimant.is_dismissed() && standby.is_none_or(|id| claimant.id == id)
        };
        let meant = state.standbys.iter().filter(is_meant);
        let sending = meant
            .clone()
            .filter(|one| one.claimant.activity.is_sending(now));
        let chosen = sending.min_by_key(|one| !one.contribution.has_video);
        let Some(id) = chosen.map(|one| one.claimant.id) else {
            let is_empty = meant.count() == 0;
            if standby.is_none() && state.yield_to_successor(now) {
                return Ok(None);
            }
            let has_any = !is_empty || (standby.is_none() && !state.successors.is_empty());
            return Err(if has_any {
                TakeoverError::Silent
            } else {
                TakeoverError::NoStandby
            });
        };
        for standby in &mut state.standbys {
            standby.requested_at = (standby.claimant.id == id).then_some(now);
        }
        Ok(Some(id))
    }

    /// Handles a frame of a standby that arrived at `now`: it takes over if the frame allows it and
    /// the active publisher is gone, silent for `silence`, or an operator has requested it. Returns
    /// the reason if it took over; then the frame has to be pushed.
    ///
    /// # Errors
    /// Returns [`Refusal`] if the stream's policy refuses the frame, so that the standby would be
    /// of no use.
    pub(super) fn consider_takeover(
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
        let heard = state.standbys[at].claimant.activity.last_frame();
        state.excuse_standstill(heard, silence / 2, now);
        let reason = state.takeover_reason(at, frame, silence, now);
        if reason.is_some() {
            self.tell_online(&state);
            state.switch_to(at, frame, now);
        } else {
            state.standbys[at].note_frame(frame, now);
        }
        Ok(reason)
    }
}

impl State {
    /// Makes a standby the active publisher, and lets the active one stand by. `frame` is its first
    /// one.
    fn switch_to(&mut self, standby: usize, frame: &Frame, now: Instant) {
        let Standby {
            claimant,
            mut contribution,
            ..
        } = self.standbys.remove(standby);
        contribution.meter.change_clock();
        std::mem::swap(&mut self.contribution, &mut contribution);
        if let Some(replaced) = self.active.take() {
            contribution.meter.change_clock();
            self.standbys.push(Standby::new(replaced, contribution));
        }
        for standby in &mut self.standbys {
            standby.requested_at = None;
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

    /// Lets the silence of the active publisher count only while the gateway ran. The one that wants to take
    /// over was `heard` before. If nothing came for longer than `pause` from those that wait, it may be the
    /// gateway that stood still, and frames of the active publisher wait behind theirs.
    pub(super) fn excuse_standstill(
        &mut self,
        heard: Option<Instant>,
        pause: Duration,
        now: Instant,
    ) {
        let (Some(heard), Some(active)) = (heard, &mut self.active) else {
            return;
        };
        let standbys = self.standbys.iter();
        let frames = standbys.filter_map(|standby| standby.claimant.activity.last_frame());
        let heard = frames.fold(heard, Instant::max);
        let nothing_for = now.saturating_duration_since(heard);
        let activity = &mut active.activity;
        let nothing_for = nothing_for.min(activity.silence(now));
        activity.excuse(nothing_for.saturating_sub(pause));
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
        let is_requested = standby.is_requested(now);
        let can_begin = match frame {
            Frame::Video(video) => video.keyframe,
            Frame::Audio(_) => {
                standby.is_audio_alone(now) && (is_requested || !self.has_video_standby(now))
            }
        };
        let claimant = &standby.claimant;
        if !can_begin || claimant.is_dismissed() || !claimant.has_name() {
            return None;
        }
        let Some(active) = self.active.as_ref().filter(|one| !one.is_dismissed()) else {
            return Some(TakeoverReason::Gone);
        };
        if is_requested {
            return Some(TakeoverReason::Api);
        }
        let is_silent = match frame {
            Frame::Video(_) => active.activity.is_frozen(silence, now),
            // Audio alone is no better than audio with frozen video.
            Frame::Audio(_) => active.activity.is_silent(silence, now),
        };
        is_silent.then_some(TakeoverReason::Silent)
    }

    /// Returns whether a standby sends, and has video.
    fn has_video_standby(&self, now: Instant) -> bool {
        let mut standbys = self.standbys.iter();
        standbys.any(|standby| {
            let claimant = &standby.claimant;
            standby.contribution.has_video
                && !claimant.is_dismissed()
                && claimant.activity.is_sending(now)
        })
    }

    /// Returns whether audio of a publisher that has just taken over belongs before the keyframe
    /// with which it did: viewers have had that time from the publisher before.
    pub(super) fn is_before_takeover(&mut self, audio: MediaTime) -> bool {
        let Some(from) = self.audio_from else {
            return false;
        };
        let is_before = audio < from && from.saturating_since(audio) <= MAX_LATE;
        if !is_before {
            self.audio_from = None;
        }
        is_before
    }
}

impl Standby {
    fn note_frame(&mut self, frame: &Frame, now: Instant) {
        self.claimant.activity.note(now);
        self.contribution.meter.handle(frame, now);
        if frame.is_keyframe() {
            self.keyframe_at = Some(now);
        }
    }

    /// Returns whether an operator has requested that it takes over, and it may still do so.
    pub(super) fn is_requested(&self, now: Instant) -> bool {
        let since = self
            .requested_at
            .map(|at| now.saturating_duration_since(at));
        since.is_some_and(|since| since < REQUEST_EXPIRES)
    }

    /// Returns whether it sends audio, and no video is to be expected.
    pub(super) fn is_audio_alone(&self, now: Instant) -> bool {
        let sent_for = self.claimant.activity.has_sent_for(now);
        !self.contribution.has_video && sent_for >= AUDIO_ALONE_AFTER
    }
}

#[cfg(test)]
mod tests;
