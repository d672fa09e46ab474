//! Transport-wide feedback: when each packet arrived, as browsers tell it about 16 times a second
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::time::{Duration, Instant};

/// Id under which the header extension is offered.
pub const EXTENSION: u8 = 3;

/// The extension's name in an offer.
pub const EXTENSION_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// From one feedback to the next.
pub const INTERVAL: Duration = Duration::from_millis(64);

/// Unit of arrival times, in microseconds.
const TICK_MICROS: i64 = 250;

/// Ticks in a step of the reference time.
const REFERENCE_TICKS: i64 = 256;

/// Maximum number of packets in one feedback; older ones are omitted.
const MAX_PACKETS: usize = 1024;

/// Packets of one chunk: two bits each.
const PER_CHUNK: usize = 7;

const NOT_RECEIVED: u16 = 0;
const SMALL_DELTA: u16 = 1;
const LARGE_DELTA: u16 = 2;

/// Notes when packets arrive, and writes feedback about them.
#[derive(Debug)]
pub struct Arrivals {
    /// Origin of the feedback's clock.
    origin: Instant,
    /// Sequence number of the first of `ticks`.
    base: u16,
    /// When each packet from there on arrived, in ticks.
    ticks: Vec<Option<i64>>,
    count: u8,
}

impl Arrivals {
    /// Nothing has arrived.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        Self {
            origin,
            base: 0,
            ticks: Vec::new(),
            count: 0,
        }
    }

    /// Takes the sequence number of the transport that a packet carries. One from before the last
    /// feedback is forgotten.
    pub fn record(&mut self, now: Instant, sequence: u16) {
        if self.ticks.is_empty() {
            self.base = sequence;
        }
        let place = usize::from(sequence.wrapping_sub(self.base));
        if place >= MAX_PACKETS {
            return;
        }
        if place >= self.ticks.len() {
            self.ticks.resize(place + 1, None);
        }
        let micros = now.saturating_duration_since(self.origin).as_micros();
        self.ticks[place] = Some(micros as i64 / TICK_MICROS);
    }

    /// Feedback about what has arrived since the last time, from the receiver `sender` about the
    /// media source `media`. `None` when nothing has.
    pub fn feedback(&mut self, sender: u32, media: u32) -> Option<Vec<u8>> {
        let first = self.ticks.iter().flatten().min()?;
        let reference = first / REFERENCE_TICKS;
        let mut symbols = Vec::with_capacity(self.ticks.len());
        let mut deltas = Vec::with_capacity(2 * self.ticks.len());
        let mut time = reference * REFERENCE_TICKS;
        for arrival in &self.ticks {
            let Some(arrival) = arrival else {
                symbols.push(NOT_RECEIVED);
                continue;
            };
            let delta = arrival - time;
            time = *arrival;
            match u8::try_from(delta) {
                Ok(delta) => {
                    symbols.push(SMALL_DELTA);
                    deltas.push(delta);
                }
                Err(_) => {
                    symbols.push(LARGE_DELTA);
                    deltas.extend((delta as i16).to_be_bytes());
                }
            }
        }
        let mut packet = vec![0x80 | 15, 205, 0, 0];
        packet.extend(sender.to_be_bytes());
        packet.extend(media.to_be_bytes());
        packet.extend(self.base.to_be_bytes());
        packet.extend((symbols.len() as u16).to_be_bytes());
        // 24 bits of time, 8 of the count.
        let head = (reference as u32) << 8 | u32::from(self.count);
        packet.extend(head.to_be_bytes());
        for chunk in symbols.chunks(PER_CHUNK) {
            let places = (0..).map(|n| 12 - 2 * n);
            let bits = chunk.iter().zip(places);
            let bits = bits.fold(0xc000, |bits, (symbol, place)| bits | symbol << place);
            packet.extend(bits.to_be_bytes());
        }
        packet.extend(deltas);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let words = packet.len() as u16 / 4 - 1;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        self.base = self.base.wrapping_add(symbols.len() as u16);
        self.ticks.clear();
        self.count = self.count.wrapping_add(1);
        Some(packet)
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use distributary_webrtc::rtcp::{Packet, packets};

    use super::*;

    /// Parses a feedback with the gateway's parser: sequence numbers, and arrivals in milliseconds
    /// after the first.
    fn read(feedback: &[u8]) -> Vec<(u16, Option<u32>)> {
        let Some(Packet::TransportFeedback(feedback)) = packets(feedback).next() else {
            panic!("no feedback: {feedback:?}");
        };
        let statuses: Vec<_> = feedback.packets().collect();
        let first = statuses.iter().find_map(|status| status.arrival).unwrap();
        let after = |arrival: u32| arrival.wrapping_sub(first).cast_signed().unsigned_abs() / 4;
        statuses
            .iter()
            .map(|status| (status.sequence, status.arrival.map(after)))
            .collect()
    }

    #[test]
    fn gateway_parses_arrived_and_missing_packets() {
        let origin = Instant::now();
        let at = |millis| origin + Duration::from_millis(millis);
        let mut arrivals = Arrivals::new(origin);
        assert_eq!(arrivals.feedback(1, 2), None);
        for (sequence, millis) in [(0xfffe, 700), (0xffff, 701), (1, 702), (2, 900)] {
            arrivals.record(at(millis), sequence);
        }
        let feedback = arrivals.feedback(1, 2).unwrap();
        assert_eq!(
            read(&feedback),
            [
                (0xfffe, Some(0)),
                (0xffff, Some(1)),
                (0, None),
                (1, Some(2)),
                (2, Some(200))
            ]
        );
        assert_eq!(arrivals.feedback(1, 2), None);
        // More than one chunk, and the next count.
        for n in 0..20 {
            arrivals.record(at(1000 + u64::from(n)), 3 + n);
        }
        let feedback = arrivals.feedback(1, 2).unwrap();
        let expected: Vec<_> = (0..20).map(|n| (3 + n as u16, Some(n))).collect();
        assert_eq!(read(&feedback), expected);
        assert_eq!(feedback[19], 1);
    }

    #[test]
    fn old_packet_is_forgotten() {
        let origin = Instant::now();
        let mut arrivals = Arrivals::new(origin);
        arrivals.record(origin, 100);
        arrivals.record(origin, 99);
        assert_eq!(read(&arrivals.feedback(1, 2).unwrap()), [(100, Some(0))]);
    }
}
