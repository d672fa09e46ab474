//! Evidence of viewers about clusters, and the size of clusters that follows from it.

use std::time::Duration;

/// Duration of a cluster: long enough that the jitter of single packets matters little.
const DURATION: Duration = Duration::from_millis(20);

/// Duration of a cluster whose queue alone is seen: so long that its queue is longer than the
/// differences of round trips.
const BLIND_DURATION: Duration = Duration::from_millis(100);

/// The packets of such a cluster have at least this part of its rate: one in so many.
const LEAST_PART: u64 = 4;

/// Bytes of the shortest cluster: a few packets.
pub(super) const LEAST_BYTES: u64 = 6 * 1200;

/// Interval at which the packets of a cluster are sent.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// The kind of evidence that a viewer gives about a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// The arrival of each packet.
    Arrivals,
    /// The round trip of the sender report that follows it at once, which the queue delays that the
    /// cluster has left.
    RoundTrip,
}

impl Witness {
    /// Returns what tells of a cluster; `is_blind`: not the arrival of each packet.
    pub(super) fn of(is_blind: bool) -> Self {
        if is_blind {
            Self::RoundTrip
        } else {
            Self::Arrivals
        }
    }

    pub(super) fn duration(self) -> Duration {
        match self {
            Self::Arrivals => DURATION,
            Self::RoundTrip => BLIND_DURATION,
        }
    }

    /// Returns the rate of the packets of a cluster at `rate` bits per second, beside a stream of
    /// `stream_rate`. If the arrival of each packet is known, the packets of the cluster have the rate
    /// alone. If only the queue is known, the stream fills that as well, so both have it together.
    pub(super) fn own_rate(self, rate: u64, stream_rate: u64) -> u64 {
        match self {
            Self::Arrivals => rate,
            Self::RoundTrip => rate.saturating_sub(stream_rate).max(rate / LEAST_PART),
        }
    }

    /// Returns the bytes of a cluster at `rate` bits per second beside a stream of `stream_rate`.
    pub(super) fn bytes_at(self, rate: u64, stream_rate: u64) -> u64 {
        let of_duration = self.own_rate(rate, stream_rate) / 8
            * (self.duration() + TICK).as_millis() as u64
            / 1000;
        of_duration.max(LEAST_BYTES)
    }
}
