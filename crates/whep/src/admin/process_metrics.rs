//! Process metrics under the names that all Prometheus clients use.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::process::{ProcessStatus, cpu_time};

type FloatGauge = Gauge<f64, AtomicU64>;

/// Collects what is known of the process, which started this long ago.
#[expect(
    clippy::disallowed_methods,
    reason = "the metric is a time of the wall clock"
)]
pub(super) fn collect(uptime: Duration, registry: &mut Registry) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let started = since.unwrap_or_default().saturating_sub(uptime);
    let start = FloatGauge::default();
    start.set(started.as_secs_f64());
    registry.register_with_unit(
        "process_start_time",
        "Time of the start, in seconds since 1970",
        Unit::Seconds,
        start,
    );
    if let Some(time) = cpu_time() {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(time.as_secs_f64());
        registry.register_with_unit(
            "process_cpu",
            "User and system CPU time",
            Unit::Seconds,
            cpu,
        );
    }
    let status = ProcessStatus::read(None);
    let files = status.open_files.map(|files| files as u64);
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory",
            status.memory_bytes,
        ),
        ("process_open_fds", "Open file descriptors", files),
        (
            "process_max_fds",
            "Maximum number of open file descriptors",
            status.max_open_files,
        ),
    ] {
        if let Some(value) = value {
            let gauge: Gauge = Gauge::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[cfg(target_os = "linux")]
    #[test]
    fn process_has_the_standard_metrics() {
        let mut registry = Registry::default();
        collect(Duration::from_secs(3), &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for name in [
            "process_start_time_seconds ",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(name)),
                "{name}: {text}"
            );
        }
    }
}
