//! Faults of a publisher's clock, and the largest steps that are none.

use std::fmt;
use std::time::Duration;

/// A forward step of a track that is larger than this, and the time since its last frame, is a
/// jump.
pub(super) const MAX_STEP: Duration = Duration::from_secs(1);

/// A backward step of a track larger than this is a jump; a smaller one is disorder of the input.
pub(super) const MAX_DISORDER: Duration = Duration::from_millis(200);

/// A fault of a publisher's timestamps, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFault {
    /// Audio and video start so far apart that they cannot be on one clock: both are placed at
    /// their arrival.
    Apart(Duration),
    /// The timestamps of a track stand still while frames arrive: the frames are placed at their
    /// arrival.
    Still,
    /// They run much faster than frames arrive: the frames are placed at their arrival.
    Fast,
}

impl fmt::Display for ClockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apart(by) => write!(
                f,
                "the timestamps of audio and video are {} s apart, so they may be out of sync",
                by.as_secs()
            ),
            Self::Still => {
                f.write_str("the timestamps stand still, so the time of arrival is used")
            }
            Self::Fast => f.write_str(
                "the timestamps run faster than real time, so the time of arrival is used",
            ),
        }
    }
}
