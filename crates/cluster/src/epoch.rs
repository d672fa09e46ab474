//! Epochs: the numbers under which nodes own a stream, one after the other.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::Label;

/// Set in the epoch of a name that the arbiter has not confirmed.
const PROVISIONAL: u64 = 1 << 63;

/// Bits of a provisional epoch that are random. Those above are the second of the claim.
const RANDOM_BITS: u32 = 30;

/// Time without a message of a later owner after which an earlier one may be followed. A node that
/// has lost a name notices within this time.
const GRACE: Duration = Duration::from_secs(1);

/// Returns the epoch of a name that the arbiter has not confirmed, and that was claimed at `now`. No
/// other node may have the same, so a part of it is random.
pub(crate) fn provisional(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let random = rand::random::<u64>() & ((1 << RANDOM_BITS) - 1);
    PROVISIONAL | since.as_secs() << RANDOM_BITS | random
}

/// Returns whether the first of two provisional epochs is that of the earlier claim. All nodes decide
/// alike, also if their clocks differ, and between claims in the same second.
pub(crate) fn is_earlier_claim(epoch: u64, than: u64) -> bool {
    epoch < than
}

/// Returns whether the arbiter has not confirmed an epoch.
pub(crate) fn is_provisional(epoch: u64) -> bool {
    epoch & PROVISIONAL != 0
}

/// The latest owner of a stream that a node has heard from, so that it does not go back to an
/// earlier one that has not noticed yet that it has lost the name.
#[derive(Debug, Default)]
pub(crate) struct LatestOwner(Option<Known>);

#[derive(Debug)]
struct Known {
    node: Label,
    epoch: u64,
    heard: Instant,
}

impl LatestOwner {
    /// Returns whether this owner can be followed.
    pub(crate) fn allows(&self, node: &Label, epoch: u64, now: Instant) -> bool {
        let Some(known) = &self.0 else {
            return true;
        };
        let is_earlier = match (is_provisional(epoch), is_provisional(known.epoch)) {
            (false, false) => epoch < known.epoch,
            // One that the arbiter has confirmed is better. Of two provisional ones, the owner that
            // has to go notices soon.
            (is_provisional, is_known_provisional) => is_provisional && !is_known_provisional,
        };
        // A node knows best in which epoch it owns a stream: the bucket may be a new one.
        let is_current = known.node == *node || now.saturating_duration_since(known.heard) >= GRACE;
        !is_earlier || is_current
    }

    /// Notes that an owner was heard at `now`.
    pub(crate) fn note(&mut self, node: &Label, epoch: u64, now: Instant) {
        let node = node.clone();
        self.0 = Some(Known {
            node,
            epoch,
            heard: now,
        });
    }

    /// Notes that this owner was heard at `now`, if it is the latest one.
    pub(crate) fn renew(&mut self, node: &Label, epoch: u64, now: Instant) {
        if let Some(known) = &mut self.0
            && known.node == *node
            && known.epoch == epoch
        {
            known.heard = now;
        }
    }

    /// Forgets the owner: it has said itself that it does not own the stream any more.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
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
    fn earlier_owner_is_not_followed_before_the_later_one_is_lost() {
        let (a, b): (Label, Label) = ("a".parse().unwrap(), "b".parse().unwrap());
        let start = Instant::now();
        let mut latest = LatestOwner::default();
        assert!(latest.allows(&a, 5, start));
        latest.note(&a, 5, start);
        assert!(latest.allows(&b, 9, start));
        latest.note(&b, 9, start);
        let soon = start + GRACE / 2;
        assert!(!latest.allows(&a, 5, soon), "it has not noticed yet");
        assert!(!latest.allows(&a, provisional(UNIX_EPOCH), soon));
        assert!(latest.allows(&b, 3, soon), "it has claimed the name again");
        assert!(latest.allows(&a, 5, start + GRACE));
        latest.forget();
        assert!(latest.allows(&a, 5, soon));
    }

    #[test]
    fn earlier_claim_has_the_lower_epoch_and_claims_of_one_second_differ() {
        let at = |seconds| provisional(UNIX_EPOCH + Duration::from_secs(seconds));
        for second in [0, 1, 1_800_000_000, (1 << 33) - 2] {
            let (earlier, later) = (at(second), at(second + 1));
            assert!(is_provisional(earlier) && is_provisional(later));
            assert!(is_earlier_claim(earlier, later), "{second}");
            assert!(!is_earlier_claim(later, earlier), "{second}");
        }
        assert_ne!(at(7), at(7));
    }

    #[test]
    fn confirmed_owner_is_followed_after_a_provisional_one() {
        let (a, b): (Label, Label) = ("a".parse().unwrap(), "b".parse().unwrap());
        let start = Instant::now();
        let mut latest = LatestOwner::default();
        latest.note(&a, provisional(UNIX_EPOCH), start);
        assert!(latest.allows(&b, provisional(UNIX_EPOCH), start));
        assert!(latest.allows(&b, 2, start));
    }
}
