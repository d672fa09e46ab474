//! Counters of the takeovers by publishers that stood by.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stream::TakeoverReason;

/// The number of takeovers by publishers that stood by, by reason, since the start.
#[derive(Debug, Default)]
pub struct Takeovers([AtomicU64; TakeoverReason::ALL.len()]);

impl Takeovers {
    /// Counts one.
    pub(crate) fn note(&self, reason: TakeoverReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of those with this reason.
    pub fn count(&self, reason: TakeoverReason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}
