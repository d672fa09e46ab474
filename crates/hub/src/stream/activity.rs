//! The activity of a publisher, by which its silence is judged.
//!
//! The active publisher is judged by what viewers see: by the video frames that are delivered, once
//! it has a video track, since encoders whose video is frozen often still send audio. One that
//! stands by is judged by frames of any kind.

use std::time::{Duration, Instant};

/// Maximum pause between two frames of a standby that counts as sending: longer than the frame
/// interval of encoders that send a still screen.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Maximum time by which the frame interval of an active publisher extends the limit of its
/// silence.
const MAX_INTERVAL: Duration = Duration::from_secs(5);

/// Time without any frame that counts against the video of a publisher that sends again.
const RESUMED: Duration = Duration::from_millis(250);

/// The times at which a publisher has sent frames.
#[derive(Debug)]
pub(super) struct Activity {
    first: Option<Instant>,
    /// Time of the last frame, or of the start.
    last: Instant,
    /// Time of the last frame that counts in its turn as the active publisher, or of the start of
    /// the turn.
    shown: Instant,
    /// True once a video frame was delivered in the turn.
    has_shown_video: bool,
    /// The interval between the last two video frames that were delivered in the turn.
    interval: Duration,
    /// The parts of the times since `last` and since `shown` that do not count.
    last_excuse: Duration,
    shown_excuse: Duration,
}

impl Activity {
    /// Returns that of a publisher that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            first: None,
            last: now,
            shown: now,
            has_shown_video: false,
            interval: Duration::ZERO,
            last_excuse: Duration::ZERO,
            shown_excuse: Duration::ZERO,
        }
    }

    /// Starts its turn as the active publisher.
    pub(super) fn begin_turn(&mut self, now: Instant) {
        self.shown = now;
        self.has_shown_video = false;
        self.interval = Duration::ZERO;
        self.shown_excuse = Duration::ZERO;
    }

    /// Notes a frame of any kind. One that was held counts from its arrival, which may be before that of
    /// the last frame.
    pub(super) fn note(&mut self, now: Instant) {
        if self.first.is_some() {
            // Video comes as soon as what has waited, also if audio is read before it.
            self.excuse(self.silence(now).saturating_sub(RESUMED));
        }
        self.first.get_or_insert(now);
        self.last = self.last.max(now);
        self.last_excuse = Duration::ZERO;
    }

    /// Notes that a video frame of the active publisher is delivered.
    pub(super) fn note_video(&mut self, now: Instant) {
        if self.has_shown_video {
            let interval = now.saturating_duration_since(self.shown);
            self.interval = interval.min(MAX_INTERVAL);
        }
        self.has_shown_video = true;
        self.shown = now;
        self.shown_excuse = Duration::ZERO;
    }

    /// Notes that audio of the active publisher, which has declared no video track, is delivered.
    pub(super) fn note_audio_alone(&mut self, now: Instant) {
        if !self.has_shown_video {
            self.shown = now;
            self.shown_excuse = Duration::ZERO;
        }
    }

    /// Returns whether the next frame that counts is late by `limit`: the active publisher is
    /// silent, or its video is frozen.
    pub(super) fn is_frozen(&self, limit: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.shown) >= limit + self.interval + self.shown_excuse
    }

    /// Returns whether it has sent no frame of any kind for `limit`.
    pub(super) fn is_silent(&self, limit: Duration, now: Instant) -> bool {
        self.silence(now) >= limit + self.last_excuse
    }

    /// Returns the time of the last frame of any kind, if there was one.
    pub(super) fn last_frame(&self) -> Option<Instant> {
        self.first.map(|_| self.last)
    }

    /// Lets a part of the time since its last frame not count. Of several, the longest counts.
    pub(super) fn excuse(&mut self, part: Duration) {
        for excuse in [&mut self.last_excuse, &mut self.shown_excuse] {
            *excuse = part.max(*excuse);
        }
    }

    /// Returns the time since the last frame of any kind.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last)
    }

    /// Returns whether it is silent for at most [`MAX_PAUSE`].
    pub(super) fn is_sending(&self, now: Instant) -> bool {
        self.first.is_some() && self.silence(now) <= MAX_PAUSE
    }

    /// Returns the time since its first frame.
    pub(super) fn has_sent_for(&self, now: Instant) -> Duration {
        let first = self.first.unwrap_or(now);
        now.saturating_duration_since(first)
    }
}
