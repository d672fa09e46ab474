//! Detects growth of a path's delay (draft-ietf-rmcat-gcc-02 sections 5.2 to 5.4).

use std::collections::VecDeque;

/// Packets sent within this many microseconds are one group: the gateway sends a frame at once.
const GROUP_SPAN: u32 = 5_000;

/// Number of groups in the window of the trend.
const WINDOW: usize = 20;

/// Weight of the previous value in the smoothed delay.
const SMOOTHING: f32 = 0.9;

/// Factor on the slope before the comparison: the slope counts more the more groups it is based on,
/// up to a limit.
const GAIN: f32 = 4.0;
const MAX_COUNTED: u32 = 60;

/// The threshold follows the trend so that one stream does not starve beside others
/// (draft-ietf-rmcat-gcc-02 section 5.4): quickly down, slowly up, within bounds.
const FIRST_THRESHOLD: f32 = 12.5;
const THRESHOLD_BOUNDS: (f32, f32) = (6.0, 600.0);
const THRESHOLD_UP: f32 = 0.0087;
const THRESHOLD_DOWN: f32 = 0.039;
/// A trend this far above the threshold does not move it: it is a change of the route.
const THRESHOLD_LEAP: f32 = 15.0;

/// Time in milliseconds that the trend must be above the threshold.
const OVERUSE_TIME: f32 = 10.0;

/// The state of the path by the trend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    /// Delays stay as they are.
    #[default]
    Normal,
    /// Delays grow: the send rate is above the path's bandwidth.
    Over,
    /// Delays shrink: a queue empties.
    Under,
}

/// The trend of the delay, from the times at which groups of packets were sent and arrived.
///
/// The draft uses a Kalman filter. This computes the slope of a line through the last accumulated
/// differences, which is as cheap and detects a slow path sooner; the detector after it is the
/// draft's.
#[derive(Debug)]
pub(super) struct DelayTrend {
    present: Option<Group>,
    previous: Option<Group>,
    /// Sum of all differences, and the same smoothed; milliseconds.
    accumulated: f32,
    smoothed: f32,
    /// Arrival in milliseconds since the first, and smoothed delay.
    points: VecDeque<(f32, f32)>,
    origin: Option<i64>,
    count: u32,
    threshold: f32,
    last_trend: f32,
    over_for: f32,
    usage: Usage,
}

/// Packets that were sent together.
#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: u32,
    last_sent: u32,
    /// Microseconds of the receiver's clock.
    last_arrival: i64,
}

impl DelayTrend {
    pub(super) fn new() -> Self {
        Self {
            present: None,
            previous: None,
            accumulated: 0.0,
            smoothed: 0.0,
            points: VecDeque::with_capacity(WINDOW),
            origin: None,
            count: 0,
            threshold: FIRST_THRESHOLD,
            last_trend: 0.0,
            over_for: 0.0,
            usage: Usage::Normal,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// Handles a packet that was sent at `sent` (modulo 2^32) and arrived at `arrival`, both in
    /// microseconds of unrelated clocks.
    pub(super) fn handle_packet(&mut self, sent: u32, arrival: i64) {
        let Some(group) = &mut self.present else {
            self.present = Some(Group::of(sent, arrival));
            return;
        };
        let after_first = sent.wrapping_sub(group.first_sent).cast_signed();
        if after_first < 0 {
            // A later group has overtaken it: its time says nothing about the queue.
            return;
        }
        if after_first.cast_unsigned() <= GROUP_SPAN {
            group.last_sent = sent;
            group.last_arrival = group.last_arrival.max(arrival);
            return;
        }
        let complete = *group;
        self.present = Some(Group::of(sent, arrival));
        if let Some(previous) = self.previous.replace(complete) {
            self.handle_groups(previous, complete);
        }
    }

    fn handle_groups(&mut self, previous: Group, group: Group) {
        let arrived = (group.last_arrival - previous.last_arrival) as f32 / 1000.0;
        let sent = group.last_sent.wrapping_sub(previous.last_sent) as f32 / 1000.0;
        self.count = (self.count + 1).min(MAX_COUNTED);
        self.accumulated += arrived - sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        let origin = *self.origin.get_or_insert(previous.last_arrival);
        let at = (group.last_arrival - origin) as f32 / 1000.0;
        if self.points.len() == WINDOW {
            self.points.pop_front();
        }
        self.points.push_back((at, self.smoothed));
        if self.points.len() == WINDOW {
            self.detect(slope(&self.points), sent);
        }
        self.settle();
    }

    /// Compares the trend with the threshold (draft-ietf-rmcat-gcc-02 section 5.4).
    fn detect(&mut self, slope: f32, elapsed: f32) {
        let trend = self.count as f32 * slope * GAIN;
        if trend > self.threshold {
            self.over_for += elapsed;
            if self.over_for > OVERUSE_TIME && trend >= self.last_trend {
                self.over_for = 0.0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_for = 0.0;
            self.usage = if trend < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.last_trend = trend;
        if trend.abs() <= self.threshold + THRESHOLD_LEAP {
            let gain = if trend.abs() < self.threshold {
                THRESHOLD_DOWN
            } else {
                THRESHOLD_UP
            };
            let (least, most) = THRESHOLD_BOUNDS;
            let change = gain * (trend.abs() - self.threshold) * elapsed.min(100.0);
            self.threshold = (self.threshold + change).clamp(least, most);
        }
    }

    /// Keeps the sums small: single precision has seven digits.
    fn settle(&mut self) {
        let far = |value: f32| value.abs() > 60_000.0;
        let last = self.points.back().map_or(0.0, |(at, _)| *at);
        if !far(last) && !far(self.accumulated) {
            return;
        }
        let shift = self.smoothed;
        self.accumulated -= shift;
        self.smoothed = 0.0;
        for (at, delay) in &mut self.points {
            *at -= last;
            *delay -= shift;
        }
        self.origin = self.origin.map(|origin| origin + (last * 1000.0) as i64);
    }
}

impl Group {
    fn of(sent: u32, arrival: i64) -> Self {
        Self {
            first_sent: sent,
            last_sent: sent,
            last_arrival: arrival,
        }
    }
}

/// Returns the slope of the least-squares line through the points.
fn slope(points: &VecDeque<(f32, f32)>) -> f32 {
    let count = points.len() as f32;
    let (sum_x, sum_y) = points
        .iter()
        .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), (x, y)| {
        let from_mean = x - mean_x;
        (
            above + from_mean * (y - mean_y),
            below + from_mean * from_mean,
        )
    });
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Handles one group per frame every 33 ms with a delay of `delay(n)` milliseconds. Returns the
    /// states found, without consecutive repetitions.
    fn found(groups: u32, delay: impl Fn(u32) -> f64) -> Vec<Usage> {
        let mut trend = DelayTrend::new();
        let mut found = vec![Usage::Normal];
        for n in 0..groups {
            // The clocks start anywhere, and the sender's wraps.
            let sent = 0xffff_0000_u32.wrapping_add(33_000_u32.wrapping_mul(n));
            for packet in 0..9 {
                let arrival = 33.0 * f64::from(n) + delay(n) + f64::from(packet) * 0.1;
                trend.handle_packet(sent, (arrival * 1000.0) as i64 + 77);
            }
            if found.last() != Some(&trend.usage()) {
                found.push(trend.usage());
            }
        }
        found
    }

    #[test]
    fn steady_path_is_normal_for_hours() {
        let jitter = |n: u32| f64::from(n.wrapping_mul(2_654_435_761) >> 24) / 64.0;
        assert_eq!(found(400_000, |n| 20.0 + jitter(n)), [Usage::Normal]);
    }

    #[test]
    fn growing_queue_is_overuse_and_an_emptying_one_the_opposite() {
        let delay = |n: u32| match n {
            0..60 => 20.0,
            60..100 => 20.0 + 10.0 * f64::from(n - 60),
            100..140 => 420.0 - 10.0 * f64::from(n - 100),
            _ => 20.0,
        };
        let found = found(260, delay);
        assert_eq!(found[..2], [Usage::Normal, Usage::Over]);
        assert!(found.contains(&Usage::Under), "{found:?}");
        assert_eq!(found.last(), Some(&Usage::Normal));
    }

    #[test]
    fn overtaken_packets_are_ignored() {
        let mut trend = DelayTrend::new();
        for n in 0..200_u32 {
            trend.handle_packet(33_000 * n + 100_000, i64::from(33_000 * n));
            trend.handle_packet(33_000 * n, i64::from(33_000 * n) + 90_000);
        }
        assert_eq!(trend.usage(), Usage::Normal);
    }
}
