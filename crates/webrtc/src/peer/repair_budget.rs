//! Bounds the retransmissions to a viewer by what it is sent of the stream.

/// Part of the bytes of the stream that may be sent again, in percent. It repairs the loss of a third of
/// all packets by chance, that of a third of the repairs, and so on. From about there on, a path counts as
/// slower than the stream.
const PART: u64 = 50;

/// Most bytes that are saved up: those of the stream in so many milliseconds, and at least so many. A burst
/// of losses is repaired at once, and a whole keyframe.
const SAVED_MILLIS: u64 = 1000;
const LEAST_SAVED: u64 = 64 * 1024;

/// Bytes that may be sent again.
///
/// A link that drops what exceeds a rate drops retransmissions as well, so each loss leads to further ones.
/// Transport-wide feedback shows that. Receiver reports hardly do, because some receivers count what was
/// repaired as received.
#[derive(Debug, Default)]
pub(super) struct RepairBudget {
    /// Bytes of the stream that were sent so far.
    counted: u64,
    left: u64,
}

impl RepairBudget {
    /// Saves up: `sent` bytes of the stream were sent so far. That has `bitrate` bits per second.
    pub(super) fn update(&mut self, sent: u64, bitrate: u64) {
        let before = std::mem::replace(&mut self.counted, sent);
        let earned = sent.saturating_sub(before).saturating_mul(PART) / 100;
        let most = bitrate.saturating_mul(SAVED_MILLIS) / 8000;
        self.left = (self.left.saturating_add(earned)).min(most.max(LEAST_SAVED));
    }

    /// Returns whether bytes are left.
    pub(super) fn has_some(&self) -> bool {
        self.left > 0
    }

    /// Subtracts bytes that were sent again.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_stream_may_be_sent_again_and_a_second_of_it_at_once() {
        let mut budget = RepairBudget::default();
        assert!(!budget.has_some());
        let mut again = 0;
        let mut send_again = |budget: &mut RepairBudget| {
            while budget.has_some() {
                budget.spend(1000);
                again += 1000;
            }
            again
        };
        // Ten seconds of 2.4 Mbit/s without a loss.
        for second in 1..=10 {
            budget.update(300_000 * second, 2_400_000);
        }
        assert_eq!(send_again(&mut budget), 300_000);
        for second in 11..=20 {
            budget.update(300_000 * second, 2_400_000);
            assert_eq!(send_again(&mut budget), 150_000 * (second - 8));
        }
    }

    #[test]
    fn keyframe_of_a_slow_stream_may_be_sent_again_at_once() {
        let mut budget = RepairBudget::default();
        budget.update(1_000_000, 64_000);
        budget.spend(64_000);
        assert!(budget.has_some());
        budget.spend(2000);
        assert!(!budget.has_some());
    }
}
