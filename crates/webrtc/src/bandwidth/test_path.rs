//! A simulated path for tests: one bottleneck, with feedback as Chromium sends it.
#![allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]

use super::*;
use crate::rtcp::{Packet, packets};

/// Bytes of each packet.
pub(crate) const PACKET: usize = 1200;

/// Random delay, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Jitter {
    None,
    /// Up to so much.
    Uniform(u64),
    /// Exponentially distributed, so much on average.
    Exponential(u64),
}

/// Drops packets beyond a rate: a bucket of tokens without a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policer {
    /// Bytes per microsecond.
    rate: f64,
    /// Bytes that may pass at once, and those that may pass now.
    bucket: f64,
    tokens: f64,
    /// Microseconds since the start.
    at: u64,
}

impl Policer {
    /// Returns a policer of `rate` bits per second that lets pass at once what has that rate for `burst`
    /// milliseconds.
    pub(crate) fn new(rate: u64, burst: u64) -> Self {
        let rate = rate as f64 / 8e6;
        Self {
            rate,
            bucket: rate * 1000.0 * burst as f64,
            tokens: 0.0,
            at: 0,
        }
    }

    fn drops(&mut self, now: u64) -> bool {
        let gained = self.rate * (now - self.at) as f64;
        self.at = now;
        self.tokens = self.bucket.min(self.tokens + gained);
        let is_over = self.tokens < PACKET as f64;
        if !is_over {
            self.tokens -= PACKET as f64;
        }
        is_over
    }
}

/// A path with one bottleneck, with feedback as Chromium sends it.
pub(crate) struct Path {
    pub(crate) start: Instant,
    pub(crate) estimator: PathEstimator,
    /// Microseconds since the start.
    pub(crate) now: u64,
    /// Bits per second that the bottleneck carries.
    pub(crate) capacity: u64,
    /// When the link is free again.
    pub(crate) free_at: u64,
    /// The longest queue, in microseconds: packets that would wait longer are dropped.
    pub(crate) longest_queue: u64,
    pub(crate) policer: Option<Policer>,
    pub(crate) loss_permille: u64,
    /// Packets that are lost in a row: 1 if each is lost by itself.
    pub(crate) loss_burst: u64,
    /// Packets of the present burst that are still to be lost.
    burst_left: u64,
    /// Base delay of every packet.
    pub(crate) delay: u64,
    /// Further delay of each packet. Packets do not overtake each other.
    pub(crate) jitter: Jitter,
    /// The latest arrival.
    pub(crate) latest: u64,
    pub(crate) random: u64,
    /// Packets sent and not reported: number, and arrival unless it is lost.
    pub(crate) under_way: Vec<(u16, Option<u64>)>,
    pub(crate) next_feedback: u64,
    /// Longest time that a packet waited since this was cleared.
    pub(crate) waited: u64,
}

impl Path {
    pub(crate) fn new(capacity: u64) -> Self {
        let start = Instant::now();
        Self {
            start,
            estimator: PathEstimator::new(start, 40_000_000, true),
            now: 0,
            capacity,
            free_at: 0,
            longest_queue: 2_000_000,
            policer: None,
            loss_permille: 0,
            loss_burst: 1,
            burst_left: 0,
            delay: 10_000,
            jitter: Jitter::None,
            latest: 0,
            random: 1,
            under_way: Vec::new(),
            next_feedback: 60_000,
            waited: 0,
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    /// Lets other traffic of `rate` bits per second use the bottleneck for a millisecond.
    pub(crate) fn carry_other_traffic(&mut self, rate: u64) {
        let begin = self.free_at.max(self.now);
        if begin - self.now <= self.longest_queue {
            self.free_at = begin + rate * 1000 / self.capacity;
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.random >> 33
    }

    fn is_lost(&mut self) -> bool {
        if self.burst_left == 0
            && self.next_random() % (1000 * self.loss_burst) < self.loss_permille
        {
            self.burst_left = self.loss_burst;
        }
        let is_lost = self.burst_left > 0;
        self.burst_left = self.burst_left.saturating_sub(1);
        is_lost
    }

    /// Returns the jitter of the next packet, in microseconds.
    pub(crate) fn next_jitter(&mut self) -> u64 {
        match self.jitter {
            Jitter::None => 0,
            Jitter::Uniform(most) => self.next_random() % (most + 1),
            Jitter::Exponential(mean) => {
                let part = (self.next_random() % 10_000 + 1) as f64 / 10_000.0;
                (-part.ln() * mean as f64) as u64
            }
        }
    }

    /// Sends a packet. Returns its arrival, in microseconds since the start, unless it is lost.
    pub(crate) fn send_packet(&mut self) -> Option<u64> {
        let now = self.instant();
        let at = self.estimator.sent_mut().clock(now);
        let sequence = self.estimator.sent_mut().record(at, PACKET);
        let begin = self.free_at.max(self.now);
        let waits = begin - self.now;
        let is_dropped = self.policer.as_mut().is_some_and(|one| one.drops(self.now));
        if is_dropped || waits > self.longest_queue || self.is_lost() {
            self.under_way.push((sequence, None));
            return None;
        }
        self.waited = self.waited.max(waits);
        self.free_at = begin + PACKET as u64 * 8_000_000 / self.capacity;
        let arrives = self.free_at + self.delay + self.next_jitter();
        self.latest = self.latest.max(arrives);
        let arrival = Some(self.latest);
        self.under_way.push((sequence, arrival));
        arrival
    }

    /// Sends feedback on packets that have arrived and on those lost before them.
    pub(crate) fn feed_back(&mut self) {
        let arrived = |entry: &(u16, Option<u64>)| entry.1.is_some_and(|at| at <= self.now);
        let Some(last) = self.under_way.iter().rposition(arrived) else {
            return;
        };
        let reported: Vec<_> = self.under_way.drain(..=last).collect();
        let first = reported.iter().find_map(|(_, at)| *at).unwrap_or(0);
        // 250 us and 64 ms; the receiver's clock began long ago.
        let ticks = |at: u64| (at / 250) as i64 + 0x00ff_f000 * 256;
        let reference = ticks(first) / 256;
        let mut bytes = vec![0x8f, 205, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5];
        bytes.extend(reported[0].0.to_be_bytes());
        bytes.extend((reported.len() as u16).to_be_bytes());
        bytes.extend(&(reference as u32).to_be_bytes()[1..]);
        bytes.push(0);
        for (_, at) in &reported {
            let symbol: u16 = if at.is_some() { 2 } else { 0 };
            bytes.extend((symbol << 13 | 1).to_be_bytes());
        }
        let mut time = reference * 256;
        for at in reported.iter().filter_map(|(_, at)| *at) {
            bytes.extend(((ticks(at) - time) as i16).to_be_bytes());
            time = ticks(at);
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let words = (bytes.len() / 4 - 1) as u16;
        bytes[2..4].copy_from_slice(&words.to_be_bytes());
        let Some(Packet::TransportFeedback(feedback)) = packets(&bytes).next() else {
            panic!("{bytes:?}")
        };
        let now = self.instant();
        self.estimator.handle_feedback(now, &feedback);
    }
}
