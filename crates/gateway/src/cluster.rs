//! The gateway as a node of a cluster.

use distributary_cluster::{Cluster, ClusterCounters, LinkState, Node};
use distributary_whep::Admission;
use distributary_whep::admin::{
    ArbiterReport, ClusterCounts, ClusterReport, ClusterView, NodeReport,
};

/// Returns the view of the cluster that the admin API shows.
pub(crate) fn view(cluster: &Cluster) -> ClusterView {
    let cluster = cluster.clone();
    ClusterView::new(move || report(&cluster))
}

/// Tells the cluster when the gateway drains, and load balancers when the node is ready: once it
/// has been connected. It stays ready when the connection is lost later, since streams that are
/// published here go on.
pub(crate) async fn follow(cluster: Cluster, admission: Admission) {
    admission.set_unready(Some("This node has not reached its cluster yet."));
    let mut link = cluster.link();
    let connected = async {
        let state = link.wait_for(|state| *state == LinkState::Connected);
        if state.await.is_ok() {
            admission.set_unready(None);
        }
        std::future::pending::<()>().await;
    };
    let mut drain = admission.watch();
    let draining = async {
        while drain.changed().await.is_ok() {
            cluster.set_draining(drain.borrow_and_update().is_some());
        }
    };
    tokio::join!(connected, draining);
}

fn report(cluster: &Cluster) -> ClusterReport {
    let status = cluster.status();
    ClusterReport {
        node: status.node,
        connected: status.server.is_some(),
        server: status.server,
        problem: problem(&status.link),
        nodes: status.nodes.into_iter().map(node).collect(),
        arbiter: ArbiterReport {
            reachable: status.arbiter.is_reachable,
            seconds: status.arbiter.duration.as_secs(),
            unconfirmed: status.arbiter.unconfirmed,
        },
        owned: status.owned,
        watched: status.watched,
        counters: counts(&status.counters),
    }
}

fn problem(link: &LinkState) -> Option<String> {
    match link {
        LinkState::Connected => None,
        LinkState::TooOld(version) => Some(format!(
            "The NATS server has the version {version}, which is too old."
        )),
        LinkState::Away => Some("No NATS server is connected.".to_owned()),
    }
}

fn node(node: Node) -> NodeReport {
    NodeReport {
        name: node.name,
        zone: node.zone,
        version: node.version,
        url: Some(node.url).filter(|url| !url.is_empty()),
        viewers: node.viewers,
        streams: node.streams,
        draining: node.draining,
    }
}

fn counts(counters: &ClusterCounters) -> ClusterCounts {
    ClusterCounts {
        connections: counters.connections,
        claims_owned: counters.claims_owned,
        claims_provisional: counters.claims_provisional,
        claims_confirmed: counters.claims_confirmed,
        claims_refused: counters.claims_refused,
        fenced: counters.fenced,
        joins: counters.joins,
        joins_failed: counters.joins_failed,
        rejoins: counters.rejoins,
        gaps: counters.gaps,
        frames_out: counters.frames_out,
        bytes_out: counters.bytes_out,
        frames_in: counters.frames_in,
        bytes_in: counters.bytes_in,
        dropped_late: counters.dropped_late,
        dropped_away: counters.dropped_away,
        dropped_large: counters.dropped_large,
        malformed: counters.malformed,
        other_version: counters.other_version,
    }
}
