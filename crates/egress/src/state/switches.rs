//! Counters of viewers that move between renditions.

use std::sync::atomic::{AtomicU64, Ordering};

use distributary_webrtc::quality::Reason;

/// All reasons, in the order of the counters.
const REASONS: [Reason; 4] = [
    Reason::Congestion,
    Reason::Bandwidth,
    Reason::Viewer,
    Reason::Gone,
];

/// Counters of all shards.
#[derive(Debug, Default)]
pub(crate) struct SwitchCounters {
    /// By reason, those to a better rendition and those to a lesser one.
    up: [AtomicU64; REASONS.len()],
    down: [AtomicU64; REASONS.len()],
    probes: AtomicU64,
}

/// The number of viewers that have moved to another rendition, by direction and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// True for a better rendition.
    pub is_up: bool,
    /// The reason.
    pub reason: Reason,
    /// Switches since the start.
    pub count: u64,
}

impl SwitchCounters {
    /// Counts a viewer that has moved.
    pub(crate) fn note(&self, is_up: bool, reason: Reason) {
        let counters = if is_up { &self.up } else { &self.down };
        let place = REASONS.iter().position(|other| *other == reason);
        if let Some(counter) = place.and_then(|place| counters.get(place)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a cluster.
    pub(crate) fn note_probe(&self) {
        self.probes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of clusters.
    pub(crate) fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    /// Returns all counters of switches.
    pub(crate) fn all(&self) -> Vec<Switches> {
        let of = |is_up, counters: &[AtomicU64; REASONS.len()]| -> Vec<Switches> {
            let counts = counters
                .iter()
                .map(|counter| counter.load(Ordering::Relaxed));
            let switches = REASONS.iter().zip(counts);
            switches
                .map(|(reason, count)| Switches {
                    is_up,
                    reason: *reason,
                    count,
                })
                .collect()
        };
        [of(true, &self.up), of(false, &self.down)].concat()
    }
}
