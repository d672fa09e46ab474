//! Changes of a track's configuration, limited in number.

use std::time::{Duration, Instant};

use distributary_hub::EventLimit;

/// Limit for changes of a track's configuration: each needs a new decoder here and at every viewer.
/// Past it the track's frames are dropped until the change is admitted.
const CHANGES: EventLimit = EventLimit::new(4, Duration::from_secs(1));

/// Limit for returns to the previous configuration, which are normal for an encoder whose sequence
/// header differs from the parameter sets in its keyframes. Past it the frames are dropped, too.
const RETURNS: EventLimit = EventLimit::new(16, Duration::from_millis(100));

/// The configurations of a track.
#[derive(Debug)]
pub(super) struct TrackChange<T> {
    /// The configuration in force.
    current: Option<T>,
    /// The configuration before it.
    previous: Option<T>,
    /// The declared configuration, until it takes effect.
    pending: Option<T>,
    changes: EventLimit,
    returns: EventLimit,
}

/// A configuration that takes effect.
pub(super) struct Change<T> {
    pub(super) track: T,
    /// True unless it is the previous configuration.
    pub(super) is_new: bool,
}

impl<T> Default for TrackChange<T> {
    fn default() -> Self {
        Self {
            current: None,
            previous: None,
            pending: None,
            changes: CHANGES,
            returns: RETURNS,
        }
    }
}

impl<T: Clone + PartialEq> TrackChange<T> {
    /// Declares a configuration. It takes effect with the next frame, so that of several
    /// declarations before a frame only the last counts. Returns whether it can take effect at
    /// once, because there is no other configuration yet.
    pub(super) fn declare(&mut self, track: T) -> bool {
        self.pending = Some(track).filter(|track| self.current.as_ref() != Some(track));
        self.current.is_none()
    }

    /// Returns whether a declared configuration has not taken effect.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Puts the declared configuration into force, if there is one and the limits admit it at
    /// `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Change<T>> {
        self.pending.as_ref()?;
        let is_new = self.pending != self.previous;
        let limit = if is_new {
            &mut self.changes
        } else {
            &mut self.returns
        };
        limit.admit(now)?;
        let track = self.pending.take()?;
        self.previous = self.current.replace(track.clone());
        Some(Change { track, is_new })
    }
}
