//! Packets sent, by transport-wide sequence number.

use std::fmt;
use std::time::Instant;

/// Initial number of packets remembered; a power of two.
const FIRST_SLOTS: usize = 512;

/// Maximum number of packets remembered: a second of the fastest start.
const MAX_SLOTS: usize = 4096;

/// Send times and lengths of packets, to interpret feedback.
///
/// A ring of six bytes per packet. It is empty before the first packet, and grows only when
/// feedback comes for packets that it no longer has.
#[derive(Default)]
pub struct SentPackets {
    /// The last packets: that with sequence number `n` is at `n` modulo the length, a power of two.
    slots: Vec<Slot>,
    next: u16,
    origin: Option<Instant>,
}

impl fmt::Debug for SentPackets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentPackets")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// A send time: microseconds since the first packet, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendClock(u32);

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Microseconds since the origin, modulo 2^32: the high and the low half. As a `u32`, they would
    /// take two bytes more for its alignment.
    at: [u16; 2],
    /// Bytes, and [`MISSING`]; 0 when there is no packet, or it has arrived.
    len: u16,
}

/// Set in the length of a packet that feedback has reported as missing.
const MISSING: u16 = 1 << 15;

/// A packet that feedback has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it was sent, in microseconds since some origin, modulo 2^32.
    pub at: u32,
    /// Its length in bytes.
    pub len: usize,
    /// True if earlier feedback reported it as missing: others have overtaken it.
    pub was_missing: bool,
}

impl SentPackets {
    /// Converts `now` for [`Self::record`], once for all packets that are sent together.
    pub fn clock(&mut self, now: Instant) -> SendClock {
        let origin = *self.origin.get_or_insert(now);
        let elapsed = now.saturating_duration_since(origin);
        // Modulo 2^32, as the difference of two of them is enough.
        let micros = elapsed.as_secs() as u32;
        SendClock(
            micros
                .wrapping_mul(1_000_000)
                .wrapping_add(elapsed.subsec_micros()),
        )
    }

    /// Returns the sequence number of the next packet.
    pub fn next(&self) -> u16 {
        self.next
    }

    /// Records a packet of `len` bytes sent at `at`. Returns its sequence number.
    pub fn record(&mut self, at: SendClock, len: usize) -> u16 {
        if self.slots.is_empty() {
            self.slots.resize(FIRST_SLOTS, Slot::default());
        }
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        let mask = self.slots.len() - 1;
        if let Some(slot) = self.slots.get_mut(usize::from(sequence) & mask) {
            *slot = Slot {
                at: [(at.0 >> 16) as u16, at.0 as u16],
                len: len as u16 & !MISSING,
            };
        }
        sequence
    }

    /// Removes and returns the packet with this sequence number, if it is known and no feedback has
    /// come for it.
    pub fn take(&mut self, sequence: u16) -> Option<Sent> {
        let Some(slot) = self.slot(sequence) else {
            self.grow(sequence);
            return None;
        };
        let len = std::mem::take(&mut slot.len);
        let [high, low] = slot.at;
        (len > 0).then_some(Sent {
            at: u32::from(high) << 16 | u32::from(low),
            len: usize::from(len & !MISSING),
            was_missing: len & MISSING != 0,
        })
    }

    /// Records that the packet with this sequence number has not arrived by the time of a feedback.
    /// Returns whether that is news: the packet is known, and was not reported before.
    pub fn note_missing(&mut self, sequence: u16) -> bool {
        let Some(slot) = self.slot(sequence) else {
            return false;
        };
        let is_news = slot.len > 0 && slot.len & MISSING == 0;
        if is_news {
            slot.len |= MISSING;
        }
        is_news
    }

    /// Returns the slot of a packet that the ring still has.
    fn slot(&mut self, sequence: u16) -> Option<&mut Slot> {
        let age = usize::from(self.next.wrapping_sub(sequence));
        let len = self.slots.len();
        if !(1..=len).contains(&age) {
            return None;
        }
        self.slots.get_mut(usize::from(sequence) & (len - 1))
    }

    /// Grows the ring when it has lost a packet that was sent recently.
    fn grow(&mut self, forgotten: u16) {
        let age = usize::from(self.next.wrapping_sub(forgotten));
        let len = self.slots.len();
        if len == 0 || age <= len || age > MAX_SLOTS || len >= MAX_SLOTS {
            return;
        }
        let mut slots = vec![Slot::default(); 2 * len];
        for age in 1..=len {
            let sequence = usize::from(self.next.wrapping_sub(age as u16));
            let place = slots.get_mut(sequence & (2 * len - 1));
            if let (Some(place), Some(slot)) = (place, self.slots.get(sequence & (len - 1))) {
                *place = *slot;
            }
        }
        self.slots = slots;
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn received(at: u32, len: usize) -> Sent {
        Sent {
            at,
            len,
            was_missing: false,
        }
    }

    #[test]
    fn packet_reported_as_missing_is_news_once_and_can_still_arrive() {
        let mut sent = SentPackets::default();
        assert!(!sent.note_missing(0));
        let at = sent.clock(Instant::now());
        sent.record(at, 1200);
        assert!(sent.note_missing(0));
        assert!(!sent.note_missing(0));
        let late = Sent {
            was_missing: true,
            ..received(0, 1200)
        };
        assert_eq!(sent.take(0), Some(late));
        assert!(!sent.note_missing(0), "it has arrived");
    }

    #[test]
    fn packet_is_found_once_by_its_number() {
        let start = Instant::now();
        let mut sent = SentPackets::default();
        assert_eq!(sent.take(0), None);
        let at = sent.clock(start);
        assert_eq!(sent.record(at, 1200), 0);
        let at = sent.clock(start + Duration::from_millis(3));
        assert_eq!(sent.record(at, 900), 1);
        assert_eq!(sent.take(1), Some(received(3000, 900)));
        assert_eq!(sent.take(1), None);
        assert_eq!(sent.take(0), Some(received(0, 1200)));
        assert_eq!(sent.take(2), None, "not sent");
    }

    #[test]
    fn send_clock_wraps() {
        let start = Instant::now();
        let mut sent = SentPackets::default();
        sent.clock(start);
        let hours = Duration::from_secs(3 * 3600) + Duration::from_micros(7);
        let expected = (3 * 3600 * 1_000_000_u64 + 7) as u32;
        assert_eq!(sent.clock(start + hours), SendClock(expected));
    }

    #[test]
    fn ring_grows_for_late_feedback_up_to_the_limit() {
        let start = Instant::now();
        let mut sent = SentPackets::default();
        let at = sent.clock(start);
        // The number of each packet modulo 2^16 tells its length.
        let len = |sequence: u16| 100 + usize::from(sequence) % 997;
        for n in 0..0x1_0010_u32 {
            sent.record(at, len(n as u16));
        }
        let last = sent.next.wrapping_sub(1);
        let old = |age: usize| last.wrapping_sub(age as u16);
        let mut known = (0..FIRST_SLOTS).map(old).collect::<Vec<_>>();
        let oldest = known.pop().unwrap();
        assert!(sent.take(oldest).is_some());
        assert_eq!(sent.take(old(FIRST_SLOTS)), None);
        assert_eq!(sent.slots.len(), 2 * FIRST_SLOTS);
        assert_eq!(sent.take(old(2 * FIRST_SLOTS)), None);
        assert_eq!(sent.slots.len(), 4 * FIRST_SLOTS);
        for sequence in known {
            let expected = Some(received(0, len(sequence)));
            assert_eq!(sent.take(sequence), expected, "known packets stay known");
        }
        for _ in 0..100 {
            assert_eq!(sent.take(old(MAX_SLOTS - 10)), None);
            assert_eq!(sent.take(old(30_000)), None);
        }
        assert_eq!(sent.slots.len(), MAX_SLOTS);
    }
}
