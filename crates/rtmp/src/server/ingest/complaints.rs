//! The reasons why media is dropped, for the log.

use std::fmt::{self, Display};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use distributary_hub::EventLimit;
use distributary_media::flv::{FlvError, TagKind};
use tracing::warn;

/// Limit for log lines about dropped media; all of it is counted.
const LOG_LIMIT: EventLimit = EventLimit::new(8, Duration::from_secs(60));

/// The reason why media is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    /// The tag cannot be used.
    Unusable(FlvError),
    /// The track changes its configuration too often.
    ChangesTooOften(TagKind),
}

impl Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(error) => error.fmt(f),
            Self::ChangesTooOften(kind) => write!(
                f,
                "the {kind} track changes its configuration more than once a second"
            ),
        }
    }
}

/// Counts dropped media and logs the reasons.
#[derive(Debug)]
pub(super) struct Complaints {
    dropped: u64,
    /// The reason that was logged last.
    logged: Option<Complaint>,
    log_limit: EventLimit,
}

impl Default for Complaints {
    fn default() -> Self {
        Self {
            dropped: 0,
            logged: None,
            log_limit: LOG_LIMIT,
        }
    }
}

impl Complaints {
    /// Returns the number of dropped tags and frames.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Counts dropped media whose reason is known already.
    pub(super) fn count(&mut self) {
        self.dropped += 1;
    }

    /// Counts dropped media. Logs the reason unless it is the one that was logged last.
    pub(super) fn note(&mut self, complaint: Complaint, now: Instant) {
        self.count();
        if self.logged.as_ref() == Some(&complaint) {
            return;
        }
        if let Some(held_back) = self.log_limit.admit(now) {
            warn!(error = %complaint, held_back = NonZeroU64::new(held_back), "media dropped");
            self.logged = Some(complaint);
        }
    }
}
