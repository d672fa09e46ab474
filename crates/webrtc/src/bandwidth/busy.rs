//! The bandwidth of a path while all packets wait for it.

use std::collections::VecDeque;

/// Queueing delay of every packet, in microseconds, from which on the path counts as busy: packets
/// arrive as fast as it carries them.
const WAITS: i64 = 40_000;

/// Time over which packets must arrive so that their rate is a hint, and so that it is certain, in
/// microseconds.
const HINT_SPAN: i64 = 40_000;
const CERTAIN_SPAN: i64 = 120_000;

/// Least queueing delay of the newest packets with which the rate is certain, in microseconds.
const CERTAIN_WAIT: i64 = 100_000;

/// Part of the time of their arrival, in percent, in which packets were sent at most if they arrive
/// as fast as the path carries them.
const SLOWER: i64 = 90;

/// Packets that show a rate.
const LEAST_PACKETS: usize = 8;

/// Feedback packets that are remembered, of which the newest count.
const MAX_RECENT: usize = 8;

/// The bandwidth of a busy path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Busy {
    /// Bits per second.
    pub(super) rate: f64,
    /// Time that the newest packets have waited, in milliseconds.
    pub(super) queue: f64,
    /// False if so few packets have shown it that it may be chance.
    pub(super) is_certain: bool,
}

/// Measures the bandwidth of a path from the rate at which packets arrive that have all waited.
///
/// A standing queue takes a quarter of a second to be one ([`super::queue`]), in which a path that
/// is several times slower than the stream has filled its queue. The rate of the packets that
/// arrive from a queue tells such a path from a burst much sooner: a burst that waits for a fast
/// path arrives at the high rate of that.
#[derive(Debug, Default)]
pub(super) struct BusyMeter {
    recent: VecDeque<Entry>,
}

/// The packets of one feedback. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Arrival of the first and the last packet.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Send time of the first and the last packet.
    pub(super) first_sent: i64,
    pub(super) last_sent: i64,
    /// Bytes of all packets, and of the first.
    pub(super) bytes: usize,
    pub(super) first_bytes: usize,
    pub(super) packets: usize,
    /// The shortest queueing delay.
    pub(super) waited: i64,
}

impl BusyMeter {
    pub(super) fn handle_feedback(&mut self, entry: Entry) {
        if entry.waited < WAITS {
            self.recent.clear();
            return;
        }
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }

    /// Returns the bandwidth of the path, if it is busy.
    pub(super) fn bandwidth(&self) -> Option<Busy> {
        let newest = self.recent.back()?;
        let (mut bytes, mut packets, mut span, mut sent_span) = (0, 0, 0, 0);
        for entry in self.recent.iter().rev() {
            span = newest.last - entry.first;
            sent_span = newest.last_sent - entry.first_sent;
            packets += entry.packets;
            if span >= CERTAIN_SPAN {
                // The first packet arrived when the span began.
                bytes += entry.bytes - entry.first_bytes;
                break;
            }
            bytes += entry.bytes;
        }
        if span < CERTAIN_SPAN {
            let oldest = self.recent.front()?;
            bytes -= oldest.first_bytes;
        }
        // Packets that arrive as fast as they were sent show no more than that.
        let is_slower = sent_span * 100 <= span * SLOWER;
        (is_slower && span >= HINT_SPAN && packets >= LEAST_PACKETS).then(|| Busy {
            rate: bytes as f64 * 8e6 / span as f64,
            queue: newest.waited as f64 / 1000.0,
            is_certain: span >= CERTAIN_SPAN && newest.waited >= CERTAIN_WAIT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Handles feedback every 80 ms on packets of 1200 bytes that arrive `gap` microseconds apart,
    /// and waited so many milliseconds.
    fn measured(gap: i64, waited: &[i64]) -> Option<Busy> {
        measured_of(gap, 4, waited)
    }

    /// The same for packets that were sent in one of so many parts of the time of their arrival.
    fn measured_of(gap: i64, sent: i64, waited: &[i64]) -> Option<Busy> {
        let mut meter = BusyMeter::default();
        let packets = (80_000 / gap) as usize;
        for (n, waited) in waited.iter().enumerate() {
            let first = 80_000 * n as i64;
            meter.handle_feedback(Entry {
                first,
                last: first + (packets as i64 - 1) * gap,
                first_sent: first / sent,
                last_sent: (first + (packets as i64 - 1) * gap) / sent,
                bytes: 1200 * packets,
                first_bytes: 1200,
                packets,
                waited: 1000 * waited,
            });
        }
        meter.bandwidth()
    }

    #[test]
    fn packets_that_all_wait_arrive_at_the_rate_of_the_path() {
        // 9.6 ms for each packet: 1 Mbit/s.
        let hint = measured(9_600, &[0, 0, 60]).unwrap();
        assert!(
            !hint.is_certain && (hint.rate - 1e6).abs() < 1e4,
            "{hint:?}"
        );
        let busy = measured(9_600, &[0, 0, 60, 150]).unwrap();
        assert!(busy.is_certain && (busy.rate - 1e6).abs() < 1e5, "{busy:?}");
        assert_eq!(busy.queue, 150.0);
        // The path was faster a moment ago.
        let before = measured(2_000, &[60; 6]).unwrap();
        assert!((before.rate - 4.8e6).abs() < 1e5, "{before:?}");
    }

    #[test]
    fn packets_that_arrive_as_fast_as_they_were_sent_show_no_slow_path() {
        let still_picture_after_a_longer_way = [0, 0, 150, 150, 150, 150];
        assert_eq!(
            measured_of(9_600, 1, &still_picture_after_a_longer_way),
            None
        );
    }

    #[test]
    fn path_on_which_one_packet_does_not_wait_is_not_busy() {
        assert_eq!(measured(9_600, &[0; 8]), None);
        assert_eq!(measured(9_600, &[90, 120, 10]), None);
        assert_eq!(measured(40_000, &[90, 120, 130]), None, "too few packets");
    }
}
