//! Simulated networks: loss, bursts of loss, reordering, duplicates, delay, jitter, a bottleneck
//! with a queue, a largest datagram, and partitions.
//!
//! What happens to a datagram depends on the seed, its link and its number on it, and on nothing
//! that happens on other links. The lengths and the number of the datagrams of a DTLS handshake
//! vary with its random keys, so those have numbers of their own, by the time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_webrtc::demux::DatagramKind;

use crate::random::Random;

/// The time for which a burst of loss lasts.
const BURST: Duration = Duration::from_millis(60);

/// Lengths of DTLS datagrams are rounded up to this: signatures vary by some bytes.
const DTLS_UNIT: usize = 64;

/// Loss of a path, of a thousand datagrams, that retransmissions repair: at the longest round trip
/// of a scenario there is time for five.
const MAX_GENTLE_LOSS: u64 = 30;

/// Bytes of the IP and UDP headers of a datagram.
const HEADERS: usize = 28;

/// The condition of one direction of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Datagrams that are lost, of a thousand.
    pub loss: u64,
    /// Intervals of 60 ms in which all are lost, of a thousand.
    pub bursts: u64,
    /// Datagrams that come later than those behind them, of a thousand.
    pub reordered: u64,
    /// Datagrams that come twice, of a thousand.
    pub duplicated: u64,
    /// The shortest time that a datagram takes.
    pub delay: Duration,
    /// The most that is added to it. Datagrams keep their order.
    pub jitter: Duration,
    /// Bandwidth of the bottleneck in bits per second.
    pub rate: Option<u64>,
    /// The longest time that a datagram waits for the bottleneck; it is dropped instead of waiting
    /// for longer.
    pub queue: Duration,
    /// Size of the largest IP packet in bytes; larger ones are dropped.
    pub mtu: usize,
    /// Nothing passes.
    pub is_cut: bool,
}

impl Condition {
    /// A path that loses nothing, with this delay in each direction.
    #[must_use]
    pub fn perfect(delay: Duration) -> Self {
        Self {
            loss: 0,
            bursts: 0,
            reordered: 0,
            duplicated: 0,
            delay,
            jitter: Duration::ZERO,
            rate: None,
            queue: Duration::ZERO,
            mtu: 1500,
            is_cut: false,
        }
    }

    /// Returns whether retransmissions may not repair what it loses.
    #[must_use]
    pub fn is_harsh(&self) -> bool {
        let is_lossy = self.loss > MAX_GENTLE_LOSS;
        is_lossy || self.bursts > 0 || self.rate.is_some() || self.is_cut || self.mtu < 1300
    }

    /// Returns whether the first packets of media may be lost, or come before the player can decrypt
    /// them.
    #[must_use]
    pub fn may_lose_first(&self) -> bool {
        self.loses() || self.reordered > 0
    }

    /// Returns whether it loses datagrams, or delays them for longer than a player waits.
    #[must_use]
    pub fn loses(&self) -> bool {
        self.loss > 0 || self.bursts > 0 || self.rate.is_some() || self.is_cut || self.mtu < 1300
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// The address of the viewer: its source or its destination.
    pub viewer: SocketAddr,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Returns whether a datagram is an ICE check.
#[must_use]
pub fn is_check(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0, 1])
}

/// One direction of the path between the gateway and a viewer.
#[derive(Debug)]
pub struct Link {
    seed: u64,
    number: u64,
    /// Its condition now.
    pub condition: Condition,
    /// Datagrams that were sent, other than of DTLS.
    sent: u64,
    /// Datagrams of DTLS that were sent at a time.
    handshake: (Option<Instant>, u64),
    origin: Instant,
    /// When the bottleneck is free again.
    free_at: Instant,
    /// When the last datagram that kept its order arrives.
    last_arrival: Instant,
    /// Datagrams that were not lost. Those that arrive at one time keep their order.
    passed: u64,
    /// By arrival, order and whether it comes again.
    in_flight: BTreeMap<(Instant, u64, bool), Datagram>,
    /// Datagrams that the link has lost.
    pub lost: u64,
}

impl Link {
    /// Returns the link of this number.
    #[must_use]
    pub fn new(seed: u64, number: u64, condition: Condition, origin: Instant) -> Self {
        Self {
            seed,
            number,
            condition,
            sent: 0,
            handshake: (None, 0),
            origin,
            free_at: origin,
            last_arrival: origin,
            passed: 0,
            in_flight: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Sends a datagram at `now`.
    pub fn send(&mut self, datagram: Datagram, now: Instant) {
        let is_dtls = DatagramKind::of(&datagram.bytes) == DatagramKind::Dtls;
        let mut random = self.random_of(is_dtls, now);
        let mut len = datagram.bytes.len() + HEADERS;
        if is_dtls {
            len = len.next_multiple_of(DTLS_UNIT);
        }
        let condition = self.condition;
        let mut is_lost = random.chance(condition.loss);
        is_lost |= condition.is_cut || datagram.bytes.len() + HEADERS > condition.mtu;
        is_lost |= self.is_in_burst(now);
        let jitter = random.range(0..=condition.jitter.as_micros() as u64);
        let is_late = random.chance(condition.reordered);
        let late = Duration::from_micros(random.range(1_000..=40_000));
        let is_double = random.chance(condition.duplicated);
        let again = Duration::from_micros(random.range(0..=30_000));
        let left = if is_lost { None } else { self.pass(len, now) };
        let Some(left) = left else {
            self.lost += 1;
            return;
        };
        let mut arrival = left + condition.delay + Duration::from_micros(jitter);
        if is_late {
            arrival += late;
        } else {
            arrival = arrival.max(self.last_arrival);
            self.last_arrival = arrival;
        }
        self.passed += 1;
        if is_double {
            let key = (arrival + again, self.passed, true);
            self.in_flight.insert(key, datagram.clone());
        }
        self.in_flight
            .insert((arrival, self.passed, false), datagram);
    }

    /// Returns the next datagram that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<Datagram> {
        let first = self.in_flight.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Returns when the next datagram arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ((arrival, ..), _) = self.in_flight.first_key_value()?;
        Some(*arrival)
    }

    fn random_of(&mut self, is_dtls: bool, now: Instant) -> Random {
        if !is_dtls {
            self.sent += 1;
            return Random::of(self.seed, self.number, self.sent);
        }
        let (last, count) = &mut self.handshake;
        if *last != Some(now) {
            (*last, *count) = (Some(now), 0);
        }
        *count += 1;
        let micros = now.duration_since(self.origin).as_micros() as u64;
        Random::of(self.seed ^ micros << 20, self.number, *count)
    }

    fn is_in_burst(&self, now: Instant) -> bool {
        let interval = now.duration_since(self.origin).as_micros() / BURST.as_micros();
        let mut random = Random::of(self.seed.rotate_left(32), self.number, interval as u64);
        random.chance(self.condition.bursts)
    }

    /// Returns when a datagram has passed the bottleneck; `None` if its queue is full.
    fn pass(&mut self, len: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.condition.rate else {
            return Some(now);
        };
        let begin = self.free_at.max(now);
        if begin - now > self.condition.queue {
            return None;
        }
        self.free_at = begin + Duration::from_micros(len as u64 * 8_000_000 / rate);
        Some(self.free_at)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    /// Sends 500 datagrams of media with this many of DTLS before them. Returns the arrivals.
    fn arrivals(handshake: usize) -> Vec<(Duration, u16)> {
        let origin = Instant::now();
        let condition = Condition {
            loss: 200,
            reordered: 200,
            duplicated: 200,
            jitter: Duration::from_millis(20),
            ..Condition::perfect(Duration::from_millis(50))
        };
        let mut link = Link::new(7, 1, condition, origin);
        let viewer = SocketAddr::from(([10, 0, 0, 1], 4000));
        for _ in 0..handshake {
            let bytes = vec![22; 100];
            link.send(Datagram { viewer, bytes }, origin);
        }
        let begin = origin + Duration::from_secs(1);
        for number in 0..500u16 {
            let mut bytes = vec![0x80; 100];
            bytes[2..4].copy_from_slice(&number.to_be_bytes());
            let at = begin + Duration::from_millis(number.into());
            link.send(Datagram { viewer, bytes }, at);
        }
        let mut arrivals = Vec::new();
        while let Some(at) = link.poll_timeout() {
            if let Some(Datagram { bytes, .. }) = link.receive(at)
                && bytes[0] == 0x80
            {
                let number = u16::from_be_bytes([bytes[2], bytes[3]]);
                arrivals.push((at - begin, number));
            }
        }
        arrivals
    }

    #[test]
    fn datagrams_of_a_handshake_do_not_change_what_happens_to_media() {
        let none = arrivals(0);
        assert!((300..600).contains(&none.len()), "{}", none.len());
        for handshake in 1..10 {
            assert_eq!(arrivals(handshake), none, "{handshake} datagrams of DTLS");
        }
    }
}
