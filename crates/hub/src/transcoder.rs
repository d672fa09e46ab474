//! Whether there is a transcoder.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is known of a transcoder. There is none until somebody says otherwise.
#[derive(Debug, Default)]
pub(crate) struct TranscoderPresence(AtomicU8);

const ABSENT: u8 = 0;
const SOUGHT: u8 = 1;
const PRESENT: u8 = 2;

impl TranscoderPresence {
    /// Notes that it will be known soon.
    pub(crate) fn seek(&self) {
        self.0.store(SOUGHT, Ordering::Relaxed);
    }

    /// Notes whether there is one.
    pub(crate) fn set(&self, is_there: bool) {
        let state = if is_there { PRESENT } else { ABSENT };
        self.0.store(state, Ordering::Relaxed);
    }

    /// Returns whether there is one; `None` while that is being found out.
    pub(crate) fn is_there(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            SOUGHT => None,
            state => Some(state == PRESENT),
        }
    }
}
