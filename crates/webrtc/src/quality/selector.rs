//! The automatic choice of a rendition.

use std::fmt;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::proof::Proofs;
use super::{Preference, Rung};
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

/// Loss in 256ths, together with a queue, from which on a path counts as slower than the rendition
/// although its queue is too short for more, and the time for which it is so.
const STRAIN_LOSS: u8 = 8;
const STRAIN_QUEUE: Duration = Duration::from_millis(20);
const STRAIN: Duration = Duration::from_millis(500);

/// Time after a switch in which the path settles: the queue that led to it drains.
const SETTLING: Duration = Duration::from_millis(1500);

/// Time in which a newcomer catches up, so that a queue may be its own, and the part of a
/// rendition's rate that the path must carry then, in percent.
const START: Duration = Duration::from_secs(2);
const START_MARGIN: u64 = 80;

/// Interval at which the queue is compared with what it was, and by how much it is shorter then if
/// it drains.
const DRAIN_INTERVAL: Duration = Duration::from_millis(250);
const DRAIN: Duration = Duration::from_millis(20);

/// Growth of the queue after a switch down that shows that the switch was not enough.
const GROWTH: Duration = Duration::from_millis(80);

/// Loss in 256ths that shows the same to a viewer whose reports cover a second, and the part of the
/// settling time that may be left then: the report covers the present rendition.
const BLIND_LOSS: u8 = 25;
const BLIND_LEFT: Duration = Duration::from_millis(800);

/// Time after a move down was decided in which no further one is, unless the queue grows.
const MOVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time after which a rendition is prepared again for a path that seems to slow down.
const PREPARE_INTERVAL: Duration = Duration::from_secs(2);

/// Part of the arriving rate that the path is taken to carry, in percent: the rest carries
/// retransmissions and headers.
const USABLE: u64 = 90;

/// Time after a disturbance in which nothing is taken for a property of the path: what was late has
/// arrived by then.
const DISTURBED: Duration = Duration::from_millis(1500);

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

/// Time for which a viewer stays down: the first value after a move down, twice the previous one,
/// up to the second, if the move up before it has failed. People notice every switch, so there is
/// at most one in ten seconds unless the path goes on to slow down.
const STAY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(80));

/// A move up has failed if the path is too slow again within this time.
const TRIAL: Duration = Duration::from_secs(10);

/// The reason for a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The path is slower than the rendition.
    Congestion,
    /// The path carries a better one.
    Bandwidth,
    /// The viewer asks for it, or its player shows it at another size.
    Viewer,
    /// The rendition does not exist any longer.
    Gone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Congestion => "congestion",
            Self::Bandwidth => "bandwidth",
            Self::Viewer => "viewer",
            Self::Gone => "gone",
        })
    }
}

/// The next step of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Move to the rendition at this place.
    Move {
        /// Its place among the renditions.
        to: usize,
        /// Why.
        reason: Reason,
    },
    /// Have the rendition at this place made, if that takes time: the viewer may need it soon.
    Prepare {
        /// Its place among the renditions.
        to: usize,
    },
    /// Send a cluster at this rate, in bits per second.
    Probe {
        /// The rate.
        rate: u64,
    },
}

/// Chooses the rendition for one viewer.
///
/// Down: at once when the estimator finds the path slower than what is sent. Up: when clusters have
/// proven, over some time, that the path carries the rendition with a margin. Clusters begin with
/// the next rendition and go on with the one above it, so that one switch reaches the best one. A
/// viewer that had to go down stays there for some seconds, and for longer each time that a move up
/// fails.
///
/// A viewer for which clusters show nothing moves up one step after some seconds without queue and
/// loss.
#[derive(Debug)]
pub struct Selector {
    began: Instant,
    budget: Budget,
    proofs: Proofs,
    /// Time since which the path has shown neither queue nor loss.
    clear_since: Option<Instant>,
    /// Time since which a short queue has overflowed.
    strained_since: Option<Instant>,
    /// The last comparison of queues: its time, the queue, and true if it had become shorter.
    compared: (Instant, Duration, bool),
    /// End of the settling time, and the queue at its begin.
    settling: Option<(Instant, Duration)>,
    /// True if a move down was decided and has not happened yet.
    is_moving: bool,
    /// When a rendition was last prepared.
    prepared: Option<Instant>,
    /// Nothing is taken for a property of the path until then.
    disturbed_until: Instant,
    /// Clusters so far, modulo 2^32.
    clusters: u32,
    next_probe: Instant,
    probe_interval: Duration,
    /// Clusters in a row whose result was not clear.
    doubtful: u32,
    /// When the viewer last moved up.
    moved_up: Option<Instant>,
    /// The viewer stays down until then, and for how long it did so last.
    stays_until: Instant,
    stay: Duration,
}

impl Selector {
    /// Creates a selector for a viewer that starts now.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            budget: Budget::new(now),
            proofs: Proofs::default(),
            clear_since: None,
            strained_since: None,
            compared: (now, Duration::ZERO, false),
            settling: None,
            is_moving: false,
            prepared: None,
            disturbed_until: now,
            clusters: 0,
            next_probe: now,
            probe_interval: FAILED_INTERVAL.0,
            doubtful: 0,
            moved_up: None,
            stays_until: now,
            stay: STAY.0,
        }
    }

    /// Records that the viewer has moved to another rendition.
    pub fn note_moved(&mut self, now: Instant, path: &PathCondition) {
        self.settling = Some((now + SETTLING, path.queue));
        self.is_moving = false;
        self.clear_since = None;
        self.doubtful = 0;
        self.strained_since = None;
        if self.moved_up.is_some_and(|at| at > now) {
            self.moved_up = Some(now);
            // What clusters have shown of still better renditions counts on.
        } else {
            self.proofs.clear();
        }
    }

    /// Records that something has held up the packets of all viewers: their delay is no property of
    /// the path.
    pub fn note_disturbance(&mut self, now: Instant) {
        self.disturbed_until = now + DISTURBED;
    }

    /// Returns the next step. `rungs` are the renditions that the viewer can get, from the best to
    /// the least, and `present` is the place of the one that it gets or is about to get. `probe` is
    /// the result of the last cluster.
    pub fn poll<I: PartialEq>(
        &mut self,
        now: Instant,
        path: &PathCondition,
        probe: Option<ProbeResult>,
        rungs: &[Rung<I>],
        present: Option<usize>,
        preference: &Preference<I>,
    ) -> Option<Step> {
        if rungs.is_empty() {
            return None;
        }
        let best = preference.best(rungs);
        let Some((present, rung)) = present.and_then(|place| Some((place, rungs.get(place)?)))
        else {
            self.is_moving = false;
            let to = preference.fixed(rungs).unwrap_or(best);
            let reason = Reason::Gone;
            return Some(Step::Move { to, reason });
        };
        let by_viewer = |to| {
            let reason = Reason::Viewer;
            (to != present).then_some(Step::Move { to, reason })
        };
        let wanted = preference
            .fixed(rungs)
            .or_else(|| (present < best).then_some(best));
        if let Some(wanted) = wanted {
            self.is_moving &= wanted == present;
            return by_viewer(wanted);
        }
        self.budget.update(now, rung.rate);
        if let Some(probe) = probe {
            self.handle_probe(now, probe, path.is_blind);
        }
        self.note_path(now, path);
        if now < self.disturbed_until {
            self.strained_since = None;
            return None;
        }
        let is_strained = |since| now.saturating_duration_since(since) >= STRAIN;
        if let Some(carried) = path.carried {
            return self.step_down(now, path, rungs, present, carried);
        } else if self.strained_since.is_some_and(is_strained) {
            let arriving = path.arriving.unwrap_or(rung.rate);
            // Whatever arrives, it is too little for the rendition that is sent. `rung` is another one
            // once a move has begun.
            let carried = match self.is_moving {
                true => arriving,
                false => arriving.min(rung.rate - 1),
            };
            return self.step_down(now, path, rungs, present, carried);
        }
        if let Some(slowing) = path.slowing
            && let Some(to) = lesser(rungs, present, slowing * USABLE / 100)
            && self
                .prepared
                .is_none_or(|at| now.saturating_duration_since(at) >= PREPARE_INTERVAL)
        {
            self.prepared = Some(now);
            return Some(Step::Prepare { to });
        }
        let above = rungs.get(best..present).unwrap_or_default();
        if above.is_empty() {
            return None;
        }
        let to = self.step_up(now, path, above, rung.rate)?;
        Some(match to {
            Up::Move(to) => Step::Move {
                to: best + to,
                reason: Reason::Bandwidth,
            },
            Up::Probe(rate) => Step::Probe { rate },
        })
    }

    fn note_path(&mut self, now: Instant, path: &PathCondition) {
        let (at, queue, _) = self.compared;
        if now.saturating_duration_since(at) >= DRAIN_INTERVAL {
            self.compared = (now, path.queue, path.queue + DRAIN < queue);
        }
        if path.loss >= STRAIN_LOSS && path.queue >= STRAIN_QUEUE {
            self.strained_since.get_or_insert(now);
        } else {
            self.strained_since = None;
        }
        if !path.is_clear || path.carried.is_some() {
            self.clear_since = None;
            if path.carried.is_some() {
                self.proofs.clear();
            }
        } else {
            self.clear_since.get_or_insert(now);
        }
    }

    fn handle_probe(&mut self, now: Instant, probe: ProbeResult, is_blind: bool) {
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

    /// Returns the step to the best rendition that a path carries which is slower than the present
    /// one.
    fn step_down<I>(
        &mut self,
        now: Instant,
        path: &PathCondition,
        rungs: &[Rung<I>],
        present: usize,
        carried: u64,
    ) -> Option<Step> {
        // A move that has not happened yet follows what becomes known meanwhile.
        let is_settling = self.settling.is_some_and(|(until, queue)| {
            now < until && path.queue < queue.saturating_add(GROWTH) && !self.is_moving
        });
        let (.., is_draining) = self.compared;
        let left = self
            .settling
            .map(|(until, _)| until.saturating_duration_since(now));
        let is_known = left.is_none_or(|left| left <= BLIND_LEFT);
        let is_losing = path.is_blind && path.loss > BLIND_LOSS && is_known;
        let is_enough = !is_losing && (is_settling || is_draining && !self.is_moving);
        let is_newcomer = now.saturating_duration_since(self.began) < START;
        let needs = match rungs[present].rate {
            rate if is_newcomer => rate * START_MARGIN / 100,
            rate => rate,
        };
        if is_enough || needs <= carried {
            return None;
        }
        let to = lesser(rungs, present, carried)?;
        if !self.is_moving {
            let is_recent = |at| now.saturating_duration_since(at) < TRIAL;
            self.stay = if self.moved_up.take().is_some_and(is_recent) {
                (2 * self.stay).min(STAY.1)
            } else {
                STAY.0
            };
        }
        self.stays_until = now + self.stay;
        self.settling = Some((now + MOVE_TIMEOUT, path.queue));
        self.is_moving = true;
        let reason = Reason::Congestion;
        Some(Step::Move { to, reason })
    }

    /// Returns the step towards one of the renditions above the present one.
    /// `present` is the rate of that, in bits per second.
    fn step_up<I>(
        &mut self,
        now: Instant,
        path: &PathCondition,
        above: &[Rung<I>],
        present: u64,
    ) -> Option<Up> {
        let clear_for = now.saturating_duration_since(self.clear_since?);
        let is_settling = self.settling.is_some_and(|(until, _)| now < until);
        // Once a proof has begun, it must not miss the times in which the path is slower.
        let clear = if self.proofs.has_begun(now) {
            Duration::ZERO
        } else {
            CLEAR
        };
        if clear_for < clear || is_settling {
            return None;
        }
        let margin = if path.is_blind { BLIND_MARGIN } else { MARGIN };
        let needs = |place: usize| above[place].rate * margin / 100;
        let next = needs(above.len() - 1);
        let shows_nothing = path.is_blind
            && self.doubtful >= DOUBTFUL
            && !self.proofs.has_failed(now, next, DOUBTFUL_TIME, true);
        if !path.can_probe || shows_nothing {
            // Receivers raise their estimate to about one and a half times of what they get.
            let allows = |remb| remb >= present * BLIND_MARGIN / 100;
            let is_due = clear_for >= CLEAR_BLIND && now >= self.stays_until;
            if is_due && path.remb.is_none_or(allows) {
                return Some(self.move_up(now, above.len() - 1));
            }
        }
        if !path.can_probe {
            return None;
        }
        let proofs = &self.proofs;
        // One switch is better than two: first the clusters find out how far it goes.
        let carried = (0..above.len()).find(|place| proofs.is_carried(now, needs(*place)));
        let has_failed =
            |place: usize| proofs.has_failed(now, needs(place), FAILED_VALID, path.is_blind);
        let aim = match carried {
            None => above.len() - 1,
            Some(0) => 0,
            Some(place) if has_failed(place - 1) => place,
            Some(place) => place - 1,
        };
        let long_proof = if path.is_blind {
            LONG_BLIND_PROOF
        } else {
            LONG_PROOF
        };
        let is_proven = |place: &usize| {
            let span = match *place {
                place if place == aim => PROOF,
                // Soon the better one is proven, and one switch is better than two.
                _ if proofs.is_carried(now, needs(aim)) => long_proof + PATIENCE,
                _ => long_proof,
            };
            proofs.proven_for(now, needs(*place), path.is_blind) >= span
        };
        let stays = self.stays_until.saturating_duration_since(now);
        if let Some(to) = (aim..above.len()).find(is_proven)
            && stays.is_zero()
        {
            // A better one may have its proof by now, a little after the lesser one.
            let has_proof =
                |place: &usize| proofs.proven_for(now, needs(*place), path.is_blind) >= PROOF;
            let to = (aim..to).find(has_proof).unwrap_or(to);
            return Some(self.move_up(now, to));
        }
        let known = proofs.carried(now).unwrap_or(0).max(present);
        let rate = needs(aim).min(known * MOST_LEAP / 100);
        let bytes = PathEstimator::probe_bytes(rate, present, path.is_blind);
        if now < self.next_probe || stays > long_proof + SEARCH || !self.budget.spend(bytes) {
            return None;
        }
        // Until the result comes.
        self.next_probe = now + RESULT_TIMEOUT;
        self.clusters = self.clusters.wrapping_add(1);
        Some(Up::Probe(rate))
    }

    fn move_up(&mut self, now: Instant, to: usize) -> Up {
        // Counts from the switch on, see [`Self::note_moved`].
        self.moved_up = Some(now + MOVE_TIMEOUT);
        // A move down that has not happened yet does not happen any more.
        self.is_moving = false;
        self.settling = Some((now + MOVE_TIMEOUT, Duration::MAX));
        Up::Move(to)
    }
}

/// Returns the place of the best rendition below the present one that a path carries, or of the
/// least; `None` if there is none below.
fn lesser<I>(rungs: &[Rung<I>], present: usize, carried: u64) -> Option<usize> {
    let below = rungs.get(present + 1..)?;
    let least = below.len().checked_sub(1)?;
    let fits = below.iter().position(|rung| rung.rate <= carried);
    Some(present + 1 + fits.unwrap_or(least))
}

/// A step up, by place among the renditions above the present one.
enum Up {
    Move(usize),
    Probe(u64),
}
