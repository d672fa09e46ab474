//! A viewer on a simulated path: what it is sent, and what it sees.

use std::time::Duration;

use crate::bandwidth::test_path::{PACKET, Path};
use crate::bandwidth::{PathEstimator, StreamPart};
use crate::quality::{Preference, Rung, Selector, Step};
use crate::rtcp::ReportBlock;

/// Rates of the renditions, from the best to the least, in bits per second.
pub(super) const RATES: [u64; 4] = [4_600_000, 2_600_000, 1_300_000, 700_000];

/// Milliseconds after which a rendition that is made has a keyframe for a viewer that moves down.
const KEYFRAME_DELAY: u64 = 200;

/// Milliseconds that an encoder of a rendition needs before its first frame.
const ENCODER_START: u64 = 500;

/// Milliseconds for which an encoder goes on when nobody needs its rendition.
const ENCODER_IDLE: u64 = 10_000;

/// Part of the rate of a rendition, in percent, below which the rest of it is useless.
const USELESS: u64 = 60;

/// Queue in microseconds that a receiver notices for its REMB.
const QUEUE_SEEN: u64 = 100_000;

/// The bandwidth of a path and the rate of other traffic in it over time, in milliseconds.
pub(super) type Course = Box<dyn Fn(u64) -> (u64, u64)>;

/// A viewer on a path.
pub(super) struct Watching {
    pub(super) path: Path,
    pub(super) selector: Selector,
    pub(super) rungs: Vec<Rung<usize>>,
    course: Course,
    /// Milliseconds since the start.
    pub(super) millis: u64,
    pub(super) present: usize,
    /// The rendition that it moves to at the next keyframe.
    pending: Option<usize>,
    /// When a keyframe comes that was requested.
    requested: Option<u64>,
    /// When the encoder of each rendition returns its first frame, and when it ends.
    encoders: Vec<Option<(u64, u64)>>,
    /// True while nothing more of the present rendition is sent.
    is_halted: bool,
    /// Packets to send: when their frame came, and whether they are the last of it.
    backlog: Vec<(u64, bool)>,
    pub(super) received: Received,
    awaits_keyframe: bool,
    credit: f64,
    pub(super) probe_bytes: u64,
    pub(super) media_bytes: u64,
    has_feedback: bool,
    /// Milliseconds between two keyframes of every rendition.
    pub(super) keyframe_interval: u64,
    /// True if a viewer without transport-wide feedback is a browser: it sends REMB beside receiver
    /// reports, both several times a second and with each NACK. Others report once a second.
    pub(super) has_remb: bool,
    /// Time of its report within each second, in milliseconds.
    pub(super) phase: u64,
    next_sender_report: u64,
    /// Sender reports under way: time, arrival and round trip in microseconds.
    sender_reports: Vec<(u32, u64, u64)>,
    /// The sender report that has arrived last: time, and round trip in microseconds.
    quoted: (u32, u64),
    /// Packets that the viewer expected so far, and those that it lost.
    expected: u32,
    lost: i32,
    /// Time and place of each switch.
    pub(super) switches: Vec<(u64, usize)>,
    /// Place of the rendition in each millisecond.
    places: Vec<usize>,
}

/// Returns renditions of these rates.
pub(super) fn ladder(rates: &[u64]) -> Vec<Rung<usize>> {
    let rung = |(id, rate): (usize, &u64)| Rung {
        id,
        height: 1080 - 200 * id as u32,
        rate: *rate,
    };
    rates.iter().enumerate().map(rung).collect()
}

/// What the viewer has seen. A frame is shown when it and all since its keyframe have arrived whole;
/// lost packets are not sent again here.
#[derive(Default)]
pub(super) struct Received {
    /// Place of the rendition of the frame that is being sent, and its arrival so far; `None` if it
    /// is damaged, or one that it needs.
    place: usize,
    arrival: Option<u64>,
    /// Arrival of each frame that was shown in milliseconds, and its place.
    shown: Vec<(u64, usize)>,
}

impl Received {
    /// Returns the longest time without a frame between two times, in milliseconds.
    pub(super) fn longest_gap(&self, from: u64, to: u64) -> u64 {
        let pairs = self.shown.windows(2);
        let within = pairs.filter(|pair| pair[1].0 >= from && pair[1].0 < to);
        within.map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(0)
    }

    /// Returns the arrival of the first frame of a lesser rendition than `place` from a time on.
    pub(super) fn first_below(&self, place: usize, from: u64) -> Option<u64> {
        let mut later = self.shown.iter().filter(|(at, _)| *at >= from);
        later.find(|(_, shown)| *shown > place).map(|(at, _)| *at)
    }
}

impl Watching {
    /// Watches over a path with a longest queue of `queue` microseconds that loses `loss` of 1000
    /// packets.
    pub(super) fn over(
        course: impl Fn(u64) -> (u64, u64) + 'static,
        queue: u64,
        loss: u64,
        seed: u64,
    ) -> Self {
        Self::new(true, course).on_path(queue, loss, seed)
    }

    /// The same for a viewer without transport-wide feedback.
    pub(super) fn without_feedback(
        course: impl Fn(u64) -> (u64, u64) + 'static,
        queue: u64,
        loss: u64,
        seed: u64,
    ) -> Self {
        Self::new(false, course).on_path(queue, loss, seed)
    }

    fn on_path(mut self, queue: u64, loss: u64, seed: u64) -> Self {
        self.path.longest_queue = queue;
        self.path.loss_permille = loss;
        self.path.random = seed;
        self
    }

    pub(super) fn new(has_feedback: bool, course: impl Fn(u64) -> (u64, u64) + 'static) -> Self {
        let mut path = Path::new(course(0).0);
        path.longest_queue = 400_000;
        if !has_feedback {
            path.estimator = PathEstimator::new(path.start, 40_000_000, false);
            let round_trip = Duration::from_micros(2 * path.delay);
            path.estimator.note_round_trip(round_trip);
        }
        Self {
            selector: Selector::new(path.start),
            path,
            rungs: ladder(&RATES),
            course: Box::new(course),
            millis: 0,
            present: 0,
            pending: None,
            requested: None,
            encoders: vec![None; RATES.len()],
            is_halted: false,
            backlog: Vec::new(),
            received: Received::default(),
            awaits_keyframe: false,
            credit: 0.0,
            probe_bytes: 0,
            media_bytes: 0,
            has_feedback,
            keyframe_interval: 1000,
            has_remb: true,
            phase: 0,
            // Not together with a frame.
            next_sender_report: 17,
            sender_reports: Vec::new(),
            quoted: (0, 0),
            expected: 0,
            lost: 0,
            switches: Vec::new(),
            places: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, seconds: u64) {
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
            if !self.has_feedback {
                self.send_report();
            }
            self.path.now += 1000;
            self.millis += 1;
            if self.has_feedback && self.path.now >= self.path.next_feedback {
                self.path.next_feedback += 60_000;
                self.path.feed_back();
                self.decide();
            }
            if !self.has_feedback && self.is_report_due() {
                self.report();
            }
            if !self.has_feedback && self.millis.is_multiple_of(50) {
                self.decide();
            }
            self.places.push(self.present);
        }
    }

    /// Adds the packets of a frame, 30 times a second; keyframes are four times as large.
    fn publish(&mut self) {
        let is_frame = self.millis * 3 / 100 != (self.millis.max(1) - 1) * 3 / 100;
        let is_requested = self.requested.take_if(|at| *at <= self.millis).is_some();
        let is_keyframe = is_requested || self.millis.is_multiple_of(self.keyframe_interval);
        if !is_frame && !is_keyframe {
            return;
        }
        self.keep_encoders();
        if is_keyframe && let Some(to) = self.pending.filter(|to| self.is_made(*to)) {
            self.pending = None;
            self.switch(to);
        }
        if is_keyframe {
            self.awaits_keyframe = false;
        }
        if self.awaits_keyframe || self.is_halted {
            return;
        }
        let each = self.rate() / 8 / 33;
        let bytes = if is_keyframe {
            4 * each
        } else {
            each * 29 / 32
        };
        let packets = bytes.div_ceil(PACKET as u64);
        let millis = self.millis;
        self.backlog
            .extend((1..=packets).map(|packet| (millis, packet == packets)));
        if is_keyframe {
            self.received.arrival = Some(0);
            self.received.place = self.present;
        }
    }

    /// Returns whether a rendition has frames.
    fn is_made(&self, place: usize) -> bool {
        place == 0 || self.encoders[place].is_some_and(|(from, _)| from <= self.millis)
    }

    /// Starts the encoder of a rendition, or keeps it for some time. Returns when it has a frame.
    fn need(&mut self, place: usize) -> u64 {
        let (from, _) = self.encoders[place].unwrap_or((self.millis + ENCODER_START, 0));
        self.encoders[place] = Some((from, self.millis + ENCODER_IDLE));
        from
    }

    fn keep_encoders(&mut self) {
        for place in [Some(self.present), self.pending].into_iter().flatten() {
            self.need(place);
        }
        for encoder in &mut self.encoders {
            encoder.take_if(|(_, until)| *until <= self.millis);
        }
    }

    fn switch(&mut self, to: usize) {
        self.present = to;
        self.switches.push((self.millis, to));
        self.backlog.clear();
        self.is_halted = false;
        self.path.estimator.note_moved(self.path.instant());
        let state = self.path.estimator.state();
        self.selector.note_moved(self.path.instant(), &state);
    }

    fn send(&mut self) {
        let rate = self.rate();
        let estimator = &mut self.path.estimator;
        estimator.catch_up_rate(rate, StreamPart::Backlog);
        let limit = self.path.estimator.limit();
        self.credit = match limit {
            None => f64::MAX,
            Some(limit) => self.credit.min(6000.0) + limit as f64 / 8.0 * 0.001,
        };
        let mut sent = 0;
        while sent < self.backlog.len() && self.credit >= PACKET as f64 {
            let arrival = self.path.send_packet();
            let received = &mut self.received;
            received.arrival = received.arrival.zip(arrival).map(|(_, at)| at);
            if let (true, Some(at)) = (self.backlog[sent].1, received.arrival) {
                received.shown.push((at / 1000, received.place));
            }
            self.credit -= PACKET as f64;
            sent += 1;
        }
        self.backlog.drain(..sent);
        self.media_bytes += (sent * PACKET) as u64;
        let oldest = self.backlog.first().map_or(self.millis, |(at, _)| *at);
        if limit.is_some() && self.millis - oldest > 300 {
            self.path.estimator.note_held(self.path.instant());
            // Too late: nothing more before the next keyframe.
            self.backlog.clear();
            self.received.arrival = None;
            self.awaits_keyframe = true;
        }
    }

    fn send_probe(&mut self) {
        let Some(due) = self.path.estimator.probe_due(self.path.instant()) else {
            return;
        };
        let packets = due.div_ceil(PACKET);
        for _ in 0..packets {
            let _ = self.path.send_packet();
            if !self.has_feedback {
                // Retransmissions are another stream.
                self.path.under_way.pop();
            }
        }
        self.probe_bytes += (packets * PACKET) as u64;
        let now = self.path.instant();
        self.path.estimator.note_probe(now, packets * PACKET);
    }

    /// Sends a sender report at the usual interval, and when it is wanted at once.
    fn send_report(&mut self) {
        if self.millis < self.next_sender_report && !self.path.estimator.wants_report() {
            return;
        }
        self.next_sender_report = self.millis + 900;
        let now = self.path.instant();
        let time = self.millis as u32 + 1;
        self.path.estimator.note_sender_report(now, time);
        let waits = self.path.free_at.saturating_sub(self.path.now);
        if waits <= self.path.longest_queue {
            let way = self.path.delay + waits + self.path.next_jitter();
            let arrival = self.path.now + way;
            let round_trip = way + self.path.delay;
            self.sender_reports.push((time, arrival, round_trip));
        }
    }

    fn is_report_due(&self) -> bool {
        if !self.has_remb {
            return self.millis % 1000 == self.phase;
        }
        let under_way = &self.path.under_way;
        let has_arrived = |at: Option<u64>| at.is_some_and(|at| at <= self.path.now);
        let is_loss_seen = || {
            let mut after_loss = under_way.iter().skip_while(|(_, at)| at.is_some());
            after_loss.any(|(_, at)| has_arrived(*at))
        };
        self.millis % 200 == self.phase % 200 || self.millis.is_multiple_of(10) && is_loss_seen()
    }

    fn report(&mut self) {
        let now = self.path.now;
        let has_arrived = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let last = self
            .path
            .under_way
            .iter()
            .rposition(|(_, at)| has_arrived(*at));
        let count = last.map_or(0, |last| last + 1);
        for (_, arrival) in self.path.under_way.drain(..count) {
            self.expected += 1;
            self.lost += i32::from(arrival.is_none());
        }
        self.sender_reports.retain(|(time, arrival, round_trip)| {
            let is_there = *arrival <= now;
            if is_there {
                self.quoted = (*time, *round_trip);
            }
            !is_there
        });
        let (report, round_trip) = self.quoted;
        let block = ReportBlock {
            ssrc: 5,
            fraction_lost: 0,
            cumulative_lost: self.lost,
            highest_sequence: self.expected,
            jitter: 0,
            last_sender_report: report,
            delay: 0,
        };
        let waits = self.path.free_at.saturating_sub(now);
        let now = self.path.instant();
        let present = self.rate() * 3 / 2;
        let estimator = &mut self.path.estimator;
        if self.has_remb {
            // The receiver's estimate is that of the path once it sees a queue.
            let (capacity, other) = (self.course)(self.millis);
            estimator.handle_remb(match waits {
                QUEUE_SEEN.. => present.min(capacity.saturating_sub(other) * 85 / 100),
                _ => present,
            });
        }
        let round_trip = (report > 0).then_some(Duration::from_micros(round_trip));
        let sent = (self.media_bytes, self.media_bytes / PACKET as u64);
        estimator.handle_report(now, &block, round_trip, sent);
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
            Some(Step::Move { to, .. }) if to == self.present => {
                self.pending = None;
                self.is_halted = false;
            }
            Some(Step::Move { to, .. }) => {
                let from = self.need(to);
                let is_first = self.pending.is_none();
                if to > self.present && (is_first || !self.is_made(to)) {
                    self.requested = Some(from.max(self.millis) + KEYFRAME_DELAY);
                    let carried = state.carried.unwrap_or(u64::MAX);
                    if is_first && carried < self.rate() * USELESS / 100 {
                        self.is_halted = true;
                        self.backlog.clear();
                        self.received.arrival = None;
                    }
                }
                self.pending = Some(to);
            }
            Some(Step::Prepare { to }) => {
                self.need(to);
            }
            Some(Step::Probe { rate }) => {
                assert!(self.path.estimator.begin_probe(now, rate));
            }
            None => {}
        }
    }

    /// Returns the longest time for which the rendition was a fifth more than the path carries, in
    /// milliseconds.
    pub(super) fn longest_excess(&self) -> u64 {
        let (mut excess, mut longest) = (0, 0);
        for (millis, place) in self.places.iter().enumerate() {
            let (capacity, other) = (self.course)(millis as u64);
            let carries = capacity.saturating_sub(other) * 6 / 5;
            // Less than the least rendition there is none.
            let is_excess = self.rungs[*place].rate > carries && *place + 1 < self.rungs.len();
            excess = if is_excess { excess + 1 } else { 0 };
            longest = longest.max(excess);
        }
        longest
    }

    /// Returns the place of the best rendition for which the path has a third to spare.
    pub(super) fn best(&self, millis: u64) -> usize {
        self.best_with(millis, 133)
    }

    /// Returns the place of the best rendition of whose rate the path carries so many percent.
    pub(super) fn best_with(&self, millis: u64, percent: u64) -> usize {
        let (capacity, other) = (self.course)(millis);
        let carries = capacity.saturating_sub(other);
        let fits = |rung: &Rung<usize>| rung.rate * percent / 100 <= carries;
        let fitting = self.rungs.iter().position(fits);
        fitting.unwrap_or(self.rungs.len() - 1)
    }

    /// Returns the rate of the present rendition.
    fn rate(&self) -> u64 {
        self.rungs[self.present].rate
    }
}
