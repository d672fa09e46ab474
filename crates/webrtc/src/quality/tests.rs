//! Viewers on simulated paths: estimator, clusters and selector together.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::bandwidth::PathEstimator;
use crate::bandwidth::test_path::{PACKET, Path};
use crate::rtcp::ReportBlock;

/// Rates of the renditions, from the best to the least, in bits per second.
const RATES: [u64; 4] = [4_600_000, 2_600_000, 1_300_000, 700_000];

/// Milliseconds between two keyframes of every rendition.
const KEYFRAME_INTERVAL: u64 = 1000;

/// Milliseconds after which a rendition has a keyframe for a viewer that moves down.
const KEYFRAME_DELAY: u64 = 200;

/// Queue in microseconds that a receiver notices for its REMB.
const QUEUE_SEEN: u64 = 100_000;

/// The bandwidth of a path and the rate of other traffic in it over time, in milliseconds.
type Course = Box<dyn Fn(u64) -> (u64, u64)>;

/// A viewer on a path.
struct Watching {
    path: Path,
    selector: Selector,
    rungs: Vec<Rung<usize>>,
    course: Course,
    /// Milliseconds since the start.
    millis: u64,
    present: usize,
    /// The rendition that it moves to at the next keyframe.
    pending: Option<usize>,
    /// When a keyframe comes that was requested.
    requested: Option<u64>,
    /// Packets to send: when their frame came.
    backlog: Vec<u64>,
    awaits_keyframe: bool,
    credit: f64,
    probe_bytes: u64,
    media_bytes: u64,
    has_feedback: bool,
    /// True if a viewer without transport-wide feedback sends REMB beside receiver reports.
    has_remb: bool,
    /// Time of its report within each second, in milliseconds.
    phase: u64,
    /// Time and place of each switch.
    switches: Vec<(u64, usize)>,
    /// Place of the rendition in each millisecond.
    places: Vec<usize>,
    /// Longest time without a frame that was sent whole, in milliseconds.
    last_frame: u64,
    longest_gap: u64,
}

impl Watching {
    /// Watches over a path with a longest queue of `queue` microseconds that loses `loss` of 1000
    /// packets.
    fn over(
        course: impl Fn(u64) -> (u64, u64) + 'static,
        queue: u64,
        loss: u64,
        seed: u64,
    ) -> Self {
        let mut viewer = Self::new(true, course);
        viewer.path.longest_queue = queue;
        viewer.path.loss_permille = loss;
        viewer.path.random = seed;
        viewer
    }

    fn new(has_feedback: bool, course: impl Fn(u64) -> (u64, u64) + 'static) -> Self {
        let mut path = Path::new(course(0).0);
        path.longest_queue = 400_000;
        if !has_feedback {
            path.estimator = PathEstimator::new(path.start, 40_000_000, false);
        }
        let rung = |(id, rate): (usize, &u64)| Rung {
            id,
            height: 1080 - 200 * id as u32,
            rate: *rate,
        };
        Self {
            selector: Selector::new(path.start),
            path,
            rungs: RATES.iter().enumerate().map(rung).collect(),
            course: Box::new(course),
            millis: 0,
            present: 0,
            pending: None,
            requested: None,
            backlog: Vec::new(),
            awaits_keyframe: false,
            credit: 0.0,
            probe_bytes: 0,
            media_bytes: 0,
            has_feedback,
            has_remb: true,
            phase: 0,
            switches: Vec::new(),
            places: Vec::new(),
            last_frame: 0,
            longest_gap: 0,
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = self.millis + 1000 * seconds;
        while self.millis < end {
            let (capacity, other) = (self.course)(self.millis);
            self.path.capacity = capacity;
            self.path.carry_other_traffic(other);
            self.publish();
            self.send();
            if self.millis.is_multiple_of(5) {
                self.send_probe();
            }
            self.path.now += 1000;
            self.millis += 1;
            if self.has_feedback && self.path.now >= self.path.next_feedback {
                self.path.next_feedback += 60_000;
                self.path.feed_back();
                self.decide();
            }
            if !self.has_feedback && self.millis % 1000 == self.phase {
                self.report();
                self.decide();
            }
            self.places.push(self.present);
        }
    }

    /// Adds the packets of a frame, 30 times a second; keyframes are four times as large.
    fn publish(&mut self) {
        let is_frame = self.millis * 3 / 100 != (self.millis.max(1) - 1) * 3 / 100;
        let is_requested = self.requested.take_if(|at| *at <= self.millis).is_some();
        let is_keyframe = is_requested || self.millis.is_multiple_of(KEYFRAME_INTERVAL);
        if !is_frame && !is_keyframe {
            return;
        }
        if is_keyframe {
            self.awaits_keyframe = false;
            self.requested = None;
            if let Some(to) = self.pending.take() {
                self.switch(to);
            }
        }
        if self.awaits_keyframe {
            return;
        }
        let each = RATES[self.present] / 8 / 33;
        let bytes = if is_keyframe {
            4 * each
        } else {
            each * 29 / 32
        };
        let packets = bytes.div_ceil(PACKET as u64);
        self.backlog
            .extend(std::iter::repeat_n(self.millis, packets as usize));
    }

    fn switch(&mut self, to: usize) {
        self.present = to;
        self.switches.push((self.millis, to));
        self.backlog.clear();
        let state = self.path.estimator.state();
        self.selector.note_moved(self.path.instant(), &state);
    }

    fn send(&mut self) {
        let limit = self.path.estimator.limit();
        self.credit = match limit {
            None => f64::MAX,
            Some(limit) => self.credit.min(6000.0) + limit as f64 / 8.0 * 0.001,
        };
        let mut sent = 0;
        while sent < self.backlog.len() && self.credit >= PACKET as f64 {
            self.path.send_packet();
            self.credit -= PACKET as f64;
            sent += 1;
        }
        self.backlog.drain(..sent);
        self.media_bytes += (sent * PACKET) as u64;
        if sent > 0 && self.backlog.is_empty() {
            self.longest_gap = self.longest_gap.max(self.millis - self.last_frame);
            self.last_frame = self.millis;
        }
        let oldest = self.backlog.first().copied().unwrap_or(self.millis);
        if limit.is_some() && self.millis - oldest > 300 {
            self.path.estimator.note_held(self.path.instant());
            // Too late: nothing more before the next keyframe.
            self.backlog.clear();
            self.awaits_keyframe = true;
        }
    }

    fn send_probe(&mut self) {
        let Some(due) = self.path.estimator.probe_due(self.path.instant()) else {
            return;
        };
        let packets = due.div_ceil(PACKET);
        for _ in 0..packets {
            self.path.send_packet();
        }
        self.probe_bytes += (packets * PACKET) as u64;
        let now = self.path.instant();
        self.path.estimator.note_probe(now, packets * PACKET);
    }

    fn report(&mut self) {
        let arrived = |(_, at): &(u16, Option<u64>)| at.is_some();
        let total = self.path.under_way.len().max(1);
        let lost = total
            - self
                .path
                .under_way
                .iter()
                .filter(|entry| arrived(entry))
                .count();
        self.path.under_way.clear();
        let waits = self.path.free_at.saturating_sub(self.path.now);
        let round_trip = Duration::from_micros(2 * self.path.delay + waits);
        let block = ReportBlock {
            ssrc: 5,
            fraction_lost: (256 * lost / total).min(255) as u8,
            cumulative_lost: 0,
            highest_sequence: 0,
            jitter: 0,
            last_sender_report: 0,
            delay: 0,
        };
        let now = self.path.instant();
        let estimator = &mut self.path.estimator;
        if self.has_remb {
            // The receiver's estimate is that of the path once it sees a queue.
            let (capacity, other) = (self.course)(self.millis);
            let present = RATES[self.present] * 3 / 2;
            estimator.handle_remb(match waits {
                QUEUE_SEEN.. => present.min(capacity.saturating_sub(other) * 85 / 100),
                _ => present,
            });
        }
        estimator.handle_report(now, &block, Some(round_trip), self.media_bytes);
    }

    fn decide(&mut self) {
        let now = self.path.instant();
        let probe = self.path.estimator.take_probe(now);
        let state = self.path.estimator.state();
        let present = self.pending.unwrap_or(self.present);
        let preference = Preference::default();
        let step = self
            .selector
            .poll(now, &state, probe, &self.rungs, Some(present), &preference);
        match step {
            Some(Step::Move { to, .. }) if to == self.present => self.pending = None,
            Some(Step::Move { to, .. }) => {
                if to > self.present && self.pending.is_none() {
                    self.requested = Some(self.millis + KEYFRAME_DELAY);
                }
                self.pending = Some(to);
            }
            Some(Step::Probe { rate }) => {
                assert!(self.path.estimator.begin_probe(now, rate));
            }
            None => {}
        }
    }

    /// Returns the longest time for which the rendition was a fifth more than the path carries, in
    /// milliseconds.
    fn longest_excess(&self) -> u64 {
        let (mut excess, mut longest) = (0, 0);
        for (millis, place) in self.places.iter().enumerate() {
            let (capacity, other) = (self.course)(millis as u64);
            let carries = capacity.saturating_sub(other) * 6 / 5;
            // Less than the least rendition there is none.
            let is_excess = RATES[*place] > carries && *place + 1 < RATES.len();
            excess = if is_excess { excess + 1 } else { 0 };
            longest = longest.max(excess);
        }
        longest
    }

    /// Returns the place of the best rendition for which the path has some bandwidth to spare.
    fn best(&self, millis: u64) -> usize {
        let (capacity, other) = (self.course)(millis);
        let carries = capacity.saturating_sub(other);
        let fits = |rate: &u64| rate * 4 / 3 <= carries;
        RATES.iter().position(fits).unwrap_or(RATES.len() - 1)
    }
}

/// A path of `rates` bits per second, each for some seconds.
fn steps(rates: &'static [(u64, u64)]) -> impl Fn(u64) -> (u64, u64) {
    move |millis| {
        let mut until = 0;
        let mut rates = rates.iter();
        let present = rates.find(|(_, seconds)| {
            until += 1000 * seconds;
            millis < until
        });
        (present.map_or(6_000_000, |(rate, _)| *rate), 0)
    }
}

#[test]
fn path_that_slows_down_and_recovers_takes_one_switch_each_way() {
    let rates = &[(6_000_000, 10), (1_000_000, 20), (6_000_000, 30)];
    let mut viewer = Watching::new(true, steps(rates));
    viewer.run(10);
    assert_eq!(viewer.switches, []);
    viewer.run(20);
    assert_eq!(viewer.switches.len(), 1, "{:?}", viewer.switches);
    assert!(viewer.switches[0].0 <= 11_500, "{:?}", viewer.switches);
    assert_eq!(viewer.present, 3);
    viewer.run(30);
    assert_eq!(viewer.present, 0, "{:?}", viewer.switches);
    let (at, _) = viewer.switches[viewer.switches.len() - 1];
    assert!(
        viewer.switches.len() <= 3 && at <= 42_000,
        "{:?}",
        viewer.switches
    );
    assert!(viewer.probe_bytes * 100 <= viewer.media_bytes * 15);
}

#[test]
fn fast_path_is_left_alone() {
    for (capacity, loss) in [(6_000_000, 0), (20_000_000, 20), (100_000_000, 50)] {
        let mut viewer = Watching::new(true, move |_| (capacity, 0));
        viewer.path.loss_permille = loss;
        viewer.run(120);
        assert_eq!((viewer.switches.len(), viewer.probe_bytes), (0, 0));
    }
}

#[test]
fn newcomer_on_a_slow_path_moves_down_and_stays() {
    for rate in [900_000, 1_700_000, 3_300_000] {
        let mut viewer = Watching::new(true, move |_| (rate, 0));
        viewer.run(120);
        let is_good = viewer.present <= viewer.best(0) && RATES[viewer.present] < rate;
        assert!(is_good, "{rate}: {:?}", viewer.switches);
        assert!(viewer.switches.len() <= 3, "{rate}: {:?}", viewer.switches);
    }
}

#[test]
fn path_that_swings_around_a_rate_causes_few_switches() {
    for period in [1, 2, 3, 5, 8, 12] {
        for (low, high) in [
            (2_400_000, 3_400_000),
            (2_000_000, 4_000_000),
            (1_000_000, 6_000_000),
        ] {
            let swing = move |millis: u64| {
                let is_high = (millis / 1000 / period).is_multiple_of(2);
                (if is_high { high } else { low }, 0)
            };
            let mut viewer = Watching::new(true, swing);
            viewer.run(20);
            viewer.switches.clear();
            viewer.run(60);
            assert!(
                viewer.switches.len() <= 6,
                "{low} and {high} every {period} s: {:?}",
                viewer.switches
            );
        }
    }
}

#[test]
fn bufferbloat_and_bursts_of_loss_are_survived() {
    for (queue, permille) in [(2_000_000, 0), (100_000, 0), (400_000, 50)] {
        let rates = &[(6_000_000, 10), (1_000_000, 20), (6_000_000, 30)];
        let mut viewer = Watching::new(true, steps(rates));
        viewer.path.longest_queue = queue;
        viewer.path.loss_permille = permille;
        viewer.run(60);
        assert!(viewer.longest_excess() <= 2000, "{:?}", viewer.switches);
        assert_eq!(viewer.present, 0, "{:?}", viewer.switches);
    }
}

#[test]
fn viewer_without_transport_feedback_adapts() {
    let rates = &[(6_000_000, 10), (1_000_000, 30), (6_000_000, 60)];
    let mut viewer = Watching::new(false, steps(rates));
    viewer.run(10);
    assert_eq!(viewer.switches, []);
    viewer.run(30);
    assert_eq!(viewer.present, 3, "{:?}", viewer.switches);
    viewer.run(60);
    assert_eq!(viewer.present, 0, "{:?}", viewer.switches);
}

#[test]
fn queue_that_overflows_early_is_noticed() {
    let rates = &[(6_000_000, 10), (2_300_000, 20), (4_000_000, 20)];
    for queue in [40_000, 60_000, 100_000] {
        let mut viewer = Watching::new(true, steps(rates));
        viewer.path.longest_queue = queue;
        viewer.run(50);
        let excess = viewer.longest_excess();
        assert!(
            excess <= 4500,
            "{excess} ms with {queue} us: {:?}",
            viewer.switches
        );
    }
}

#[test]
fn earlier_bandwidth_of_a_path_does_not_hide_a_slowdown() {
    let rates = &[(3_100_776, 20), (1_504_231, 20)];
    let mut viewer = Watching::new(false, steps(rates));
    viewer.path.longest_queue = 333_415;
    viewer.has_remb = false;
    viewer.phase = 722;
    viewer.run(40);
    assert!(viewer.longest_excess() <= 3500, "{:?}", viewer.switches);
    assert!(viewer.present >= 2, "{:?}", viewer.switches);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_path_is_followed(
        rates in prop::collection::vec(900_000_u64..8_000_000, 2..5),
        other in 0_u64..1_000_000,
        is_ramp in any::<bool>(),
        queue in 200_000_u64..1_500_000,
        loss in 0_u64..40,
        seed in 1_u64..1_000_000,
    ) {
        let seconds = 20;
        let count = rates.len() as u64;
        let course = move |millis: u64| {
            let place = (millis / 1000 / seconds) as usize;
            let last = rates.len() - 1;
            let rate = rates[place.min(last)];
            let next = rates[(place + 1).min(last)];
            let within = millis % (1000 * seconds);
            let ramp = 4000;
            let begins = 1000 * seconds - ramp;
            let rate = if is_ramp && within > begins {
                let part = (within - begins) as i64;
                (rate as i64 + (next as i64 - rate as i64) * part / ramp as i64) as u64
            } else {
                rate
            };
            // Others use a part of the second half of each time.
            let other = if within > 500 * seconds { other.min(rate / 4) } else { 0 };
            (rate, other)
        };
        let mut viewer = Watching::over(course, queue, loss, seed);
        viewer.run(seconds * count);
        // A path that goes on to slow down takes two switches.
        let longest = if is_ramp { 4500 } else { 2000 };
        prop_assert!(
            viewer.longest_excess() <= longest,
            "{} ms too much: {:?}", viewer.longest_excess(), viewer.switches
        );
        let wasted = viewer.probe_bytes * 100 / viewer.media_bytes;
        prop_assert!(wasted <= 15, "{wasted} % for clusters");
        prop_assert!(viewer.switches.len() as u64 <= 4 * count, "{:?}", viewer.switches);
    }

    #[test]
    fn best_rendition_is_found(
        rates in prop::collection::vec(900_000_u64..9_000_000, 2..5),
        queue in 200_000_u64..500_000,
        loss in 0_u64..30,
        seed in 1_u64..1_000_000,
    ) {
        let seconds = 30;
        let count = rates.len() as u64;
        let course = move |millis: u64| {
            let place = (millis / 1000 / seconds) as usize;
            (rates[place.min(rates.len() - 1)], 0)
        };
        let mut viewer = Watching::over(course, queue, loss, seed);
        for step in 0..count {
            viewer.run(12);
            let best = RATES[viewer.best(viewer.millis - 1)];
            prop_assert!(
                RATES[viewer.present] * 5 >= best * 4,
                "{} of {best} in step {step}: {:?}", RATES[viewer.present], viewer.switches
            );
            viewer.run(seconds - 12);
        }
    }

    #[test]
    fn viewer_without_transport_feedback_comes_down_in_time(
        rates in prop::collection::vec(900_000_u64..8_000_000, 2..5),
        queue in 200_000_u64..500_000,
        loss in 0_u64..20,
        has_remb in any::<bool>(),
        phase in 0_u64..1000,
        seed in 1_u64..1_000_000,
    ) {
        // A newcomer's first report says nothing, so the path slows down later.
        let rates: Vec<u64> = [8_000_000].into_iter().chain(rates).collect();
        let seconds = 20;
        let count = rates.len() as u64;
        let course = move |millis: u64| {
            let place = (millis / 1000 / seconds) as usize;
            (rates[place.min(rates.len() - 1)], 0)
        };
        let mut viewer = Watching::new(false, course);
        viewer.path.longest_queue = queue;
        viewer.path.loss_permille = loss;
        viewer.path.random = seed;
        viewer.has_remb = has_remb;
        viewer.phase = phase;
        viewer.run(seconds * count);
        // A report on a second of which the path was slow for a part only shows a higher rate. The
        // receiver's estimate corrects that; without it a second step may be needed.
        let longest = if has_remb { 2000 } else { 7000 };
        prop_assert!(
            viewer.longest_excess() <= longest,
            "{} ms too much: {:?}", viewer.longest_excess(), viewer.switches
        );
        prop_assert!(viewer.switches.len() as u64 <= 5 * count, "{:?}", viewer.switches);
    }
}
