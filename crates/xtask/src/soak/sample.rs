//! The values that are sampled.

use serde_json::Value;

use crate::load::process::Sample as Process;
use crate::load::{Gateway, LoadError};

const MIB: f64 = (1 << 20) as f64;

/// A value of the gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantity {
    /// Name in the table and in the file.
    pub(super) name: &'static str,
    /// Growth over the observed time that is no finding, whatever the value is.
    pub(super) tolerance: f64,
    /// What may be left when all clients have left, beyond what was there before they came.
    pub(super) remainder: f64,
}

const fn quantity(name: &'static str, tolerance: f64, remainder: f64) -> Quantity {
    Quantity {
        name,
        tolerance,
        remainder,
    }
}

/// Number of values of a sample.
pub(super) const COUNT: usize = 12;

/// The values of a sample, in their order.
///
/// The allocator keeps some of the memory that was freed, and threads that were started for the
/// first clients stay. The history keeps streams for 15 minutes after their end, and the metrics have
/// the counters of streams that have ended.
pub(super) const QUANTITIES: [Quantity; COUNT] = [
    quantity("rss MiB", 4.0, 24.0),
    quantity("media MiB", 2.0, 0.0),
    quantity("ingest MiB", 1.0, 0.0),
    quantity("logs MiB", 1.0, 0.0),
    quantity("sessions MiB", 1.0, 0.0),
    quantity("history MiB", 0.5, 1.0),
    quantity("other MiB", 4.0, 24.0),
    quantity("fds", 8.0, 4.0),
    quantity("threads", 2.0, 8.0),
    quantity("sessions", 8.0, 0.0),
    quantity("streams", 2.0, 0.0),
    quantity("metrics", 50.0, f64::INFINITY),
];

/// The values at one moment.
pub(super) type Sample = [f64; COUNT];

/// Index of the sessions in a [`Sample`].
pub(super) const SESSIONS: usize = 9;

/// Index of the streams in a [`Sample`].
pub(super) const STREAMS: usize = 10;

/// Takes a sample of the gateway.
pub(super) fn take(gateway: &Gateway) -> Result<Sample, LoadError> {
    let server = gateway.api("server")?;
    let streams = gateway.api("streams")?;
    let metrics = gateway.get("/metrics")?;
    let process = Process::of(gateway.pid()).ok_or(LoadError::Ended)?;
    Ok(sample(&process, &server, &streams, &metrics))
}

fn sample(process: &Process, server: &Value, streams: &Value, metrics: &str) -> Sample {
    let mib = |part: &str| {
        let bytes = server["memory"]["parts"][part].as_f64();
        bytes.unwrap_or(f64::NAN) / MIB
    };
    let is_value = |line: &&str| !line.starts_with('#') && !line.is_empty();
    [
        process.resident as f64 / MIB,
        mib("media"),
        mib("ingest"),
        mib("logs"),
        mib("sessions"),
        mib("history"),
        mib("other"),
        process.descriptors as f64,
        process.threads as f64,
        server["sessions"].as_f64().unwrap_or(f64::NAN),
        streams["streams"]
            .as_array()
            .map_or(f64::NAN, |streams| streams.len() as f64),
        metrics.lines().filter(is_value).count() as f64,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_the_places_of_their_names() {
        let process = Process {
            resident: 3 << 20,
            threads: 7,
            descriptors: 30,
            of_children: 0,
        };
        let parts = json!({
            "media": 1 << 20, "ingest": 0, "logs": 0, "sessions": 0, "history": 0, "other": 2 << 20,
        });
        let server = json!({ "sessions": 5, "memory": { "parts": parts } });
        let streams = json!({ "streams": [{}, {}] });
        let metrics = "# HELP a text\na 1\nb{c=\"d\"} 2\n# EOF\n";
        let sample = sample(&process, &server, &streams, metrics);
        let value = |name: &str| {
            let quantity = |quantity: &Quantity| quantity.name == name;
            sample[QUANTITIES.iter().position(quantity).unwrap()]
        };
        assert_eq!((value("rss MiB"), value("media MiB")), (3.0, 1.0));
        assert_eq!((value("other MiB"), value("ingest MiB")), (2.0, 0.0));
        assert_eq!((value("threads"), value("fds")), (7.0, 30.0));
        assert_eq!((value("sessions"), value("streams")), (5.0, 2.0));
        assert_eq!(value("metrics"), 2.0);
        assert_eq!((sample[SESSIONS], sample[STREAMS]), (5.0, 2.0));
    }
}
