//! The expiry of certificates as a metric.

use std::path::PathBuf;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::door::AdminDoor;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfFile {
    file: String,
}

/// Returns the file of each certificate in use, and the time at which it expires, in seconds since
/// 1970.
pub(super) fn validities(door: &AdminDoor) -> Vec<(PathBuf, i64)> {
    let validities = door
        .certificates
        .iter()
        .flat_map(|certificate| certificate.validities());
    validities
        .map(|validity| (validity.file.clone(), validity.end()))
        .collect()
}

pub(super) fn collect(validities: &[(PathBuf, i64)], registry: &mut Registry) {
    let expiry = Family::<OfFile, Gauge>::default();
    for (file, end) in validities {
        // The encoder does not escape values.
        let file = file.display().to_string().escape_default().to_string();
        expiry.get_or_create(&OfFile { file }).set(*end);
    }
    registry.register_with_unit(
        "certificate_expiry_timestamp",
        "Time at which the certificate in a file expires, in seconds since 1970",
        Unit::Seconds,
        expiry,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn expiry_is_a_metric_by_file() {
        let mut registry = Registry::with_prefix("distributary");
        let validities = [("/a\"b.pem".into(), 1_893_456_000)];
        collect(&validities, &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let expected =
            "distributary_certificate_expiry_timestamp_seconds{file=\"/a\\\"b.pem\"} 1893456000\n";
        assert!(text.contains(expected), "{text}");
    }
}
