//! The way up to better renditions.

use std::time::{Duration, Instant};

use super::Rung;
use super::budget::Budget;
use super::proof::Proofs;
use crate::bandwidth::{PathCondition, PathEstimator, ProbeOutcome, ProbeResult};

/// Rate of clusters for a rendition, in percent of that rendition's. Nine tenths of it have to
/// arrive: more than is taken for too slow, so that a viewer that has moved up stays.
const MARGIN: u64 = 130;

/// The same for a viewer that does not report the arrival of each packet. It is moved down only by a
/// queue or by loss.
const BLIND_MARGIN: u64 = 120;

/// Most that a cluster tries, in percent of what the path is known to carry: a cluster far beyond the
/// path would hold up the frames behind it.
const MOST_LEAP: u64 = 250;

/// Time without a queue and without loss before the first cluster.
const CLEAR: Duration = Duration::from_secs(1);

/// The same before a viewer moves up for which clusters show nothing.
const CLEAR_BLIND: Duration = Duration::from_secs(5);

/// Clusters in a row without a clear result after which clusters show nothing, if the viewer does
/// not report the arrival of each packet, and the time for which a clear failure before counts.
const DOUBTFUL: u32 = 3;
const DOUBTFUL_TIME: Duration = Duration::from_secs(20);

/// Interval of clusters while the path carries them, and the shortest and the longest after one
/// that it did not carry.
const CARRIED_INTERVAL: Duration = Duration::from_millis(400);
const FAILED_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// Additional time before a cluster of which only the queue is seen, in turn from none to a few times
/// this: if all followed keyframes, they would show the queues of these.
const DITHER: Duration = Duration::from_millis(70);
const DITHERS: u32 = 5;

/// Time from the first to the last of the clusters that prove a rate: shapers let a burst pass, and
/// a path that swings every few seconds would have the viewer down again at once. The second value
/// is for a rendition while clusters still try a better one, and the third the same for the rarer
/// clusters of a viewer that does not report the arrival of each packet.
const PROOF: Duration = Duration::from_secs(5);
const LONG_PROOF: Duration = Duration::from_secs(7);
const LONG_BLIND_PROOF: Duration = Duration::from_secs(12);

/// Further time for which a viewer waits for the proof of a better rendition.
const PATIENCE: Duration = Duration::from_secs(3);

/// Time for which clusters may go on before the proof begins: they try one rendition after the
/// other.
const SEARCH: Duration = Duration::from_secs(1);

/// Time in which the result of a cluster comes.
const RESULT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for which no cluster is sent at a rate that the path did not carry, if it carries a lower
/// one.
const FAILED_VALID: Duration = Duration::from_secs(8);

/// A step up, by place among the renditions above the present one.
pub(super) enum Up {
    /// Move to the rendition at this place.
    Move(usize),
    /// Send a cluster at this rate, in bits per second.
    Probe(u64),
}

/// Finds out by clusters which better renditions the path carries.
///
/// Clusters begin with the next rendition and go on with the one above it, so that one switch reaches
/// the best one.
#[derive(Debug)]
pub(super) struct Climb {
    budget: Budget,
    proofs: Proofs,
    /// Time since which the path has shown neither queue nor loss.
    clear_since: Option<Instant>,
    /// Clusters so far, modulo 2^32.
    clusters: u32,
    next_probe: Instant,
    probe_interval: Duration,
    /// Clusters in a row whose result was not clear.
    doubtful: u32,
}

impl Climb {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            budget: Budget::new(now),
            proofs: Proofs::default(),
            clear_since: None,
            clusters: 0,
            next_probe: now,
            probe_interval: FAILED_INTERVAL.0,
            doubtful: 0,
        }
    }

    /// Records that the viewer has moved to another rendition. What clusters have shown of still better
    /// ones counts on if it has moved up.
    pub(super) fn note_moved(&mut self, is_up: bool) {
        self.clear_since = None;
        self.doubtful = 0;
        if !is_up {
            self.proofs.clear();
        }
    }

    /// Records the state of the path.
    pub(super) fn note_path(&mut self, now: Instant, path: &PathCondition) {
        if path.carried.is_some() {
            self.proofs.clear();
        }
        if path.is_clear && path.carried.is_none() {
            self.clear_since.get_or_insert(now);
        } else {
            self.clear_since = None;
        }
    }

    /// Saves up for clusters: `rate` bits per second are sent.
    pub(super) fn save(&mut self, now: Instant, rate: u64) {
        self.budget.update(now, rate);
    }

    /// Handles the result of the last cluster.
    pub(super) fn handle_probe(&mut self, now: Instant, probe: ProbeResult, is_blind: bool) {
        self.doubtful = match probe.outcome {
            ProbeOutcome::Carried(_) | ProbeOutcome::Exceeded(_) => 0,
            ProbeOutcome::Unclear => self.doubtful + 1,
        };
        match probe.outcome {
            ProbeOutcome::Carried(arrived) => {
                self.proofs.note(now, probe.rate, arrived);
                self.probe_interval = FAILED_INTERVAL.0;
                self.next_probe = now + CARRIED_INTERVAL;
            }
            ProbeOutcome::Exceeded(arrived) => {
                self.proofs.note(now, probe.rate, arrived);
                // A lower rate that it carries goes on to be proven.
                let is_single =
                    !is_blind && !self.proofs.has_failed(now, probe.rate, FAILED_VALID, false);
                self.next_probe = if is_single || self.proofs.has_begun(now) {
                    now + CARRIED_INTERVAL
                } else {
                    now + self.probe_interval
                };
                self.probe_interval = (2 * self.probe_interval).min(FAILED_INTERVAL.1);
            }
            ProbeOutcome::Unclear => self.next_probe = now + CARRIED_INTERVAL,
        }
        if is_blind {
            self.next_probe += DITHER * (self.clusters % DITHERS);
        }
    }

    /// Returns the next step up to one of the renditions `above` the present one, which has `present` bits
    /// per second. The viewer `stays` where it is for that time, but clusters may prepare its move.
    pub(super) fn poll<I>(
        &mut self,
        now: Instant,
        path: &PathCondition,
        above: &[Rung<I>],
        present: u64,
        stays: Duration,
    ) -> Option<Up> {
        let clear_for = now.saturating_duration_since(self.clear_since?);
        // Once a proof has begun, it must not miss the times in which the path is slower.
        if clear_for < CLEAR && !self.proofs.has_begun(now) {
            return None;
        }
        let margin = if path.is_blind { BLIND_MARGIN } else { MARGIN };
        let needs = Needs { above, margin };
        let next = needs.of(above.len().checked_sub(1)?);
        let shows_nothing = path.is_blind
            && self.doubtful >= DOUBTFUL
            && !self.proofs.has_failed(now, next, DOUBTFUL_TIME, true);
        if !path.can_probe || shows_nothing {
            // Receivers raise their estimate to about one and a half times of what they get.
            let allows = |remb| remb >= present * BLIND_MARGIN / 100;
            let is_due = clear_for >= CLEAR_BLIND && stays.is_zero();
            if is_due && path.remb.is_none_or(allows) {
                return Some(Up::Move(above.len() - 1));
            }
        }
        if !path.can_probe {
            return None;
        }
        let aim = self.aim(now, &needs, path.is_blind);
        let proven = self.proven(now, &needs, aim, path.is_blind);
        if let Some(to) = proven.filter(|_| stays.is_zero()) {
            return Some(Up::Move(to));
        }
        let known = self.proofs.carried(now).unwrap_or(0).max(present);
        let rate = needs.of(aim).min(known * MOST_LEAP / 100);
        let bytes = PathEstimator::probe_bytes(rate, present, path.is_blind);
        let begins = stays <= long_proof(path.is_blind) + SEARCH;
        if now < self.next_probe || !begins || !self.budget.spend(bytes) {
            return None;
        }
        // Until the result comes.
        self.next_probe = now + RESULT_TIMEOUT;
        self.clusters = self.clusters.wrapping_add(1);
        Some(Up::Probe(rate))
    }

    /// Returns the place of the rendition that clusters try, by the rates that the renditions need: one
    /// above the best that the path carries. One switch is better than two, so first the clusters find
    /// out how far it goes.
    fn aim<I>(&self, now: Instant, needs: &Needs<'_, I>, is_blind: bool) -> usize {
        let is_carried = |place: &usize| self.proofs.is_carried(now, needs.of(*place));
        let has_failed = |rate| self.proofs.has_failed(now, rate, FAILED_VALID, is_blind);
        match (0..needs.above.len()).find(is_carried) {
            None => needs.above.len() - 1,
            Some(0) => 0,
            Some(place) if has_failed(needs.of(place - 1)) => place,
            Some(place) => place - 1,
        }
    }

    /// Returns the place of the best rendition that is proven, while clusters try the one at `aim`.
    fn proven<I>(
        &self,
        now: Instant,
        needs: &Needs<'_, I>,
        aim: usize,
        is_blind: bool,
    ) -> Option<usize> {
        let proven_for = |place: usize| self.proofs.proven_for(now, needs.of(place), is_blind);
        let is_proven = |place: &usize| {
            let span = match *place {
                place if place == aim => PROOF,
                // Soon the better one is proven, and one switch is better than two.
                _ if self.proofs.is_carried(now, needs.of(aim)) => long_proof(is_blind) + PATIENCE,
                _ => long_proof(is_blind),
            };
            proven_for(*place) >= span
        };
        let to = (aim..needs.above.len()).find(is_proven)?;
        // A better one may have its proof by now, a little after the lesser one.
        (aim..=to).find(|place| *place == to || proven_for(*place) >= PROOF)
    }
}

/// The rates that the path must carry for the renditions above the present one.
struct Needs<'a, I> {
    above: &'a [Rung<I>],
    /// Percent of the rate of a rendition.
    margin: u64,
}

impl<I> Needs<'_, I> {
    /// Returns the rate for the rendition at this place, in bits per second.
    fn of(&self, place: usize) -> u64 {
        self.above[place].rate * self.margin / 100
    }
}

/// Returns the time of a proof for a rendition while clusters still try a better one.
fn long_proof(is_blind: bool) -> Duration {
    if is_blind {
        LONG_BLIND_PROOF
    } else {
        LONG_PROOF
    }
}
