//! Limits how often a packet is retransmitted.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Number of packets whose retransmission is remembered; a power of two. A viewer is sent as many again
/// in a second at most.
const SLOTS: usize = 1024;

/// The times of the last retransmissions, so that a NACK that crosses the retransmission it asks
/// for is not answered twice.
///
/// Slots are found by the low bits of the sequence number. A packet that takes the slot of another
/// makes the other forgotten, which costs at most one retransmission more than needed.
#[derive(Debug, Default)]
pub(super) struct RecentResends {
    /// Time of the first one.
    begin: Option<Instant>,
    /// Sequence numbers, with the milliseconds from a millisecond before the first one. Empty before that:
    /// most viewers lose nothing.
    slots: Vec<Option<(u16, NonZeroU32)>>,
}

impl RecentResends {
    /// Returns whether the packet may be retransmitted now, and records it if so: not twice within
    /// `interval`.
    pub(super) fn permit(&mut self, sequence: u16, now: Instant, interval: Duration) -> bool {
        let begin = *self.begin.get_or_insert(now);
        let elapsed = now.saturating_duration_since(begin).as_millis();
        let at = NonZeroU32::MIN.saturating_add(u32::try_from(elapsed).unwrap_or(u32::MAX));
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let Some(slot) = self.slots.get_mut(usize::from(sequence) % SLOTS) else {
            return false;
        };
        let is_recent = slot.is_some_and(|(other, before)| {
            let passed = at.get().saturating_sub(before.get());
            other == sequence && u128::from(passed) < interval.as_millis()
        });
        if !is_recent {
            *slot = Some((sequence, at));
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
