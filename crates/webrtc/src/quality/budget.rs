//! The bytes that clusters may cost.

use std::time::{Duration, Instant};

/// Part of the rate of the present rendition, in percent.
const SHARE: u64 = 15;

/// Most bytes that are saved up.
const MAX_SAVED: u64 = 128 * 1024;

/// Longest time for which bytes are credited at once.
const MAX_STEP: Duration = Duration::from_secs(1);

/// Credit that grows with a share of the rate that a viewer is sent.
#[derive(Debug)]
pub(super) struct Budget {
    saved: u64,
    updated: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            saved: 0,
            updated: now,
        }
    }

    /// Credits the time since the last call, in which `rate` bits per second were sent.
    pub(super) fn update(&mut self, now: Instant, rate: u64) {
        let elapsed = now.saturating_duration_since(self.updated).min(MAX_STEP);
        let grown = rate / 8 * SHARE / 100 * elapsed.as_millis() as u64 / 1000;
        if grown > 0 {
            self.updated = now;
            self.saved = (self.saved + grown).min(MAX_SAVED);
        }
    }

    /// Takes `bytes` if they have been saved up.
    pub(super) fn spend(&mut self, bytes: u64) -> bool {
        let left = self.saved.checked_sub(bytes.min(MAX_SAVED));
        if let Some(left) = left {
            self.saved = left;
        }
        left.is_some()
    }
}
