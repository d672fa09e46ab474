//! Paths that drop what exceeds a rate, without a queue, for viewers with transport-wide feedback and for
//! those with receiver reports alone.

use std::collections::VecDeque;

use super::super::test_path::{PACKET, Path, Policer};
use super::*;

/// Bits per second of the stream.
const STREAM: u64 = 3_000_000;

/// Time after which a viewer asks for a packet that is missing, and the longest for which it does.
const ASKS_AFTER: u64 = 60_000;
const GIVES_UP: u64 = 1_000_000;

/// Interval of reports in microseconds. Browsers report with each NACK as well.
const REPORT_INTERVAL: u64 = 1_000_000;
const NACK_INTERVAL: u64 = 100_000;

/// A viewer that watches a stream with repairs, over a path.
struct Watching {
    path: Path,
    has_feedback: bool,
    /// Packets of the stream that were sent, those that have not come, and all bytes.
    sent: u64,
    lost: u64,
    bytes: u64,
    /// Lost packets: when they are asked for, and since when they are missing.
    missing: VecDeque<(u64, u64)>,
    reports: u32,
    next_report: u64,
    next_nack: u64,
    /// The same, and those that were given up, for the present second.
    all: u64,
    dropped: u64,
    given_up: u64,
}

/// The course of a time.
#[derive(Debug, Default)]
struct Course {
    /// Seconds until the gateway sends less, and for which it does.
    limited_after: Option<f64>,
    limited: f64,
    /// Part of all packets that were lost, of those of the stream that never came, and of the stream that
    /// was sent, in percent.
    lost: u64,
    given_up: u64,
    sent: u64,
}

impl Watching {
    fn new(has_feedback: bool) -> Self {
        let mut path = Path::new(100_000_000);
        if !has_feedback {
            path.estimator = PathEstimator::new(path.start, 40_000_000, false);
        }
        path.delay = 20_000;
        Self {
            path,
            has_feedback,
            sent: 0,
            lost: 0,
            bytes: 0,
            missing: VecDeque::new(),
            reports: 0,
            next_report: REPORT_INTERVAL,
            next_nack: 0,
            all: 0,
            dropped: 0,
            given_up: 0,
        }
    }

    /// Sends a packet. Returns whether it arrives.
    fn send(&mut self) -> bool {
        self.bytes += PACKET as u64;
        self.all += 1;
        let arrives = self.path.send_packet().is_some();
        self.dropped += u64::from(!arrives);
        arrives
    }

    fn report(&mut self, is_new: bool) {
        if is_new {
            self.reports += 1;
        }
        let block = report(self.sent, self.lost, self.reports);
        let round_trip = Some(Duration::from_millis(40));
        let sent = (self.bytes, self.sent);
        let now = self.path.instant();
        self.path
            .estimator
            .handle_report(now, &block, round_trip, sent);
    }

    fn watch(&mut self, seconds: u64) -> Course {
        let (begin, end) = (self.path.now, self.path.now + seconds * 1_000_000);
        (self.all, self.dropped, self.given_up) = (0, 0, 0);
        let first = self.sent;
        let mut course = Course::default();
        let mut backlog = 0_u64;
        let mut credit = 0.0;
        let mut next_frame = self.path.now;
        let (mut number, mut wanted) = (0_u64, 0_u64);
        while self.path.now < end {
            let now = self.path.now;
            if now >= next_frame {
                next_frame += 33_333;
                let size = STREAM / 30 / 8 / PACKET as u64;
                let is_key = number.is_multiple_of(60);
                let size = if is_key { 6 * size } else { size * 59 / 65 + 1 };
                number += 1;
                wanted += size;
                backlog += size;
            }
            let limit = self.path.estimator.limit();
            credit = match limit {
                None => f64::MAX,
                Some(limit) => f64::min(credit, 6000.0) + limit as f64 / 8.0 * 0.001,
            };
            if limit.is_some() {
                let after = (now - begin) as f64 / 1e6;
                course.limited_after.get_or_insert(after);
                course.limited += 0.001;
            }
            // Repairs first.
            let due = self.missing.iter().take_while(|(at, _)| *at <= now).count();
            for _ in 0..due {
                let Some((_, since)) = self.missing.pop_front() else {
                    break;
                };
                if now - since > GIVES_UP {
                    self.given_up += 1;
                } else if credit < PACKET as f64 {
                    self.missing.push_back((now + ASKS_AFTER, since));
                } else {
                    credit -= PACKET as f64;
                    if !self.send() {
                        self.missing.push_back((now + ASKS_AFTER, since));
                    }
                }
            }
            while backlog > 0 && credit >= PACKET as f64 {
                credit -= PACKET as f64;
                backlog -= 1;
                self.sent += 1;
                if !self.send() {
                    self.lost += 1;
                    self.missing.push_back((now + ASKS_AFTER, now));
                }
            }
            let late = backlog * PACKET as u64 * 8_000 / STREAM;
            if late > 300 && limit.is_some() {
                self.path.estimator.note_held(self.path.instant());
            }
            if late > 1000 {
                // Late frames are dropped.
                backlog /= 2;
            }
            self.path.now += 1000;
            let now = self.path.now;
            if self.has_feedback {
                if now >= self.path.next_feedback {
                    self.path.next_feedback += 60_000;
                    self.path.feed_back();
                }
            } else if now >= self.next_report {
                self.next_report += REPORT_INTERVAL;
                self.report(true);
            } else if now >= self.next_nack && !self.missing.is_empty() {
                self.next_nack = now + NACK_INTERVAL;
                self.report(false);
            }
        }
        course.lost = 100 * self.dropped / self.all.max(1);
        course.given_up = 100 * self.given_up / (self.sent - first).max(1);
        course.sent = 100 * (self.sent - first) / wanted.max(1);
        course
    }
}

/// Returns a viewer that has watched over a good path.
fn watching(has_feedback: bool) -> Watching {
    let mut watching = Watching::new(has_feedback);
    watching.watch(5);
    watching
}

#[test]
fn path_that_drops_what_exceeds_a_rate_limits_the_stream_soon_and_then_loses_little() {
    let mut failures = Vec::new();
    for has_feedback in [true, false] {
        for loss in [10, 15, 20, 25, 30, 35] {
            for burst in [20, 50, 200] {
                let mut watching = watching(has_feedback);
                let rate = STREAM * (100 - loss) / 100;
                watching.path.policer = Some(Policer::new(rate, burst));
                let (soon, then) = (watching.watch(10), watching.watch(20));
                let is_soon = soon.limited_after.is_some_and(|after| after <= 5.0);
                if !is_soon || then.lost > 15 {
                    failures.push(format!(
                        "{loss} % too much, {burst} ms at once, feedback {has_feedback}: {soon:?}, \
                         then {then:?}"
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
