//! Results of clusters.

use std::time::{Duration, Instant};

/// Clusters that a proof has at least, if the viewer reports the arrival of each packet, and if it
/// does not: those clusters are longer.
const CLUSTERS: usize = 4;
const BLIND_CLUSTERS: usize = 2;

/// Clusters older than this do not count.
const VALID: Duration = Duration::from_secs(30);

/// A proof counts for this long after its last cluster: it says nothing about the time since then. The
/// clusters of a proof that are large beside the stream are up to seven seconds apart.
const FRESH: Duration = Duration::from_secs(10);

/// Part of a rate, in percent, that must arrive of clusters at that rate.
const CARRIED: u64 = 90;

/// Most that counts of one cluster, in percent of the rate to prove: jitter lets some clusters
/// arrive faster than they were sent.
const MOST: u64 = 150;

/// Part of the rate of a cluster, in percent, below which its failure counts for higher rates, too.
/// A larger part may be chance.
const CLEARLY_FAILED: u64 = 75;

/// Number of the newest clusters that show whether a path carries a rate now.
const NEWEST: usize = 4;

/// Clusters in a row that show whether a path carries a rate. Jitter lets single ones fail, or pass.
const IN_A_ROW: usize = 3;

/// Part of the least rate, in percent, below which their average shows by itself that the path is
/// slower: a proof begins anew. If it is more, it may be chance, and counts in the average of the
/// proof.
const CLEARLY_SLOWER: u64 = 92;

/// The results of the last clusters.
///
/// One result says little on a path with jitter: the time in which the packets of 20 ms arrive
/// differs by some milliseconds. So the average of several counts.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    trials: Vec<Trial>,
    /// When the last cluster was noted, if nothing of it arrived.
    lost_at: Option<Instant>,
}

/// The result of one cluster.
#[derive(Clone, Copy, Debug)]
struct Trial {
    at: Instant,
    /// The rate of the cluster, and the rate at which it arrived, in bits per second.
    rate: u64,
    arrived: u64,
}

impl Trial {
    fn is_carried(&self) -> bool {
        self.arrived >= self.rate * CARRIED / 100
    }

    /// Returns whether this shows if the path carries `least` bits per second. `carried` is the rate
    /// of the fastest cluster that the path has carried since: a failure of a rate that it carries
    /// by now no longer counts for higher ones.
    fn shows(&self, least: u64, carried: u64) -> bool {
        let is_clear = self.arrived < self.rate * CLEARLY_FAILED / 100;
        self.rate >= least || is_clear && self.rate > carried
    }
}

impl Proofs {
    /// Records that a cluster at `rate` bits per second arrived at the rate `arrived`. A burst of
    /// losses may take a whole one, so only the second one in a row counts that is lost.
    pub(super) fn note(&mut self, now: Instant, rate: u64, arrived: u64) {
        let is_valid = |at: Instant| now.saturating_duration_since(at) < VALID;
        let is_lost = arrived == 0;
        let was_lost = self.lost_at.is_some_and(is_valid);
        self.lost_at = is_lost.then_some(now);
        if is_lost && !was_lost {
            return;
        }
        self.trials.retain(|trial| is_valid(trial.at));
        let at = now;
        self.trials.push(Trial { at, rate, arrived });
    }

    /// Returns for how long clusters have proven that the path carries `rate` bits per second: the
    /// time from the first to the last of them, which was not long ago. The path carries the rate on
    /// average of this time, and by the newest clusters. `is_blind`: see
    /// [`PathCondition::is_blind`](crate::bandwidth::PathCondition::is_blind).
    pub(super) fn proven_for(&self, now: Instant, rate: u64, is_blind: bool) -> Duration {
        let least = rate * CARRIED / 100;
        let clusters = if is_blind { BLIND_CLUSTERS } else { CLUSTERS };
        let mut trials = self.newest(now, least);
        let is_fresh = |last: &&Trial| now.saturating_duration_since(last.at) < FRESH;
        let last = trials.next().filter(is_fresh);
        let Some(last) = last.filter(|_| self.is_carried(now, rate)) else {
            return Duration::ZERO;
        };
        let mut later = last.at;
        let mut failures = Failures::default();
        failures.add(last, least);
        let mut average = Average::default();
        let mut proven = Duration::ZERO;
        for (count, trial) in (2..).zip(trials) {
            // It tells of the time until the next one.
            let span = later.saturating_duration_since(trial.at);
            average.add(trial.arrived.min(rate * MOST / 100), span);
            later = trial.at;
            failures.add(trial, least);
            if failures.are_clear(least) {
                break;
            }
            if trial.arrived >= least && count >= clusters && average.is_at_least(least) {
                proven = last.at.saturating_duration_since(trial.at);
            }
        }
        proven
    }

    /// Returns whether the newest cluster, or the newest ones on average, show that the path carries
    /// `rate` bits per second.
    pub(super) fn is_carried(&self, now: Instant, rate: u64) -> bool {
        let least = rate * CARRIED / 100;
        let mut average = Average::default();
        let mut newest = self.newest(now, least).take(NEWEST).peekable();
        let Some(last) = newest.peek() else {
            return false;
        };
        if last.arrived >= least {
            return true;
        }
        for trial in newest {
            average.add(trial.arrived.min(rate * MOST / 100), Duration::from_secs(1));
        }
        average.is_at_least(least)
    }

    /// Returns whether the newest clusters, of the last `span`, show that the path does not carry
    /// `rate` bits per second: some in a row have failed, clearly or by the average of all, and the
    /// path has not carried more than they showed since.
    pub(super) fn has_failed(
        &self,
        now: Instant,
        rate: u64,
        span: Duration,
        is_blind: bool,
    ) -> bool {
        let least = rate * CARRIED / 100;
        let is_recent = |trial: &&Trial| now.saturating_duration_since(trial.at) < span;
        let newest = || self.newest(now, least).take_while(is_recent);
        if is_blind {
            return newest().next().is_some_and(|trial| trial.arrived < least);
        }
        let mut failures = Failures::default();
        newest()
            .take(IN_A_ROW)
            .for_each(|trial| failures.add(trial, least));
        let mut average = Average::default();
        newest().for_each(|trial| average.add(trial.arrived, Duration::from_secs(1)));
        let carried = self.carried_in_a_row(now);
        let has_recovered = carried.is_some_and(|carried| !failures.average.is_at_least(carried));
        !has_recovered
            && failures.count >= IN_A_ROW
            && (failures.are_clear(least) || !average.is_at_least(least))
    }

    /// Returns the bits per second that the path carries at least by the newest clusters, whatever
    /// their rates, if it has carried so many in a row that this is no chance.
    fn carried_in_a_row(&self, now: Instant) -> Option<u64> {
        let newest = || self.newest(now, 0).take(IN_A_ROW);
        let count = newest().filter(|trial| trial.is_carried()).count();
        let least = newest().map(|trial| trial.rate * CARRIED / 100).min();
        least.filter(|_| count == IN_A_ROW)
    }

    /// Returns the rate of the fastest cluster that the path carried.
    pub(super) fn carried(&self, now: Instant) -> Option<u64> {
        let carried = self.newest(now, 0).filter(|trial| trial.is_carried());
        carried.map(|trial| trial.rate).max()
    }

    /// Returns whether a proof has begun: the path has carried a cluster.
    pub(super) fn has_begun(&self, now: Instant) -> bool {
        self.newest(now, 0).any(Trial::is_carried)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the trials that show whether the path carries `least` bits per second, the newest
    /// first.
    fn newest(&self, now: Instant, least: u64) -> impl Iterator<Item = &Trial> {
        let trials = self.trials.iter().rev();
        let valid = trials.take_while(move |trial| now.saturating_duration_since(trial.at) < VALID);
        let mut carried = 0;
        valid.filter(move |trial| {
            let shows = trial.shows(least, carried);
            if trial.is_carried() {
                carried = carried.max(trial.rate);
            }
            shows
        })
    }
}

/// The last clusters in a row that a path has not carried.
#[derive(Debug, Default)]
struct Failures {
    count: usize,
    average: Average,
}

impl Failures {
    fn add(&mut self, trial: &Trial, least: u64) {
        if trial.arrived >= least {
            *self = Self::default();
        } else {
            self.count += 1;
            self.average.add(trial.arrived, Duration::from_secs(1));
        }
    }

    /// Returns whether they show by themselves that the path carries less than `least`.
    fn are_clear(&self, least: u64) -> bool {
        self.count >= IN_A_ROW && !self.average.is_at_least(least * CLEARLY_SLOWER / 100)
    }
}

/// The average rate of clusters. The time that each bit takes is averaged, and not the rate: the
/// jitter of some milliseconds makes much of a difference to a high rate.
#[derive(Debug, Default)]
struct Average {
    span: f64,
    /// Seconds that a bit takes, times the seconds for which it did.
    weighted: f64,
}

impl Average {
    /// Adds bits that arrived at `rate` per second for some time.
    fn add(&mut self, rate: u64, span: Duration) {
        self.span += span.as_secs_f64();
        self.weighted += span.as_secs_f64() / rate.max(1) as f64;
    }

    fn is_at_least(&self, rate: u64) -> bool {
        self.span >= self.weighted * rate as f64
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
            proofs.note(at(millis), 5_000_000, 5_000_000);
        }
        let now = at(2000);
        assert_eq!(proofs.proven_for(now, 5_000_000, false), Duration::ZERO);
        assert_eq!(proofs.proven_for(now, 5_000_000, true), millis(2000));
        proofs.note(at(5000), 4_000_000, 4_000_000);
        let now = at(5000);
        assert_eq!(proofs.proven_for(now, 4_000_000, false), millis(5000));
        assert_eq!(proofs.proven_for(now, 5_000_000, false), Duration::ZERO);
        assert_eq!(
            proofs.proven_for(at(40_000), 1_000_000, true),
            Duration::ZERO
        );
    }

    #[test]
    fn clusters_that_are_rare_for_their_size_are_a_proof() {
        let start = Instant::now();
        let at = |count: u64| start + Duration::from_secs(7 * count);
        let mut proofs = Proofs::default();
        for count in 0..4 {
            proofs.note(at(count), 8_000_000, 8_000_000);
        }
        let span = proofs.proven_for(at(3), 8_000_000, false);
        assert_eq!(span, Duration::from_secs(21));
    }

    #[test]
    fn one_unlucky_cluster_does_not_end_a_proof_but_a_slower_path_does() {
        let start = Instant::now();
        let at = |count: u64| start + Duration::from_millis(400 * count);
        let rate = 3_000_000;
        let mut proofs = Proofs::default();
        for count in 0..12 {
            let is_unlucky = count == 6;
            proofs.note(at(count), rate, if is_unlucky { 2_000_000 } else { rate });
            assert!(!proofs.has_failed(at(count), rate, Duration::from_secs(8), false));
        }
        let span = proofs.proven_for(at(11), rate, false);
        assert_eq!(span, Duration::from_millis(4400));
        for count in 12..24 {
            proofs.note(at(count), rate, 2_000_000);
        }
        assert!(proofs.has_failed(at(23), rate, Duration::from_secs(8), false));
        assert!(!proofs.is_carried(at(23), rate));
        // A path that carries it half of the time.
        proofs.note(at(24), rate, rate);
        assert!(proofs.proven_for(at(24), rate, false) < Duration::from_secs(5));
    }

    #[test]
    fn path_that_has_recovered_is_not_held_to_earlier_failures() {
        let start = Instant::now();
        let at = |count: u64| start + Duration::from_millis(400 * count);
        let (low, high) = (3_000_000, 6_000_000);
        let span = Duration::from_secs(8);
        let mut proofs = Proofs::default();
        for count in 0..3 {
            proofs.note(at(count), high, 2_000_000);
        }
        for count in 3..6 {
            assert!(proofs.has_failed(at(count), high, span, false));
            proofs.note(at(count), low, low);
        }
        assert!(!proofs.has_failed(at(6), high, span, false));

        // Failures of a lower rate count for the higher one until that lower rate is carried.
        let mut proofs = Proofs::default();
        for count in 0..3 {
            proofs.note(at(count), low, 2_000_000);
        }
        assert!(proofs.has_failed(at(3), high, span, false));
        proofs.note(at(3), low, low);
        assert!(!proofs.has_failed(at(4), high, span, false));
    }

    #[test]
    fn failures_by_a_little_are_chance_if_the_average_is_enough() {
        let start = Instant::now();
        let at = |count: u64| start + Duration::from_millis(400 * count);
        let rate = 3_000_000;
        let mut proofs = Proofs::default();
        for count in 0..12 {
            let is_unlucky = (6..9).contains(&count);
            proofs.note(at(count), rate, if is_unlucky { 2_600_000 } else { rate });
            assert!(!proofs.has_failed(at(count), rate, Duration::from_secs(8), false));
        }
        let span = proofs.proven_for(at(11), rate, false);
        assert_eq!(span, Duration::from_millis(4400));
    }

    #[test]
    fn cluster_that_a_burst_of_losses_takes_does_not_count_but_two_do() {
        let start = Instant::now();
        let at = |count: u64| start + Duration::from_millis(400 * count);
        let rate = 3_000_000;
        let mut proofs = Proofs::default();
        for count in 0..12 {
            proofs.note(at(count), rate, if count == 6 { 0 } else { rate });
        }
        let proven = |proofs: &Proofs, count| proofs.proven_for(at(count), rate, false);
        assert_eq!(proven(&proofs, 11), Duration::from_millis(4400));
        for count in 12..14 {
            proofs.note(at(count), rate, 0);
        }
        assert_eq!(proven(&proofs, 13), Duration::ZERO);
    }

    #[test]
    fn lost_clusters_are_not_in_a_row_if_one_is_forgotten() {
        let start = Instant::now();
        let rate = 3_000_000;
        let has_failed = |proofs: &Proofs, now| proofs.has_failed(now, rate, VALID, true);
        let mut proofs = Proofs::default();
        proofs.note(start, rate, 0);
        let later = start + VALID;
        proofs.note(later, rate, 0);
        assert!(!has_failed(&proofs, later), "the first one was long ago");
        proofs.clear();
        let now = later + Duration::from_secs(1);
        proofs.note(now, rate, 0);
        assert!(!has_failed(&proofs, now), "it is the first one again");
        proofs.note(now, rate, 0);
        assert!(has_failed(&proofs, now));
    }

    #[test]
    fn proof_expires_soon_after_its_last_cluster() {
        let start = Instant::now();
        let rate = 3_000_000;
        let mut proofs = Proofs::default();
        for second in 0..=6 {
            proofs.note(start + Duration::from_secs(second), rate, rate);
        }
        let last = start + Duration::from_secs(6);
        let proven = |now| proofs.proven_for(now, rate, false);
        let moment = Duration::from_millis(1);
        assert_eq!(proven(last + FRESH - moment), Duration::from_secs(6));
        assert_eq!(proven(last + FRESH), Duration::ZERO);
    }
}
