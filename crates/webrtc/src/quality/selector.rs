//! The automatic choice of a rendition.

use std::time::{Duration, Instant};

use super::climb::{Climb, Up};
use super::{Preference, Reason, Rung, Step};
use crate::bandwidth::{PathCondition, ProbeResult};

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

/// Time for which a viewer stays down: the first value after a move down, twice the previous one,
/// up to the second, if the move up before it has failed. People notice every switch, so there is
/// at most one in ten seconds unless the path goes on to slow down.
const STAY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(80));

/// A move up has failed if the path is too slow again within this time.
const TRIAL: Duration = Duration::from_secs(10);

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
    climb: Climb,
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
            climb: Climb::new(now),
            strained_since: None,
            compared: (now, Duration::ZERO, false),
            settling: None,
            is_moving: false,
            prepared: None,
            disturbed_until: now,
            moved_up: None,
            stays_until: now,
            stay: STAY.0,
        }
    }

    /// Records that the viewer has moved to another rendition.
    pub fn note_moved(&mut self, now: Instant, path: &PathCondition) {
        self.settling = Some((now + SETTLING, path.queue));
        self.is_moving = false;
        self.strained_since = None;
        let is_up = self.moved_up.is_some_and(|at| at > now);
        if is_up {
            self.moved_up = Some(now);
        }
        self.climb.note_moved(is_up);
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
        self.climb.save(now, rung.rate);
        if let Some(probe) = probe {
            self.climb.handle_probe(now, probe, path.is_blind);
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
        self.climb.note_path(now, path);
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
        if self.settling.is_some_and(|(until, _)| now < until) {
            return None;
        }
        let stays = self.stays_until.saturating_duration_since(now);
        let step = self.climb.poll(now, path, above, present, stays)?;
        if let Up::Move(_) = step {
            // Counts from the switch on, see [`Self::note_moved`].
            self.moved_up = Some(now + MOVE_TIMEOUT);
            // A move down that has not happened yet does not happen any more.
            self.is_moving = false;
            self.settling = Some((now + MOVE_TIMEOUT, Duration::MAX));
        }
        Some(step)
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
