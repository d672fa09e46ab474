//! Outages of a viewer's network, by the packets that it asks for afterwards.

use std::time::{Duration, Instant};

/// Packets in a row that were sent within this time or more and are all lost have met an outage.
const OUTAGE: Duration = Duration::from_millis(250);

/// Tells packets that an outage has lost from those that the network loses now and then.
///
/// No playout delay covers an outage, so its losses are no reason to ask for one.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Index of the last packet of the last one.
    last: Option<u64>,
}

impl Outages {
    /// Handles the packets that a viewer asks for in one request: index and time of each.
    pub(super) fn note_lost(&mut self, lost: impl Iterator<Item = (u64, Instant)>) {
        let mut run: Option<(Instant, u64)> = None;
        for (index, at) in lost {
            let (begin, _) = *run.insert(match run {
                Some((begin, before)) if before + 1 == index => (begin, index),
                _ => (at, index),
            });
            if at.saturating_duration_since(begin) >= OUTAGE {
                self.last = self.last.max(Some(index));
            }
        }
    }

    /// Returns whether a packet that was lost has met the last outage, or came before it.
    pub(super) fn cover(&self, index: u64) -> bool {
        self.last.is_some_and(|last| index <= last)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Notes packets that were sent every 10 ms.
    fn note(outages: &mut Outages, start: Instant, lost: impl Iterator<Item = u64>) {
        outages.note_lost(lost.map(|index| (index, start + Duration::from_millis(10 * index))));
    }

    #[test]
    fn long_run_of_lost_packets_is_an_outage() {
        let start = Instant::now();
        let mut outages = Outages::default();
        note(&mut outages, start, 100..140);
        assert!(outages.cover(100) && outages.cover(139));
        assert!(!outages.cover(140));
        // A part of it that is asked for again changes nothing.
        note(&mut outages, start, 100..130);
        assert!(outages.cover(139));
    }

    #[test]
    fn single_packets_and_short_bursts_are_none() {
        let start = Instant::now();
        let mut outages = Outages::default();
        note(&mut outages, start, (0..200).step_by(2));
        note(&mut outages, start, 300..320);
        assert!(!outages.cover(0));
    }
}
