//! Limits how often a packet is retransmitted.

use std::time::{Duration, Instant};

/// Number of packets whose retransmission is remembered; a power of two.
const SLOTS: usize = 256;

/// The times of the last retransmissions, so that a NACK that crosses the retransmission it asks
/// for is not answered twice.
///
/// Slots are found by the low bits of the sequence number. A packet that takes the slot of another
/// makes the other forgotten, which costs at most one retransmission more than needed.
#[derive(Debug, Default)]
pub(super) struct RecentResends {
    /// Empty before the first request: most viewers lose nothing.
    slots: Vec<Option<(u16, Instant)>>,
}

impl RecentResends {
    /// Returns whether the packet may be retransmitted now, and records it if so: not twice within
    /// `interval`.
    pub(super) fn permit(&mut self, sequence: u16, now: Instant, interval: Duration) -> bool {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let Some(slot) = self.slots.get_mut(usize::from(sequence) % SLOTS) else {
            return false;
        };
        let is_recent = slot.is_some_and(|(other, at)| {
            other == sequence && now.saturating_duration_since(at) < interval
        });
        if !is_recent {
            *slot = Some((sequence, now));
        }
        !is_recent
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    #[test]
    fn packet_is_retransmitted_once_per_interval() {
        let start = Instant::now();
        let interval = Duration::from_millis(50);
        let mut recent = RecentResends::default();
        let mut permit = |sequence, millis| {
            recent.permit(sequence, start + Duration::from_millis(millis), interval)
        };
        assert!(permit(7, 0));
        assert!(!permit(7, 49));
        assert!(permit(8, 49));
        assert!(permit(7, 50));
        assert!(!permit(7, 99), "the interval starts over");
        assert!(
            permit(7 + SLOTS as u16, 99),
            "another packet in the same slot"
        );
        assert!(permit(7, 99), "it was forgotten");
    }
}
