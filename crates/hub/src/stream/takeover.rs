//! Takeovers: a publisher that stands by becomes the active one with a frame of its own.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{Frame, MediaTime, TimedData};

use super::claims::Standby;
use super::standing::Standing;
use super::{PublisherBFrames, State, Stream};
use crate::policy::{BFramePolicy, Refusal};

/// Distance to which audio with an earlier timestamp than the keyframe of a takeover belongs before
/// it. At a greater distance the clocks of the tracks are unrelated.
const MAX_LAG: Duration = Duration::from_secs(1);

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

impl Stream {
    /// Handles a frame of a standby that arrived at `now`: it takes over if the frame allows it and
    /// the active publisher is gone, silent for `silence`, or an operator wants the standby. Returns the
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
}

impl State {
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
}

impl Standby {
    fn note_frame(&mut self, frame: &Frame, now: Instant) {
        self.claimant.last_frame = now;
        self.contribution.meter.handle(frame, now);
    }
}
