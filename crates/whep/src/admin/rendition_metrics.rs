//! Metrics of renditions: their viewers, and the viewers that move between them.

use distributary_egress::engine::Switches;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metric_labels::Labels;
use super::watching::Watching;

/// Labels of the viewers that move to another rendition.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSwitch {
    direction: &'static str,
    reason: String,
}

/// Labels of a rendition of a stream.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRendition {
    stream: String,
    rendition: String,
}

/// Collects the viewers of each rendition.
pub(super) fn collect_viewers(viewers: &[Watching], labels: &mut Labels, registry: &mut Registry) {
    let renditions = Family::<OfRendition, Gauge>::default();
    for viewer in viewers.iter().filter(|viewer| viewer.is_connected()) {
        if let Watching::Session(info) = viewer {
            let of = OfRendition {
                stream: labels.of(viewer.stream()).stream,
                rendition: info.stream.rendition_id().to_string(),
            };
            renditions.get_or_create(&of).inc();
        }
    }
    registry.register(
        "rendition_viewers",
        "Viewers that receive the video of each rendition, without RTMP players",
        renditions,
    );
}

/// Collects the viewers that have moved, and the clusters of packets that were sent for that.
pub(super) fn collect_switches(switches: &[Switches], probes: u64, registry: &mut Registry) {
    let counted = Family::<OfSwitch, Counter>::default();
    for switch in switches {
        let labels = OfSwitch {
            direction: if switch.is_up { "up" } else { "down" },
            reason: switch.reason.to_string(),
        };
        counted.get_or_create(&labels).inc_by(switch.count);
    }
    registry.register(
        "rendition_switches",
        "Viewers that have moved to a better (up) or a lesser (down) rendition of their stream",
        counted,
    );
    let sent: Counter = Counter::default();
    sent.inc_by(probes);
    registry.register(
        "probes",
        "Clusters of packets sent to find out whether a path carries a better rendition",
        sent,
    );
}
