//! The availability of a transcoder.

use std::sync::atomic::{AtomicU8, Ordering};

/// The availability of a transcoder: absent until set otherwise.
#[derive(Debug, Default)]
pub(crate) struct TranscoderPresence(AtomicU8);

const ABSENT: u8 = 0;
const SOUGHT: u8 = 1;
const PRESENT: u8 = 2;

impl TranscoderPresence {
    /// Notes that the availability is being determined.
    pub(crate) fn seek(&self) {
        self.0.store(SOUGHT, Ordering::Relaxed);
    }

    /// Sets whether there is one.
    pub(crate) fn set(&self, is_there: bool) {
        let state = if is_there { PRESENT } else { ABSENT };
        self.0.store(state, Ordering::Relaxed);
    }

    /// Returns whether there is one; `None` while that is being determined.
    pub(crate) fn is_there(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            SOUGHT => None,
            state => Some(state == PRESENT),
        }
    }
}
