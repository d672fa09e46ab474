//! Results of clusters, by rendition.

use std::time::{Duration, Instant};

/// Clusters that a path must have carried before a viewer moves up, if each packet of them was
/// reported, and if they were longer for that.
const CLUSTERS: u32 = 4;
const BLIND_CLUSTERS: u32 = 2;

/// Clusters older than this do not count.
const VALID: Duration = Duration::from_secs(15);

/// Clusters that a path has carried, by rate.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    carried: Vec<(Instant, u64)>,
}

impl Proofs {
    /// Records that the path has carried a cluster at `rate` bits per second.
    pub(super) fn note_carried(&mut self, now: Instant, rate: u64) {
        self.carried
            .retain(|(at, _)| now.saturating_duration_since(*at) < VALID);
        self.carried.push((now, rate));
    }

    /// Records that the path has carried no more than `rate` bits per second.
    pub(super) fn note_failed(&mut self, rate: u64) {
        for (_, carried) in &mut self.carried {
            *carried = rate.min(*carried);
        }
    }

    /// Returns for how long clusters have proven that the path carries `rate` bits per
    /// second. `is_blind`: see [`PathCondition::is_blind`](crate::bandwidth::PathCondition::is_blind).
    pub(super) fn proven_for(&self, now: Instant, rate: u64, is_blind: bool) -> Duration {
        let enough = self
            .carried
            .iter()
            .filter(|(at, carried)| *carried >= rate && now.saturating_duration_since(*at) < VALID);
        let mut times = enough.map(|(at, _)| *at);
        let Some(first) = times.next() else {
            return Duration::ZERO;
        };
        let (count, last) = times.fold((1, first), |(count, _), at| (count + 1, at));
        let least = if is_blind { BLIND_CLUSTERS } else { CLUSTERS };
        if count < least {
            return Duration::ZERO;
        }
        last.saturating_duration_since(first)
    }

    /// Returns the highest rate that the path has carried, in bits per second; 0 if none.
    pub(super) fn most(&self, now: Instant) -> u64 {
        let recent = self.carried.iter();
        let recent = recent.filter(|(at, _)| now.saturating_duration_since(*at) < VALID);
        recent.map(|(_, rate)| *rate).max().unwrap_or(0)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.carried.clear();
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
    fn several_clusters_over_some_time_are_a_proof() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let millis = Duration::from_millis;
        let mut proofs = Proofs::default();
        for millis in [0, 100, 2000] {
            proofs.note_carried(at(millis), 5_000_000);
        }
        let now = at(2000);
        assert_eq!(proofs.proven_for(now, 3_000_000, false), Duration::ZERO);
        assert_eq!(proofs.proven_for(now, 3_000_000, true), millis(2000));
        proofs.note_carried(at(5000), 4_000_000);
        let now = at(5000);
        assert_eq!(proofs.proven_for(now, 4_000_000, false), millis(5000));
        assert_eq!(proofs.proven_for(now, 4_500_000, false), Duration::ZERO);
        proofs.note_failed(3_800_000);
        assert_eq!(proofs.proven_for(now, 4_000_000, true), Duration::ZERO);
        assert_eq!(proofs.proven_for(now, 3_800_000, false), millis(5000));
        assert_eq!(proofs.most(now), 3_800_000);
        assert_eq!(
            proofs.proven_for(at(30_000), 1_000_000, true),
            Duration::ZERO
        );
    }
}
