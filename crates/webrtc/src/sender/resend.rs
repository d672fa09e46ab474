//! Limits how often a packet is retransmitted.

use std::time::{Duration, Instant};

/// Number of packets whose retransmission is remembered; a power of two.
const SLOTS: usize = 256;

/// The times of the last retransmissions, so that a NACK that crosses the retransmission it asks
/// for is not answered twice, and of first requests on a path that reorders packets.
///
/// Slots are found by the low bits of the sequence number. A packet that takes the slot of another
/// makes the other forgotten, which costs at most one retransmission more than needed.
#[derive(Debug, Default)]
pub(super) struct RecentResends {
    /// Empty before the first request: most viewers lose nothing.
    slots: Vec<Option<Slot>>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    sequence: u16,
    /// When the packet was asked for first, or retransmitted last.
    at: Instant,
    is_resent: bool,
}

impl RecentResends {
    /// Returns whether the packet may be retransmitted now, and records it if so: not twice within
    /// `interval`. Where packets overtake each other, it may be under way still: then it is
    /// retransmitted when it is asked for again after `hold`.
    pub(super) fn permit(
        &mut self,
        sequence: u16,
        now: Instant,
        interval: Duration,
        hold: Duration,
    ) -> bool {
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        let Some(slot) = self.slots.get_mut(usize::from(sequence) % SLOTS) else {
            return false;
        };
        let known = slot.filter(|known| known.sequence == sequence);
        let is_due = match known {
            Some(known) => {
                let wait = if known.is_resent { interval } else { hold };
                now.saturating_duration_since(known.at) >= wait
            }
            None => hold.is_zero(),
        };
        if is_due || known.is_none() {
            *slot = Some(Slot {
                sequence,
                at: now,
                is_resent: is_due,
            });
        }
        is_due
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
            let now = start + Duration::from_millis(millis);
            recent.permit(sequence, now, interval, Duration::ZERO)
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

    #[test]
    fn first_request_on_a_reordering_path_waits_for_the_next_one() {
        let start = Instant::now();
        let (interval, hold) = (Duration::from_millis(100), Duration::from_millis(40));
        let mut recent = RecentResends::default();
        let mut permit = |sequence, millis| {
            let now = start + Duration::from_millis(millis);
            recent.permit(sequence, now, interval, hold)
        };
        assert!(!permit(7, 0));
        assert!(!permit(7, 39));
        assert!(permit(7, 40));
        assert!(!permit(7, 139), "it was retransmitted");
        assert!(permit(7, 140));
    }
}
