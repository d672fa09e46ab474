//! The gateway as a node of a cluster.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use distributary_cluster::{
    Cluster, ClusterCounters, ForwardError, LinkState, Node, RemoteStream, Share,
};
use distributary_names::StreamName;
use distributary_whep::admin::{
    ArbiterReport, ClusterCounts, ClusterReport, ClusterView, NodeReport, RemoteStreamReport,
    cpu_time,
};
use distributary_whep::{
    Admission, Nodes, NotForwarded, OtherNodes, RedirectReason, Router, answer_forwarded,
};
use tokio::time::Instant;

/// Interval at which the CPU time is measured.
const CPU_INTERVAL: Duration = Duration::from_millis(500);

/// Number of intervals over which the CPU time is averaged: a moment of work is no load.
const CPU_WINDOW: usize = 6;

/// Maximum number of streams of other nodes that the admin API shows.
const MAX_STREAMS: usize = 1000;

/// Returns the view of the cluster that the admin API shows.
pub(crate) fn view(cluster: &Cluster) -> ClusterView {
    let cluster = cluster.clone();
    ClusterView::new(move || report(&cluster))
}

/// Returns the other nodes, for viewers.
pub(crate) fn nodes(cluster: &Cluster) -> Nodes {
    Nodes::new(Others(cluster.clone()))
}

/// The other nodes of the cluster.
struct Others(Cluster);

impl OtherNodes for Others {
    fn alternates(&self) -> Vec<String> {
        self.0.alternates()
    }

    fn less_loaded(&self, stream: &StreamName) -> Option<String> {
        self.0.less_loaded(stream)
    }

    fn note_redirect(&self, reason: RedirectReason) {
        match reason {
            RedirectReason::Load => self.0.note_redirect_by_load(),
            RedirectReason::Drain => self.0.note_redirect_by_drain(),
        }
    }

    fn this_name(&self) -> &str {
        self.0.node()
    }

    fn this_url(&self) -> Option<String> {
        self.0.public_url()
    }

    fn are_secure(&self) -> bool {
        self.0.are_secure()
    }

    fn url_of(&self, node: &str) -> Option<String> {
        self.0.url_of(node)
    }

    fn forward(
        &self,
        node: &str,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, NotForwarded>> + Send + '_>> {
        let node = node.to_owned();
        Box::pin(async move {
            let answer = self.0.forward(&node, request).await;
            answer.map_err(|error| match error {
                ForwardError::Unknown => NotForwarded::Unknown,
                ForwardError::Silent => NotForwarded::Silent,
                ForwardError::Busy => NotForwarded::Busy,
                ForwardError::Large => NotForwarded::Large,
            })
        })
    }
}

/// Answers requests for sessions of this node that reached another one, until it is dropped.
pub(crate) async fn answer(cluster: Cluster, router: Router) {
    let answer = |request| answer_forwarded(router.clone(), request);
    cluster.answer_forwarded(answer).await;
}

/// Tells the cluster the CPU time of this program, until it is dropped.
pub(crate) async fn measure_load(cluster: Cluster) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut samples = std::collections::VecDeque::with_capacity(CPU_WINDOW + 1);
    // Elsewhere than on Linux nothing is known.
    while let Some(used) = cpu_time() {
        let now = Instant::now();
        samples.push_back((now, used));
        if let Some((then, before)) = samples.front().copied()
            && samples.len() > 1
        {
            let available = (now - then).as_millis() as usize * cores;
            let used = used.saturating_sub(before).as_millis() as usize;
            cluster.set_cpu(Share::of(used, available));
        }
        if samples.len() > CPU_WINDOW {
            samples.pop_front();
        }
        tokio::time::sleep(CPU_INTERVAL).await;
    }
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
        streams: cluster
            .remote_streams(MAX_STREAMS)
            .into_iter()
            .map(remote_stream)
            .collect(),
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

fn remote_stream(RemoteStream { name, node }: RemoteStream) -> RemoteStreamReport {
    RemoteStreamReport {
        name: name.to_string(),
        node,
    }
}

fn node(node: Node) -> NodeReport {
    NodeReport {
        name: node.name,
        zone: node.zone,
        version: node.version,
        compatible: node.is_compatible,
        url: Some(node.url).filter(|url| !url.is_empty()),
        load_percent: node.load.as_percent(),
        cpu_percent: node.cpu.map(Share::as_percent),
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
        redirects_load: counters.redirects_load,
        redirects_drain: counters.redirects_drain,
    }
}
