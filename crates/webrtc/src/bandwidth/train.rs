//! Bandwidth of a path by the spread of packets that were sent together.

use std::time::Duration;

/// Packets that were sent together show the bandwidth if there are at least this many.
const LEAST_TRAIN: usize = 10;

/// Longest train that is recorded; what follows adds nothing.
const LONGEST_TRAIN: usize = 128;

/// Packets of a feedback that queue show the bandwidth if they arrive over at least this time, in
/// microseconds.
const LEAST_SPAN: i64 = 15_000;

/// The queue is the shortest delay of this many packets, the newest of a feedback: a single packet
/// may be late by chance.
const NEWEST: usize = 6;

/// The result of one feedback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probe {
    /// Time that the newest packets waited in queues.
    pub(super) queue: Duration,
    /// Bandwidth of the path in bits per second, if it could be measured.
    pub(super) bandwidth: Option<u64>,
}

/// Measures trains: packets with the same send time.
///
/// Behind a bottleneck the packets of a train arrive at its rate. The first half may have passed in
/// the burst that traffic shapers permit, so the second half counts. A train whose packets overtake
/// each other shows nothing.
#[derive(Debug, Default)]
pub(super) struct TrainMeter {
    /// Send time of the present train.
    at: u32,
    /// Arrival in microseconds and bytes of its packets.
    train: Vec<(i64, usize)>,
    /// Bandwidth by the longest train so far: its packets, and bits per second.
    longest: Option<(usize, u64)>,
    /// Arrivals of the first and the last packet of the feedback, and the bytes after the first.
    arrivals: Option<(i64, i64)>,
    bytes: usize,
    /// Delays of the newest packets, in microseconds.
    delays: [i64; NEWEST],
    packets: usize,
}

impl TrainMeter {
    /// Handles a packet of `bytes` bytes, sent at `at` of our clock. `arrival` and `delay` are in
    /// microseconds of the receiver's.
    pub(super) fn handle_packet(&mut self, at: u32, arrival: i64, delay: i64, bytes: usize) {
        if at != self.at {
            self.end_train();
            self.at = at;
        }
        if self.train.len() < LONGEST_TRAIN {
            self.train.push((arrival, bytes));
        }
        match &mut self.arrivals {
            Some((_, last)) => {
                *last = arrival;
                self.bytes += bytes;
            }
            None => self.arrivals = Some((arrival, arrival)),
        }
        self.delays[self.packets % NEWEST] = delay;
        self.packets += 1;
    }

    /// Ends the feedback and returns its result; `None` if it covers too few packets. `base` is the
    /// delay of the empty path, in microseconds.
    pub(super) fn finish(&mut self, base: i64) -> Option<Probe> {
        self.end_train();
        let longest = self.longest.take();
        let arrivals = self.arrivals.take();
        let bytes = std::mem::take(&mut self.bytes);
        let packets = std::mem::take(&mut self.packets);
        if packets < NEWEST {
            return None;
        }
        let (first, last) = arrivals?;
        let delay = self.delays.iter().min()?;
        let queue = Duration::from_micros((delay - base).max(0).unsigned_abs());
        // Without a queue the packets arrive at the rate at which they were sent.
        let shows_rate = last - first >= LEAST_SPAN && queue.as_micros() >= LEAST_SPAN as u128;
        let of_all = shows_rate.then(|| rate(bytes, last - first));
        Some(Probe {
            queue,
            bandwidth: longest.map(|(_, rate)| rate).or(of_all),
        })
    }

    fn end_train(&mut self) {
        let packets = self.train.len();
        let is_ordered = || self.train.is_sorted_by_key(|(arrival, _)| *arrival);
        if packets >= LEAST_TRAIN
            && self.longest.is_none_or(|(most, _)| packets > most)
            && is_ordered()
            && let [(first, _), rest @ ..] = &self.train[packets / 2 - 1..]
            && let Some((last, _)) = rest.last()
        {
            let bytes = rest.iter().map(|(_, bytes)| bytes).sum();
            self.longest = Some((packets, rate(bytes, last - first)));
        }
        self.train.clear();
    }
}

/// Returns the bits per second of bytes that arrive within `span` microseconds.
fn rate(bytes: usize, span: i64) -> u64 {
    let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
    bits.saturating_mul(1_000_000) / span.max(1).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Handles a train whose packets arrive `gap` microseconds apart, after `burst` of them that
    /// arrive at once.
    fn train(meter: &mut TrainMeter, packets: i64, burst: i64, gap: i64) {
        for n in 0..packets {
            let arrival = 1_000_000 + (n - burst).max(0) * gap;
            meter.handle_packet(500, arrival, arrival - 990_000, 1200);
        }
    }

    #[test]
    fn spread_of_a_train_shows_the_bandwidth() {
        let mut meter = TrainMeter::default();
        train(&mut meter, 50, 0, 3200);
        let probe = meter.finish(10_000).unwrap();
        assert_eq!(probe.bandwidth, Some(3_000_000));
        assert_eq!(probe.queue, Duration::from_micros(44 * 3200));
        assert_eq!(meter.finish(10_000), None);
    }

    #[test]
    fn burst_that_a_shaper_lets_pass_does_not_count() {
        let mut meter = TrainMeter::default();
        train(&mut meter, 50, 20, 1920);
        assert_eq!(meter.finish(0).unwrap().bandwidth, Some(5_000_000));
    }

    #[test]
    fn few_packets_show_no_bandwidth_unless_they_queue() {
        let mut meter = TrainMeter::default();
        train(&mut meter, 8, 0, 960);
        assert_eq!(meter.finish(10_000).unwrap().bandwidth, None);
        for n in 0..20_i64 {
            let arrival = n * 1920;
            meter.handle_packet(n as u32 * 900, arrival, 30_000, 1200);
        }
        assert_eq!(meter.finish(30_000).unwrap().bandwidth, None, "no queue");
        for n in 0..20_i64 {
            let arrival = n * 1920;
            meter.handle_packet(n as u32 * 900, arrival, 30_000 + n * 1000, 1200);
        }
        assert_eq!(meter.finish(10_000).unwrap().bandwidth, Some(5_000_000));
    }

    #[test]
    fn arrivals_in_one_instant_have_no_limit() {
        let mut meter = TrainMeter::default();
        train(&mut meter, 20, 20, 0);
        let bandwidth = meter.finish(10_000).unwrap().bandwidth;
        assert!(bandwidth.is_some_and(|rate| rate > 1_000_000_000));
    }

    #[test]
    fn late_or_overtaking_packets_show_no_queue_and_no_bandwidth() {
        let mut meter = TrainMeter::default();
        for n in 0..20_i64 {
            // Up to 45 ms later than others.
            let delay = 10_000 + n * 7 % 10 * 5_000;
            meter.handle_packet(500, 1_000_000 + delay, delay, 1200);
        }
        let probe = meter.finish(10_000).unwrap();
        assert_eq!(probe.bandwidth, None);
        assert!(probe.queue <= Duration::from_millis(10), "{probe:?}");
    }
}
