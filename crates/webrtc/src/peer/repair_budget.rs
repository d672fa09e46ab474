//! Bounds the retransmissions to a viewer by what it is sent of the stream.

/// Part of the bytes of the stream that may be sent again, in percent. It repairs the loss of a third of
/// all packets by chance, that of a third of the repairs, and so on. From about there on, a path counts as
/// slower than the stream.
const PERCENT: u64 = 50;

/// Upper limit of the savings: one second of the stream, or [`LEAST_SAVED`] if that is more. A burst of
/// losses is repaired at once, and a whole keyframe.
const SAVED_MILLIS: u64 = 1000;
const LEAST_SAVED: i64 = 64 * 1024;

/// Bytes that may be sent again.
///
/// A link that drops what exceeds a rate drops retransmissions as well, so each loss leads to further ones.
/// Transport-wide feedback shows that. Receiver reports hardly do, because some receivers count what was
/// repaired as received.
#[derive(Debug)]
pub(super) struct RepairBudget {
    /// Bytes of the stream that were sent so far.
    counted: u64,
    /// Negative after a packet that was longer than what was left.
    left: i64,
}

impl RepairBudget {
    /// Returns a budget that has savings for the first keyframe, of up to 128 KB. Viewers that send transport-wide feedback need it as well:
    /// until their first report nothing tells them from others.
    pub(super) fn new() -> Self {
        Self {
            counted: 0,
            left: LEAST_SAVED,
        }
    }

    /// Saves up: `sent` bytes of the stream were sent so far, replays of the GOP included. `bitrate` is
    /// that of the stream, in bits per second.
    pub(super) fn update(&mut self, sent: u64, bitrate: u64) {
        let before = std::mem::replace(&mut self.counted, sent);
        let earned = sent.saturating_sub(before).saturating_mul(PERCENT) / 100;
        let most = bitrate.saturating_mul(SAVED_MILLIS) / 8000;
        self.left = (self.left.saturating_add_unsigned(earned))
            .min(LEAST_SAVED.max(i64::try_from(most).unwrap_or(i64::MAX)));
    }

    /// Returns whether bytes are left.
    pub(super) fn has_some(&self) -> bool {
        self.left > 0
    }

    /// Subtracts bytes that were sent again.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub_unsigned(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_stream_may_be_sent_again_and_a_second_of_it_at_once() {
        let mut budget = RepairBudget::new();
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
        let mut budget = RepairBudget::new();
        budget.update(1_000_000, 64_000);
        budget.spend(64_000);
        assert!(budget.has_some());
        budget.spend(2000);
        assert!(!budget.has_some());
    }

    #[test]
    fn packet_that_exceeds_what_is_left_is_a_debt() {
        let mut budget = RepairBudget::new();
        budget.spend(LEAST_SAVED as usize);
        let mut packets = 0;
        // Each packet is as long as what is sent meanwhile, so half of it is saved.
        for sent in 1..=100 {
            budget.update(1000 * sent, 2_400_000);
            if budget.has_some() {
                budget.spend(1000);
                packets += 1;
            }
        }
        assert_eq!(packets, 50);
    }

    #[test]
    fn whole_first_keyframe_of_a_newcomer_may_be_sent_again() {
        let mut budget = RepairBudget::new();
        budget.update(60_000, 2_400_000);
        for packet in 0..60 {
            assert!(budget.has_some(), "{packet}");
            budget.spend(1000);
        }
    }
}
