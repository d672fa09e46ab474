//! A network between two addresses, with loss, delay and reordering, driven by a seed and by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use distributary_webrtc::demux::DatagramKind;

/// A datagram in flight.
pub(crate) struct Datagram {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Loses and delays datagrams as its random numbers say. The same seed gives the same run.
pub(crate) struct Network {
    gateway: SocketAddr,
    random: u64,
    /// Datagrams lost, of a thousand.
    pub(crate) loss_permille: u64,
    /// The shortest delay.
    pub(crate) delay: Duration,
    /// Most that is added to it: datagrams overtake each other.
    pub(crate) jitter: Duration,
    /// The sender behind a bottleneck, and its bandwidth in bits per second.
    pub(crate) bottleneck: Option<(SocketAddr, u64)>,
    /// The longest time that a datagram waits for the bottleneck: those that would wait longer are
    /// dropped.
    pub(crate) longest_queue: Duration,
    /// When the bottleneck is free again.
    free_at: Option<Instant>,
    /// Drops what the gateway sends beyond a rate.
    pub(crate) policer: Option<Policer>,
    /// By arrival, then by the order in which they were sent.
    under_way: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
    pub(crate) lost: u64,
    /// The DTLS datagrams sent so far: whether each is from the gateway.
    pub(crate) handshake: Vec<bool>,
    /// Number of the one that is lost.
    pub(crate) lost_handshake: Option<usize>,
    /// True if all those to the gateway are lost.
    pub(crate) loses_handshake_to_us: bool,
}

/// Drops datagrams beyond a rate: a bucket of tokens without a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policer {
    /// Bytes per second.
    rate: f64,
    /// Bytes that may pass at once, and those that may pass now.
    bucket: f64,
    tokens: f64,
    at: Instant,
}

impl Policer {
    /// Returns a policer of this rate in bits per second that lets `burst` pass at once, the bytes of that
    /// time.
    pub(crate) fn new(rate: f64, burst: Duration, now: Instant) -> Self {
        let rate = rate / 8.0;
        let bucket = rate * burst.as_secs_f64();
        Self {
            rate,
            bucket,
            tokens: bucket,
            at: now,
        }
    }

    /// Returns whether it drops a datagram.
    fn drops(&mut self, len: usize, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = self.bucket.min(self.tokens + self.rate * elapsed);
        let is_over = self.tokens < len as f64;
        if !is_over {
            self.tokens -= len as f64;
        }
        is_over
    }
}

impl Network {
    pub(crate) fn new(seed: u64, gateway: SocketAddr) -> Self {
        Self {
            gateway,
            // The generator below must not start at zero.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            loss_permille: 0,
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            bottleneck: None,
            longest_queue: Duration::MAX,
            free_at: None,
            policer: None,
            under_way: BTreeMap::new(),
            sent: 0,
            lost: 0,
            handshake: Vec::new(),
            lost_handshake: None,
            loses_handshake_to_us: false,
        }
    }

    /// Starts the random numbers over, so that what follows does not depend on how many there were.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }

    pub(crate) fn send(&mut self, now: Instant, datagram: Datagram) {
        self.sent += 1;
        if self.random(1000) < self.loss_permille || self.loses_dtls(&datagram) {
            self.lost += 1;
            return;
        }
        if datagram.source == self.gateway
            && let Some(policer) = &mut self.policer
            && policer.drops(datagram.bytes.len(), now)
        {
            self.lost += 1;
            return;
        }
        let jitter = self.jitter.as_micros() as u64;
        let extra = if jitter == 0 { 0 } else { self.random(jitter) };
        let Some(left) = self.leaves_bottleneck(now, &datagram) else {
            self.lost += 1;
            return;
        };
        let arrival = left + self.delay + Duration::from_micros(extra);
        self.under_way.insert((arrival, self.sent), datagram);
    }

    /// Counts a DTLS datagram, and returns whether it is to be lost.
    fn loses_dtls(&mut self, datagram: &Datagram) -> bool {
        if DatagramKind::of(&datagram.bytes) != DatagramKind::Dtls {
            return false;
        }
        let is_ours = datagram.source == self.gateway;
        let number = self.handshake.len();
        self.handshake.push(is_ours);
        self.lost_handshake == Some(number) || self.loses_handshake_to_us && !is_ours
    }

    /// Returns the time at which a datagram has passed the bottleneck; `None` if its queue is full.
    fn leaves_bottleneck(&mut self, now: Instant, datagram: &Datagram) -> Option<Instant> {
        match self.bottleneck {
            Some((source, rate)) if source == datagram.source => {
                let begin = self.free_at.map_or(now, |free_at| free_at.max(now));
                if begin - now > self.longest_queue {
                    return None;
                }
                let micros = datagram.bytes.len() as u64 * 8_000_000 / rate;
                let end = begin + Duration::from_micros(micros);
                self.free_at = Some(end);
                Some(end)
            }
            _ => Some(now),
        }
    }

    /// Returns the next datagram that has arrived by `now`.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Datagram> {
        let (key, _) = self
            .under_way
            .first_key_value()
            .filter(|((at, _), _)| *at <= now)?;
        let key = *key;
        self.under_way.remove(&key)
    }

    /// Returns the datagrams in flight to an address.
    pub(crate) fn under_way_to(&self, address: SocketAddr) -> Vec<Vec<u8>> {
        let datagrams = self.under_way.values();
        datagrams
            .filter(|datagram| datagram.destination == address)
            .map(|datagram| datagram.bytes.clone())
            .collect()
    }

    /// Returns a number below `limit` (xorshift64*).
    fn random(&mut self, limit: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}
