//! `GET /api/cluster`: the nodes of the cluster, and what this one does in it.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::answer::fresh;
use super::door::AdminDoor;

/// A view of the cluster that this gateway belongs to. Cloning gives another handle.
#[derive(Clone)]
pub struct ClusterView(Arc<dyn Fn() -> ClusterReport + Send + Sync>);

/// The state of the cluster, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterReport {
    /// The name of this node.
    pub node: String,
    /// True if a NATS server is connected that can be used.
    pub connected: bool,
    /// The connected server.
    pub server: Option<String>,
    /// The reason why the cluster does not work, if it does not.
    pub problem: Option<String>,
    /// The nodes, sorted by name.
    pub nodes: Vec<NodeReport>,
    /// The arbiter of stream names.
    pub arbiter: ArbiterReport,
    /// Streams that publishers of this node use.
    pub owned: usize,
    /// Streams of other nodes that viewers of this node watch.
    pub watched: usize,
    /// Streams that publishers of other nodes use, sorted by name, 1000 at most.
    pub streams: Vec<RemoteStreamReport>,
    /// Counters since the start.
    pub counters: ClusterCounts,
}

/// The arbiter of stream names, as one node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArbiterReport {
    /// True if it answers.
    pub reachable: bool,
    /// Seconds for which that has been so.
    pub seconds: u64,
    /// Names of this node that it has not confirmed.
    pub unconfirmed: usize,
}

/// A node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// The version of its program.
    pub version: String,
    /// True if it and this node read a common version of messages; otherwise they share no streams.
    pub compatible: bool,
    /// URL of its HTTP listener, as players reach it; `None` if it does not say.
    pub url: Option<String>,
    /// Its load in percent: CPU time, or its share of the maximum number of viewers if that is more.
    pub load_percent: u8,
    /// CPU time in percent of what the program may use; `None` if it is not known.
    pub cpu_percent: Option<u8>,
    /// Its viewers.
    pub viewers: u64,
    /// The streams that its publishers use.
    pub streams: u64,
    /// True if it is about to end.
    pub draining: bool,
}

/// A stream that a publisher of another node uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemoteStreamReport {
    /// Its name.
    pub name: String,
    /// The node.
    pub node: String,
}

/// Counters of this node since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterCounts {
    /// Connections to NATS servers.
    pub connections: u64,
    /// Names that were claimed.
    pub claims_owned: u64,
    /// Claims that the arbiter could not confirm at once.
    pub claims_provisional: u64,
    /// Names that the arbiter confirmed after they were used provisionally.
    pub claims_confirmed: u64,
    /// Claims that were refused.
    pub claims_refused: u64,
    /// Streams that were lost to another node.
    pub fenced: u64,
    /// Streams of other nodes that were joined.
    pub joins: u64,
    /// Attempts to join that failed.
    pub joins_failed: u64,
    /// Streams that were joined again after frames were lost.
    pub rejoins: u64,
    /// Gaps in streams of other nodes.
    pub gaps: u64,
    /// Frames sent to other nodes.
    pub frames_out: u64,
    /// Bytes sent to other nodes.
    pub bytes_out: u64,
    /// Frames received from other nodes.
    pub frames_in: u64,
    /// Bytes received from other nodes.
    pub bytes_in: u64,
    /// Received frames dropped because they were too late.
    pub dropped_late: u64,
    /// Messages not sent because no NATS server was connected.
    pub dropped_away: u64,
    /// Frames not sent because they are too large, or have too many units.
    pub dropped_large: u64,
    /// Messages of other nodes dropped because they are malformed.
    pub malformed: u64,
    /// Messages of nodes that speak another version.
    pub other_version: u64,
    /// New viewers redirected to another node because this one had too much load.
    pub redirects_load: u64,
    /// New viewers redirected to another node because this one drained.
    pub redirects_drain: u64,
}

/// The response.
#[derive(Serialize)]
struct ClusterStatus {
    /// `None` if this gateway does not belong to a cluster.
    cluster: Option<ClusterReport>,
}

impl ClusterView {
    /// Returns the view that reports what `report` returns.
    pub fn new(report: impl Fn() -> ClusterReport + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    pub(super) fn report(&self) -> ClusterReport {
        (self.0)()
    }
}

impl fmt::Debug for ClusterView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterView")
    }
}

pub(super) async fn cluster(State(door): State<AdminDoor>) -> Response {
    fresh(ClusterStatus {
        cluster: door.cluster.as_ref().map(ClusterView::report),
    })
}
