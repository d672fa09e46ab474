//! Puts the packets of one source in order, and asks for those that are missing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time after the first packet for which others may come that were sent before it.
const START: Duration = Duration::from_millis(60);

/// Time for which a packet may be late before it is asked for.
const PATIENCE: Duration = Duration::from_millis(10);

/// Time between two requests for a packet.
const RETRY: Duration = Duration::from_millis(100);

/// Time without a packet after which those from before it are not kept any more: what is missing of
/// them was lost before a pause of the publisher, and nobody could tell.
const PAUSE: Duration = Duration::from_millis(1500);

/// Packets that are asked for at a time.
const MAX_REQUESTS: usize = 256;

/// A packet in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InOrder {
    /// Its RTP timestamp, which does not wrap.
    pub(crate) timestamp: i64,
    /// It is the last one of a frame.
    pub(crate) marker: bool,
    /// Its payload; empty for padding.
    pub(crate) payload: Vec<u8>,
    /// Packets before it were given up.
    pub(crate) after_loss: bool,
}

/// The packets of a source.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// Time after which a missing packet is given up.
    give_up: Duration,
    asks: bool,
    started: Option<Instant>,
    /// The next sequence number in order, with its cycles.
    next: u64,
    highest: u64,
    /// When the last packet came.
    last_packet: Option<Instant>,
    timestamp: i64,
    waiting: BTreeMap<u64, InOrder>,
    missing: BTreeMap<u64, Missing>,
    has_given_up: bool,
    /// Packets that were given up, without those from before a pause.
    pub(crate) given_up: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Instant,
    ask_at: Instant,
    is_from_before_pause: bool,
}

impl Receiver {
    /// Returns a receiver that gives up a missing packet after this time, and `asks` for it.
    pub(crate) fn new(give_up: Duration, asks: bool) -> Self {
        Self {
            give_up,
            asks,
            started: None,
            next: 0,
            highest: 0,
            last_packet: None,
            timestamp: 0,
            waiting: BTreeMap::new(),
            missing: BTreeMap::new(),
            has_given_up: false,
            given_up: 0,
        }
    }

    /// Handles a packet.
    pub(crate) fn handle(
        &mut self,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        payload: Vec<u8>,
        now: Instant,
    ) {
        if self.started.is_none() {
            self.started = Some(now);
            self.highest = 1 << 32 | u64::from(sequence);
            self.next = self.highest;
            // So that wrapped times before the first one are not negative.
            self.timestamp = 1 << 40 | i64::from(timestamp);
        }
        let distance = sequence.wrapping_sub(self.highest as u16).cast_signed();
        let number = self.highest.saturating_add_signed(distance.into());
        if number < self.next && self.is_starting(now) {
            for missing in number + 1..self.next {
                self.note_missing(missing, now);
            }
            self.next = number;
        }
        if number < self.next {
            return;
        }
        for missing in self.highest + 1..number {
            self.note_missing(missing, now);
        }
        self.last_packet = Some(now);
        let newest = self.timestamp;
        let later = timestamp.wrapping_sub(newest as u32).cast_signed();
        let timestamp = newest + i64::from(later);
        if number >= self.highest {
            self.highest = number;
            self.timestamp = timestamp;
        }
        self.missing.remove(&number);
        self.waiting.entry(number).or_insert(InOrder {
            timestamp,
            marker,
            payload,
            after_loss: false,
        });
    }

    /// Returns the next packet in order.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<InOrder> {
        if self.is_starting(now) {
            return None;
        }
        while let Some(missing) = self.missing.get(&self.next)
            && now.duration_since(missing.since) >= self.give_up
        {
            let missing = *missing;
            self.missing.remove(&self.next);
            self.next += 1;
            self.given_up += u64::from(!missing.is_from_before_pause);
            self.has_given_up = true;
        }
        let mut packet = self.waiting.remove(&self.next)?;
        self.next += 1;
        packet.after_loss = std::mem::take(&mut self.has_given_up);
        Some(packet)
    }

    /// Returns the sequence numbers that are to be asked for now.
    pub(crate) fn take_requests(&mut self, now: Instant) -> Vec<u16> {
        if !self.asks {
            return Vec::new();
        }
        let due = self.missing.iter_mut();
        let due = due.filter(|(_, missing)| missing.ask_at <= now);
        due.take(MAX_REQUESTS)
            .map(|(number, missing)| {
                missing.ask_at = now + RETRY;
                *number as u16
            })
            .collect()
    }

    /// Returns when something is due.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let start = self.started.map(|started| started + START);
        let start = start.filter(|start| *start > now);
        let missing = self.missing.values();
        let asked = missing.clone().map(|missing| missing.ask_at).min();
        let given_up = missing.map(|missing| missing.since + self.give_up).min();
        let asked = asked.filter(|_| self.asks);
        [start, asked, given_up].into_iter().flatten().min()
    }

    fn is_starting(&self, now: Instant) -> bool {
        self.started.is_none_or(|started| now < started + START)
    }

    fn note_missing(&mut self, number: u64, now: Instant) {
        let pause = self.last_packet.map(|last| now.duration_since(last));
        self.missing.entry(number).or_insert(Missing {
            since: now,
            ask_at: now + PATIENCE,
            is_from_before_pause: pause.is_some_and(|pause| pause > PAUSE),
        });
    }
}

/// Writes a generic NACK (RFC 4585 section 6.2.1).
pub(crate) fn nack(sender: u32, media: u32, sequences: &[u16]) -> Vec<u8> {
    let mut items: Vec<(u16, u16)> = Vec::new();
    for sequence in sequences {
        if let Some((first, mask)) = items.last_mut() {
            let distance = sequence.wrapping_sub(*first);
            if (1..=16).contains(&distance) {
                *mask |= 1 << (distance - 1);
                continue;
            }
        }
        items.push((*sequence, 0));
    }
    let mut packet = vec![0x80 | 1, 205];
    packet.extend_from_slice(&(2 + items.len() as u16).to_be_bytes());
    packet.extend_from_slice(&sender.to_be_bytes());
    packet.extend_from_slice(&media.to_be_bytes());
    for (first, mask) in items {
        packet.extend_from_slice(&first.to_be_bytes());
        packet.extend_from_slice(&mask.to_be_bytes());
    }
    packet
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    fn receive(receiver: &mut Receiver, sequences: &[u16], now: Instant) -> Vec<(u8, bool)> {
        for sequence in sequences {
            let time = u32::from(*sequence) * 3000;
            receiver.handle(*sequence, time, true, vec![*sequence as u8], now);
        }
        let packets = std::iter::from_fn(|| receiver.poll(now + START));
        packets
            .map(|packet| (packet.payload[0], packet.after_loss))
            .collect()
    }

    #[test]
    fn packets_come_in_order_and_once_and_missing_ones_are_asked_for() {
        let now = Instant::now();
        let mut receiver = Receiver::new(Duration::from_secs(1), true);
        let first = receive(&mut receiver, &[0xffff, 0xfffe, 1, 1], now);
        assert_eq!(first, [(0xfe, false), (0xff, false)]);
        assert!(receiver.take_requests(now).is_empty());
        assert_eq!(receiver.take_requests(now + PATIENCE), [0]);
        assert_eq!(receive(&mut receiver, &[0], now), [(0, false), (1, false)]);
        let later = now + Duration::from_secs(1);
        assert!(receive(&mut receiver, &[3], later).is_empty());
        let at_last = later + Duration::from_secs(1);
        assert_eq!(receive(&mut receiver, &[], at_last), [(3, true)]);
        assert_eq!(receiver.given_up, 1);
        // One that was lost before a pause of the publisher cannot be retransmitted.
        let resumed = at_last + Duration::from_secs(3);
        assert!(receive(&mut receiver, &[5], resumed).is_empty());
        let at_last = resumed + Duration::from_secs(1);
        assert_eq!(receive(&mut receiver, &[], at_last), [(5, true)]);
        assert_eq!(receiver.given_up, 1);
    }

    #[test]
    fn nack_has_sixteen_packets_behind_the_first_in_a_mask() {
        let packet = nack(1, 2, &[5, 6, 21, 22]);
        assert_eq!(packet[..4], [0x81, 205, 0, 4]);
        assert_eq!(packet[12..], [0, 5, 0x80, 1, 0, 22, 0, 0]);
    }
}
