//! Clusters of packets that probe for more bandwidth than is used.

use std::time::{Duration, Instant};

use super::sent::SentPackets;
use super::witness::{LEAST_BYTES, TICK, Witness};

/// Fewer packets than this show nothing.
const LEAST_PACKETS: f64 = 4.0;

/// Longest duration of a cluster, at rates at which the shortest cluster takes longer.
const MAX_DURATION: Duration = Duration::from_millis(100);

/// Longest queue behind a cluster that a path carries of which nothing else is seen: that of five
/// sixths of the rate. It is the time beyond an ordinary round trip.
const BLIND_QUEUE: Duration = Duration::from_millis(20);

/// Time after a cluster in which the round trip of the sender report behind it has to be known:
/// receivers report once a second.
const BLIND_TIMEOUT: Duration = Duration::from_secs(2);

/// Time after a cluster, besides the round trip, after which feedback on it is not awaited any
/// longer.
const TIMEOUT: Duration = Duration::from_millis(600);

/// Part of the send rate that must arrive in a cluster that the path carries.
const CARRIED: f64 = 0.9;

/// Part of the packets of a cluster that arrive on a path that carries it, and the part without
/// which nothing is known: a few may be lost by chance.
const MOST_ARRIVED: f64 = 0.8;
const SOME_ARRIVED: f64 = 0.5;

/// The result of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// The rate that was tried, in bits per second.
    pub rate: u64,
    /// The result.
    pub outcome: ProbeOutcome,
}

/// The result of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The path carries the rate. The cluster arrived at so many bits per second.
    Carried(u64),
    /// It carries less: so many bits per second; 0 if too few packets arrived.
    Exceeded(u64),
    /// Nothing: the packets did not leave at the rate.
    Unclear,
}

/// Sends clusters and evaluates the feedback on them.
///
/// The packets of a cluster leave at the rate to try, a few every [`TICK`]. A path that carries the
/// rate keeps their distance; on a slower one they, and the media between them, arrive at the rate
/// of the path. Packets that leave together are one group: distances count between groups.
#[derive(Debug, Default)]
pub(super) struct Prober {
    cluster: Option<Cluster>,
    result: Option<ProbeResult>,
}

#[derive(Debug)]
struct Cluster {
    rate: u64,
    /// The rate of its own packets.
    own_rate: u64,
    witness: Witness,
    /// The time of the sender report behind it, as receivers quote it.
    report: Option<u32>,
    began: Instant,
    duration: Duration,
    /// Bytes of its packets sent so far.
    sent: u64,
    /// Transport-wide sequence number of its first packet.
    first: u16,
    /// Number after its last packet, and when that was sent; `None` while it is being sent.
    end: Option<(u16, Instant)>,
    arrivals: Arrivals,
}

/// The packets of a cluster that have arrived. Times are in microseconds.
#[derive(Debug, Default)]
struct Arrivals {
    /// Send time and latest arrival of the first group.
    first: Option<(i64, i64)>,
    /// Send time of the newest packet, latest arrival, and bytes of all packets after the first
    /// group.
    last: Option<(i64, i64)>,
    bytes: u64,
    packets: u32,
}

impl Prober {
    /// Begins a cluster at `rate` bits per second beside a stream of `stream_rate`, unless one is on
    /// its way.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        rate: u64,
        witness: Witness,
        stream_rate: u64,
        sent: &SentPackets,
    ) -> bool {
        if self.cluster.is_some() || rate == 0 {
            return false;
        }
        self.result = None;
        let least = Duration::from_micros(LEAST_BYTES * 8_000_000 / rate);
        self.cluster = Some(Cluster {
            rate,
            own_rate: witness.own_rate(rate, stream_rate),
            witness,
            report: None,
            began: now,
            duration: least.clamp(witness.duration(), MAX_DURATION),
            sent: 0,
            first: sent.next(),
            end: None,
            arrivals: Arrivals::default(),
        });
        true
    }

    /// Returns whether a cluster was sent that a sender report has to follow at once.
    pub(super) fn wants_report(&self) -> bool {
        self.awaits_round_trip()
            .is_some_and(|cluster| cluster.report.is_none())
    }

    /// Records that a sender report of this time was sent.
    pub(super) fn note_sender_report(&mut self, now: Instant, time: u32) {
        if self.wants_report()
            && let Some(cluster) = &mut self.cluster
        {
            cluster.report = Some(time);
            cluster.end = cluster.end.map(|(end, _)| (end, now));
        }
    }

    /// Returns whether the sender report of this time followed a cluster whose result is awaited.
    pub(super) fn is_awaited(&self, report: u32) -> bool {
        self.awaits_round_trip()
            .is_some_and(|cluster| cluster.report == Some(report))
    }

    /// Handles the queue that the sender report behind a cluster has met, and the part of it that may
    /// be chance. Returns the result of the cluster.
    pub(super) fn handle_queue(
        &mut self,
        queue: Duration,
        chance: Duration,
    ) -> Option<ProbeResult> {
        let cluster = self.cluster.take()?;
        self.result = Some(cluster.result_by_queue(queue, chance));
        self.result
    }

    /// Returns the cluster that was sent, if nothing but a round trip will tell of it.
    fn awaits_round_trip(&self) -> Option<&Cluster> {
        let cluster = self.cluster.as_ref()?;
        (cluster.witness == Witness::RoundTrip && cluster.end.is_some()).then_some(cluster)
    }

    /// Returns whether a cluster is being sent.
    pub(super) fn is_sending(&self) -> bool {
        self.cluster
            .as_ref()
            .is_some_and(|cluster| cluster.end.is_none())
    }

    /// Returns the bytes that are to be sent now, if a cluster is being sent.
    pub(super) fn due(&self, now: Instant) -> Option<usize> {
        let cluster = self
            .cluster
            .as_ref()
            .filter(|cluster| cluster.end.is_none())?;
        let elapsed = now
            .saturating_duration_since(cluster.began)
            .min(MAX_DURATION)
            + TICK;
        let due = cluster.own_rate / 8 * elapsed.as_micros() as u64 / 1_000_000;
        Some(usize::try_from(due.saturating_sub(cluster.sent)).unwrap_or(0))
    }

    /// Records that `bytes` of the cluster were sent, the last packet before the sequence number
    /// that is next.
    pub(super) fn note_sent(&mut self, now: Instant, bytes: usize, sent: &SentPackets) {
        let Some(cluster) = self.cluster.as_mut() else {
            return;
        };
        if cluster.end.is_some() {
            return;
        }
        cluster.sent += bytes as u64;
        if now.saturating_duration_since(cluster.began) >= cluster.duration {
            cluster.end = Some((sent.next(), now));
        }
    }

    /// Handles a packet that has arrived: its number, send time, arrival and length.
    pub(super) fn handle_packet(&mut self, sequence: u16, at: i64, arrival: i64, len: usize) {
        if let Some(cluster) = &mut self.cluster
            && cluster.contains(sequence)
        {
            cluster.arrivals.handle_packet(at, arrival, len);
        }
    }

    /// Ends the evaluation of a feedback whose last packet had this number. Returns the result of
    /// the cluster if that is complete.
    pub(super) fn handle_feedback(
        &mut self,
        now: Instant,
        last: u16,
        round_trip: Duration,
    ) -> Option<ProbeResult> {
        let cluster = self.cluster.as_ref()?;
        let (end, ended) = cluster.end?;
        if cluster.witness == Witness::RoundTrip {
            return None;
        }
        let is_complete = last.wrapping_sub(end.wrapping_sub(1)) < 0x8000;
        let is_over = now.saturating_duration_since(ended) > TIMEOUT + round_trip;
        if !is_complete && !is_over {
            return None;
        }
        self.result = Some(cluster.result(end));
        self.cluster = None;
        self.result
    }

    /// Ends a cluster on which no feedback has come.
    pub(super) fn handle_timeout(&mut self, now: Instant, round_trip: Duration) {
        let is_lost = |cluster: &Cluster| {
            let since = cluster
                .end
                .map_or(cluster.began + MAX_DURATION, |(_, at)| at);
            let timeout = match cluster.witness {
                Witness::Arrivals => 2 * TIMEOUT,
                Witness::RoundTrip => BLIND_TIMEOUT,
            };
            now.saturating_duration_since(since) > timeout + round_trip
        };
        if let Some(cluster) = self.cluster.take_if(|cluster| is_lost(cluster)) {
            self.result = Some(ProbeResult {
                rate: cluster.rate,
                outcome: match cluster.witness {
                    Witness::Arrivals => ProbeOutcome::Exceeded(0),
                    // The receiver may have quoted a later report.
                    Witness::RoundTrip => ProbeOutcome::Unclear,
                },
            });
        }
    }

    /// Takes the result of the last cluster, once there is one.
    pub(super) fn take_result(&mut self) -> Option<ProbeResult> {
        self.result.take()
    }
}

impl Cluster {
    fn contains(&self, sequence: u16) -> bool {
        let after_first = sequence.wrapping_sub(self.first);
        let is_before_end = |(end, _): (u16, Instant)| after_first < end.wrapping_sub(self.first);
        after_first < 0x8000 && self.end.is_none_or(is_before_end)
    }

    /// Returns the result if a packet behind the cluster has waited for this time, of which `chance`
    /// may not be the cluster's.
    fn result_by_queue(&self, queue: Duration, chance: Duration) -> ProbeResult {
        let took = self.duration.as_secs_f64();
        let wanted = self.own_rate / 8 * self.duration.as_millis() as u64 / 1000;
        let outcome = if self.sent < wanted / 2 {
            ProbeOutcome::Unclear
        } else if queue <= BLIND_QUEUE {
            ProbeOutcome::Carried(self.rate)
        } else if queue <= chance {
            ProbeOutcome::Unclear
        } else {
            let arrived = self.rate as f64 * took / (took + queue.as_secs_f64());
            ProbeOutcome::Exceeded(arrived as u64)
        };
        ProbeResult {
            rate: self.rate,
            outcome,
        }
    }

    fn result(&self, end: u16) -> ProbeResult {
        let sent = f64::from(end.wrapping_sub(self.first));
        let arrived = f64::from(self.arrivals.packets) / sent.max(1.0);
        // As if the lost ones had arrived among the others: they are few.
        let all = |rate: f64| rate / arrived.max(MOST_ARRIVED);
        let outcome = match self.arrivals.rates() {
            _ if sent < LEAST_PACKETS => ProbeOutcome::Unclear,
            _ if arrived < SOME_ARRIVED => ProbeOutcome::Exceeded(0),
            None => ProbeOutcome::Unclear,
            Some((_, rate))
                if all(rate) >= CARRIED * self.rate as f64 && arrived >= MOST_ARRIVED =>
            {
                ProbeOutcome::Carried(all(rate) as u64)
            }
            Some((sent, rate)) if rate >= CARRIED * sent => ProbeOutcome::Unclear,
            Some((_, rate)) => ProbeOutcome::Exceeded(rate as u64),
        };
        ProbeResult {
            rate: self.rate,
            outcome,
        }
    }
}

impl Arrivals {
    fn handle_packet(&mut self, at: i64, arrival: i64, len: usize) {
        self.packets += 1;
        match &mut self.first {
            None => self.first = Some((at, arrival)),
            Some((first, latest)) if *first == at => *latest = arrival.max(*latest),
            Some(_) => {
                self.bytes += len as u64;
                let (newest, latest) = self.last.unwrap_or((at, arrival));
                self.last = Some((at.max(newest), arrival.max(latest)));
            }
        }
    }

    /// Returns the rates at which the packets after the first group were sent and arrived, in bits
    /// per second.
    fn rates(&self) -> Option<(f64, f64)> {
        let ((first_at, first_arrival), (at, arrival)) = self.first.zip(self.last)?;
        let bits = self.bytes as f64 * 8e6;
        // Packets that arrive in one instant have no limit.
        let span = |from: i64, to: i64| (to - from).max(1000) as f64;
        Some((
            bits / span(first_at, at),
            bits / span(first_arrival, arrival),
        ))
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    const PACKET: usize = 1200;

    /// Sends a cluster at `rate` over a path of `capacity` bits per second that loses every
    /// `lost`-th packet, and returns the result.
    fn probe(rate: u64, capacity: u64, lost: usize) -> ProbeResult {
        let start = Instant::now();
        let (mut sent, mut prober) = (SentPackets::default(), Prober::default());
        let mut free_at = 0;
        let mut arrived = Vec::new();
        let witness = Witness::Arrivals;
        assert!(prober.begin(start, rate, witness, 0, &sent));
        assert!(
            !prober.begin(start, rate, witness, 0, &sent),
            "one at a time"
        );
        for tick in 0.. {
            let micros = 5000 * tick;
            let now = start + Duration::from_micros(micros);
            let Some(due) = prober.due(now) else { break };
            let count = due.div_ceil(PACKET);
            let at = sent.clock(now);
            for _ in 0..count {
                let sequence = sent.record(at, PACKET);
                free_at = micros.max(free_at) + PACKET as u64 * 8_000_000 / capacity;
                arrived.push((sequence, micros as i64, free_at as i64 + 20_000));
            }
            prober.note_sent(now, count * PACKET, &sent);
        }
        let last = arrived.last().unwrap().0;
        for (number, (sequence, at, arrival)) in arrived.into_iter().enumerate() {
            if lost == 0 || number % lost != lost / 2 {
                prober.handle_packet(sequence, at, arrival, PACKET);
            }
        }
        assert_eq!(prober.take_result(), None);
        prober.handle_feedback(start + Duration::from_millis(150), last, Duration::ZERO);
        prober.take_result().unwrap()
    }

    #[test]
    fn path_that_is_fast_enough_carries_the_cluster() {
        for rate in [800_000, 1_500_000, 3_000_000, 6_000_000, 30_000_000] {
            for factor in [101, 150, 1000] {
                let result = probe(rate, rate * factor / 100, 0);
                let is_carried = matches!(result.outcome, ProbeOutcome::Carried(_));
                assert!(is_carried, "{result:?} at {factor} %");
            }
        }
    }

    #[test]
    fn slower_path_shows_its_bandwidth() {
        for rate in [1_500_000, 3_000_000, 6_000_000, 30_000_000] {
            for percent in [20, 50, 75] {
                let capacity = rate * percent / 100;
                let result = probe(rate, capacity, 0);
                let ProbeOutcome::Exceeded(arrived) = result.outcome else {
                    panic!("{result:?} at {percent} %");
                };
                let error = arrived.abs_diff(capacity) * 100 / capacity;
                assert!(error <= 12, "{result:?} of {capacity}");
            }
        }
    }

    #[test]
    fn cluster_of_which_much_is_lost_is_not_carried() {
        let outcome = |lost| probe(3_000_000, 30_000_000, lost).outcome;
        assert!(matches!(outcome(10), ProbeOutcome::Carried(_)));
        assert_eq!(outcome(3), ProbeOutcome::Unclear);
        assert_eq!(outcome(1), ProbeOutcome::Exceeded(0));
    }

    #[test]
    fn cluster_without_feedback_ends() {
        let start = Instant::now();
        let (sent, mut prober) = (SentPackets::default(), Prober::default());
        prober.begin(start, 1_000_000, Witness::Arrivals, 0, &sent);
        prober.handle_timeout(start + Duration::from_secs(1), Duration::ZERO);
        assert_eq!(prober.take_result(), None);
        prober.handle_timeout(start + Duration::from_secs(2), Duration::ZERO);
        let result = prober.take_result().unwrap();
        assert_eq!(result.outcome, ProbeOutcome::Exceeded(0));
        assert!(prober.begin(start, 1_000_000, Witness::Arrivals, 0, &sent));
    }

    #[test]
    fn queue_behind_a_cluster_tells_whether_the_path_carries_it() {
        let start = Instant::now();
        let millis = Duration::from_millis;
        for (queue, outcome) in [
            (0, ProbeOutcome::Carried(3_000_000)),
            (20, ProbeOutcome::Carried(3_000_000)),
            (100, ProbeOutcome::Exceeded(1_500_000)),
        ] {
            let (sent, mut prober) = (SentPackets::default(), Prober::default());
            assert!(prober.begin(start, 3_000_000, Witness::RoundTrip, 1_000_000, &sent));
            prober.note_sender_report(start, 5);
            for tick in 0..=20 {
                assert!(!prober.wants_report());
                let now = start + millis(5 * tick);
                let due = prober.due(now).unwrap();
                prober.note_sent(now, due, &sent);
            }
            // 2 Mbit/s beside the stream, for 105 ms.
            assert_eq!(prober.cluster.as_ref().unwrap().sent, 26_250);
            assert!(prober.wants_report());
            assert!(!prober.is_awaited(5), "it was sent before the cluster");
            prober.note_sender_report(start + millis(100), 7);
            assert!(!prober.wants_report() && prober.is_awaited(7) && !prober.is_awaited(8));
            assert_eq!(prober.take_result(), None);
            prober.handle_queue(millis(queue), millis(30));
            assert_eq!(prober.take_result().unwrap().outcome, outcome, "{queue}");
        }
    }

    #[test]
    fn cluster_whose_sender_report_is_not_quoted_shows_nothing() {
        let start = Instant::now();
        let (sent, mut prober) = (SentPackets::default(), Prober::default());
        prober.begin(start, 1_000_000, Witness::RoundTrip, 0, &sent);
        prober.note_sent(start + Duration::from_millis(100), 10_000, &sent);
        prober.note_sender_report(start + Duration::from_millis(100), 7);
        prober.handle_timeout(start + Duration::from_secs(3), Duration::ZERO);
        assert_eq!(prober.take_result().unwrap().outcome, ProbeOutcome::Unclear);
    }
}
