//! The samples of a run.

use std::time::Duration;

use super::sample::Sample;

/// All samples, in their order.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Before the first client.
    pub(super) before: Sample,
    /// With the load, each with the time since it began.
    pub(super) load: Vec<(Duration, Sample)>,
    /// After the last client.
    pub(super) after: Sample,
}

impl Course {
    /// Returns the samples from a time on, each as seconds and the value with this index.
    pub(super) fn since(&self, begin: Duration, index: usize) -> Vec<(f64, f64)> {
        let samples = self.load.iter().filter(|(at, _)| *at >= begin);
        samples
            .map(|(at, sample)| (at.as_secs_f64(), value(sample, index)))
            .collect()
    }
}

/// Returns the value with an index.
pub(super) fn value(sample: &Sample, index: usize) -> f64 {
    sample.get(index).copied().unwrap_or(f64::NAN)
}
