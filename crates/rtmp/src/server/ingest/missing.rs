//! Notices that a track's messages arrive without frames that viewers can decode.

use std::time::{Duration, Instant};

use distributary_hub::EventLimit;

use super::complaints::Complaint;

/// Time without a usable frame after which the log and the API report it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Limit for log lines about one track.
const LOG_LIMIT: EventLimit = EventLimit::new(1, Duration::from_secs(30));

/// Tells whether a track has usable frames.
#[derive(Debug)]
pub(super) struct MissingFrames {
    /// Time of the last usable frame, or of the first message if there was none.
    last_frame: Option<Instant>,
    /// The reason why the last message was dropped, unless a frame was accepted since.
    complaint: Option<Complaint>,
    /// True while the API reports that frames are missing.
    is_reported: bool,
    log_limit: EventLimit,
}

/// A change of what the API reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingChange {
    /// None.
    Unchanged,
    /// There are usable frames again.
    Recovered,
    /// Frames are missing.
    Missing {
        /// Time without a usable frame, in seconds, if it is to be logged.
        log: Option<u64>,
    },
}

impl Default for MissingFrames {
    fn default() -> Self {
        Self {
            last_frame: None,
            complaint: None,
            is_reported: false,
            log_limit: LOG_LIMIT,
        }
    }
}

impl MissingFrames {
    /// Returns the reason why the last message was dropped, unless a frame was accepted since.
    pub(super) fn complaint(&self) -> Option<&Complaint> {
        self.complaint.as_ref()
    }

    /// Notes a dropped message.
    pub(super) fn note_dropped(&mut self, complaint: Complaint) {
        self.complaint = Some(complaint);
    }

    /// Notes an accepted frame at `now`; `is_usable` if viewers can decode it.
    pub(super) fn note_frame(&mut self, is_usable: bool, now: Instant) {
        self.complaint = None;
        if is_usable {
            self.last_frame = Some(now);
        }
    }

    /// Checks the track after a message that arrived at `now`. If `needs_frames` is false, the
    /// messages so far need not carry frames.
    pub(super) fn check(&mut self, needs_frames: bool, now: Instant) -> MissingChange {
        let since = *self.last_frame.get_or_insert(now);
        let missing_for = now.saturating_duration_since(since);
        if missing_for < TIMEOUT || !needs_frames {
            return if std::mem::take(&mut self.is_reported) {
                MissingChange::Recovered
            } else {
                MissingChange::Unchanged
            };
        }
        let is_logged = self.log_limit.admit(now).is_some();
        if !is_logged && self.is_reported {
            return MissingChange::Unchanged;
        }
        self.is_reported = true;
        MissingChange::Missing {
            log: is_logged.then_some(missing_for.as_secs()),
        }
    }
}
