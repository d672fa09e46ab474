//! Results of clusters, by rendition.

use std::time::{Duration, Instant};

/// Clusters that a path must have carried before a viewer moves up, and the time between the first
/// and the last of them: shapers let a burst pass.
const CLUSTERS: u32 = 3;
const SPAN: Duration = Duration::from_millis(1500);

/// Clusters older than this do not count.
const VALID: Duration = Duration::from_secs(8);

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
        self.carried.retain(|(_, carried)| *carried <= rate);
    }

    /// Returns whether clusters have proven, over some time, that the path carries `rate` bits per
    /// second.
    pub(super) fn is_proven(&self, now: Instant, rate: u64) -> bool {
        let enough = self
            .carried
            .iter()
            .filter(|(at, carried)| *carried >= rate && now.saturating_duration_since(*at) < VALID);
        let mut times = enough.map(|(at, _)| *at);
        let Some(first) = times.next() else {
            return false;
        };
        let (count, last) = times.fold((1, first), |(count, _), at| (count + 1, at));
        count >= CLUSTERS && last.saturating_duration_since(first) >= SPAN
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
        let mut proofs = Proofs::default();
        for millis in [0, 100, 200] {
            proofs.note_carried(at(millis), 5_000_000);
        }
        assert!(!proofs.is_proven(at(200), 3_000_000), "a burst");
        proofs.note_carried(at(1500), 4_000_000);
        assert!(proofs.is_proven(at(1500), 4_000_000));
        assert!(!proofs.is_proven(at(1500), 4_500_000));
        proofs.note_failed(4_200_000);
        assert!(!proofs.is_proven(at(1500), 4_000_000));
        assert!(!proofs.is_proven(at(20_000), 1_000_000), "long ago");
    }
}
