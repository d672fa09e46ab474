//! The move of a cursor to another log of the same stream.

use std::time::{Duration, Instant};

use distributary_media::MediaTime;

use super::{Cursor, Stop};
use crate::log::Log;

/// The way in which a viewer moves to another log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogChange {
    /// Frames of the old log up to the keyframe of the new one are sent first, so that none is
    /// missing and none comes twice.
    Seamless,
    /// The rest of the old log is skipped when the new one has a keyframe, also that of a frame
    /// that was started: the path is too slow for it, or the viewer cannot decode it.
    Skip,
    /// Nothing more of the old log is sent: it would delay the keyframe of the new one, or the new
    /// one is so late that its keyframes are never newer than what was sent.
    Stop,
}

/// Longest time that a cursor waits at a keyframe for the other log to have it as well: encoders
/// that follow the stream are late by less.
const LONGEST_HOLD: Duration = Duration::from_millis(800);

impl Cursor {
    /// Moves the cursor from one log to another with the same clock, at a keyframe that is later
    /// than everything sent. Returns whether it has moved; if not, call again when one of the logs
    /// has a new frame or the cursor has moved on.
    ///
    /// If the new log is late, the cursor waits for it at a keyframe of the old one, for a while.
    ///
    /// After a move without a gap, packets of the old log can still be retransmitted. After another
    /// one they cannot: they would delay the keyframe, with which what is missing of them ends.
    pub(in crate::sender) fn change_to(
        &mut self,
        from: &Log,
        to: &Log,
        now: Instant,
        change: LogChange,
    ) -> bool {
        let next = self.number.and_then(|number| from.get(number));
        if change == LogChange::Seamless && next.is_some_and(|packet| !packet.first) {
            // A frame that was started is sent completely.
            return false;
        }
        let Some(sent) = self.sent_until() else {
            self.stop = None;
            self.change_log(false);
            return true;
        };
        let keyframe = self.keyframe(to);
        if let Some((number, keyframe)) = keyframe.filter(|(_, packet)| packet.pts > sent) {
            let is_reached = match next {
                Some(packet) => packet.pts >= keyframe.pts,
                None => self.number.is_none(),
            };
            if !is_reached && change == LogChange::Seamless {
                self.stop = Some(Stop::Before(keyframe.pts));
                return false;
            }
            let age = now.saturating_duration_since(keyframe.at);
            self.stop = None;
            self.change_log(change == LogChange::Seamless);
            self.allowance = age;
            self.move_to(number);
            return true;
        }
        self.stop = match change {
            LogChange::Seamless | LogChange::Skip => self.hold(from, to, now),
            LogChange::Stop => Some(Stop::Now),
        };
        false
    }

    /// Returns the time that a keyframe must exceed to move to it; `None` if nothing was sent.
    pub(in crate::sender) fn sent_until(&self) -> Option<MediaTime> {
        Some(self.newest? + self.decoder.longest_lag())
    }

    /// Sends nothing more, not even of a frame that was started, until the cursor moves to another
    /// log or [`Self::stay`] is called.
    pub(in crate::sender) fn halt(&mut self) {
        self.stop = Some(Stop::Now);
    }

    /// Ends what [`Self::halt`] or [`Self::change_to`] has begun.
    pub(in crate::sender) fn stay(&mut self) {
        self.stop = None;
    }

    /// Returns where to wait for a log that has no keyframe yet to go on with.
    fn hold(&self, from: &Log, to: &Log, now: Instant) -> Option<Stop> {
        let since = match self.stop {
            Some(Stop::AtKeyframe(since)) => since,
            _ => None,
        };
        let keyframe = from.keyframe();
        let is_here = |keyframe: &u64| match (self.number, self.awaits_keyframe_from) {
            (Some(number), _) => number == *keyframe,
            (None, Some(awaited)) => *keyframe >= awaited,
            (None, None) => false,
        };
        let Some(packet) = keyframe.filter(is_here).and_then(|number| from.get(number)) else {
            return Some(Stop::AtKeyframe(None));
        };
        let since = since.unwrap_or(now);
        let has_none = to.newest().is_some_and(|newest| newest >= packet.pts);
        let is_late = now.saturating_duration_since(since) > LONGEST_HOLD;
        (!has_none && !is_late).then_some(Stop::AtKeyframe(Some(since)))
    }
}
