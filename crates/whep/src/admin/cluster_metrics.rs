//! Metrics of the cluster.

use std::hash::Hash;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::cluster::{ClusterCounts, ClusterReport};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Collects the metrics of the cluster.
pub(super) fn collect(report: &ClusterReport, registry: &mut Registry) {
    let registry = registry.sub_registry_with_prefix("cluster");
    collect_state(report, registry);
    collect_counts(&report.counters, registry);
    collect_media(&report.counters, registry);
}

fn collect_state(report: &ClusterReport, registry: &mut Registry) {
    for (name, help, value) in [
        (
            "connected",
            "Whether a NATS server is connected that can be used",
            usize::from(report.connected),
        ),
        (
            "arbiter_reachable",
            "Whether the arbiter of stream names answers",
            usize::from(report.arbiter.reachable),
        ),
        (
            "unconfirmed",
            "Streams of this node whose names the arbiter has not confirmed",
            report.arbiter.unconfirmed,
        ),
        (
            "nodes",
            "Nodes of the cluster, this one included",
            report.nodes.len(),
        ),
        (
            "owned",
            "Streams that publishers of this node use",
            report.owned,
        ),
        (
            "watched",
            "Streams of other nodes that viewers of this node watch",
            report.watched,
        ),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
}

fn collect_counts(counts: &ClusterCounts, registry: &mut Registry) {
    for (name, help, value) in [
        (
            "connections",
            "Connections to NATS servers that were established",
            counts.connections,
        ),
        (
            "fenced",
            "Streams that were lost to another node",
            counts.fenced,
        ),
        (
            "rejoins",
            "Streams that were joined again after frames were lost",
            counts.rejoins,
        ),
        ("gaps", "Gaps in streams of other nodes", counts.gaps),
        (
            "malformed",
            "Messages of other nodes dropped because they are malformed",
            counts.malformed,
        ),
        (
            "other_version",
            "Messages dropped because their sender speaks another version",
            counts.other_version,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let claims = [
        ("owned", counts.claims_owned),
        ("provisional", counts.claims_provisional),
        ("confirmed", counts.claims_confirmed),
        ("refused", counts.claims_refused),
    ];
    let claims = family(claims.map(|(outcome, value)| (Outcome { outcome }, value)));
    registry.register("claims", "Claims of stream names, by outcome", claims);
    let joins = [("joined", counts.joins), ("failed", counts.joins_failed)];
    let joins = family(joins.map(|(outcome, value)| (Outcome { outcome }, value)));
    registry.register(
        "joins",
        "Requests to join streams of other nodes, by outcome",
        joins,
    );
    let redirects = [
        ("load", counts.redirects_load),
        ("drain", counts.redirects_drain),
    ];
    registry.register(
        "redirects",
        "New viewers redirected to another node, by reason",
        family(redirects.map(|(reason, value)| (Reason { reason }, value))),
    );
}

fn collect_media(counts: &ClusterCounts, registry: &mut Registry) {
    let directions = |values: [(&'static str, u64); 2]| {
        family(values.map(|(direction, value)| (Direction { direction }, value)))
    };
    registry.register(
        "frames",
        "Frames sent to and received from other nodes",
        directions([("out", counts.frames_out), ("in", counts.frames_in)]),
    );
    registry.register(
        "bytes",
        "Bytes sent to and received from other nodes",
        directions([("out", counts.bytes_out), ("in", counts.bytes_in)]),
    );
    let dropped = [
        ("late", counts.dropped_late),
        ("away", counts.dropped_away),
        ("large", counts.dropped_large),
    ];
    registry.register(
        "dropped",
        "Frames from other nodes that came too late, messages that could not be sent because no \
         NATS server was connected, and frames that are too large to be sent",
        family(dropped.map(|(reason, value)| (Reason { reason }, value))),
    );
}

fn family<L, const N: usize>(values: [(L, u64); N]) -> Family<L, Counter>
where
    L: Clone + Hash + Eq,
{
    let family = Family::<L, Counter>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).inc_by(value);
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn metrics_have_the_values_of_the_report() {
        let report = ClusterReport {
            connected: true,
            owned: 3,
            counters: ClusterCounts {
                fenced: 2,
                bytes_in: 7,
                redirects_load: 4,
                ..ClusterCounts::default()
            },
            ..ClusterReport::default()
        };
        let mut registry = Registry::default();
        collect(&report, &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "cluster_connected 1",
            "cluster_owned 3",
            "cluster_fenced_total 2",
            "cluster_bytes_total{direction=\"in\"} 7",
            "cluster_redirects_total{reason=\"load\"} 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }
}
