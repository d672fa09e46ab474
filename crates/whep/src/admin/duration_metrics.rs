//! Durations that the engine has counted, as metrics.

use std::fmt;

use distributary_egress::engine::{DurationCounts, JoinHistogram};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Histograms of joins by step. The shards count them, so they are encoded as they are.
#[derive(Debug)]
pub(super) struct JoinMetric(pub(super) Vec<JoinHistogram>);

impl EncodeMetric for JoinMetric {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for JoinHistogram { step, durations } in &self.0 {
            let labels = [("step", step.as_str())];
            write(durations, encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A histogram without labels.
#[derive(Debug)]
pub(super) struct DurationMetric(pub(super) DurationCounts);

impl EncodeMetric for DurationMetric {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        write(&self.0, encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn write(durations: &DurationCounts, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    let DurationCounts {
        count,
        sum,
        buckets,
    } = durations;
    encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), *count, buckets, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use distributary_egress::engine::JoinStep;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    #[test]
    fn steps_are_cumulative_histograms() {
        let mut registry = Registry::default();
        let histogram = JoinHistogram {
            step: JoinStep::Handshake,
            durations: DurationCounts {
                count: 3,
                sum: Duration::from_millis(150),
                buckets: vec![(0.01, 1), (0.1, 1), (f64::MAX, 1)],
            },
        };
        registry.register("join", "Joins", JoinMetric(vec![histogram]));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE join histogram",
            "join_sum{step=\"handshake\"} 0.15",
            "join_count{step=\"handshake\"} 3",
            "join_bucket{le=\"0.01\",step=\"handshake\"} 1",
            "join_bucket{le=\"0.1\",step=\"handshake\"} 2",
            "join_bucket{le=\"+Inf\",step=\"handshake\"} 3",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}:\n{text}");
        }
    }
}
