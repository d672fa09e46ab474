//! Percentiles over many viewers.

use std::time::Duration;

use serde::Serialize;

/// Percentiles of durations, in milliseconds, by the nearest-rank method: each is a value that was
/// measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Number of values there are.
    pub count: usize,
    /// Half of the values are not above this one.
    pub p50: f64,
    /// 95 of 100 are not above this one.
    pub p95: f64,
    /// 99 of 100 are not above this one.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Percentiles {
    /// Returns the percentiles of `durations`; `None` if there are none.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().map(millis)
        };
        Some(Self {
            count: sorted.len(),
            p50: rank(50)?,
            p95: rank(95)?,
            p99: rank(99)?,
            max: rank(100)?,
        })
    }
}

/// Returns a duration in milliseconds, to the microsecond.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_percentile_is_a_measured_value() {
        let durations = (1..=200).rev().map(Duration::from_millis);
        let percentiles = Percentiles::of(durations).unwrap();
        assert_eq!(percentiles.count, 200);
        assert_eq!(percentiles.p50, 100.0);
        assert_eq!(percentiles.p95, 190.0);
        assert_eq!(percentiles.p99, 198.0);
        assert_eq!(percentiles.max, 200.0);
    }

    #[test]
    fn percentiles_of_one_value_are_that_value_and_of_none_are_none() {
        let one = Percentiles::of([Duration::from_micros(1500)]).unwrap();
        assert_eq!((one.p50, one.p95, one.p99, one.max), (1.5, 1.5, 1.5, 1.5));
        assert_eq!(Percentiles::of([]), None);
    }
}
