//! The node of a cluster: starts and ends all its parts together.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_hub::{Admission, Demand, EventLimit, Hub};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info};

use crate::arbiter::{Arbiter, ArbiterDriver};
use crate::clock::now;
use crate::config::{ClusterConfig, ConfigFault, Label};
use crate::context::{Context, MAX_CHECKS};
use crate::control::{Announced, Beacon, Control, Join, Keep};
use crate::edges::Edges;
use crate::entries::{News, Process};
use crate::forward;
use crate::keeps::Keeps;
use crate::link::{Link, LinkDriver, LinkError, LinkState};
use crate::load;
use crate::nodes::{Change, Node, Nodes};
use crate::owner::Lost;
use crate::owners::Owners;
use crate::roster::Rosters;
use crate::roster_exchange;
use crate::share::Share;
use crate::stats::{ClusterCounters, Counters};
use crate::subject::Subjects;
use crate::subscription::{Subscription, is_from, next, reply_to};
use crate::versions::{MessageVersions, OtherVersions};

/// Interval of beacons.
const BEACON_INTERVAL: Duration = Duration::from_millis(500);

/// Interval at which owners are looked for of streams that viewers wait for. Normally their
/// announcement tells earlier; it can get lost with a connection.
const SEARCH_INTERVAL: Duration = Duration::from_secs(2);

/// Limit of log lines about nodes that come and go: a cluster of ordinary size at once.
const CHANGES: EventLimit = EventLimit::new(64, Duration::from_secs(10));

/// Maximum time for which a node that ends gives its names back.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// News of the arbiter's bucket in the queue; the watch waits for room.
const MAX_NEWS: usize = 256;

/// Maximum names in the queue of those that this node has lost; their owners wait for room.
const MAX_LOST: usize = 64;

/// A node that is not connected yet.
pub struct ClusterSetup {
    config: ClusterConfig,
    node: Label,
    hub: Hub,
    demands: mpsc::Receiver<Demand>,
    admissions: mpsc::Receiver<Admission>,
}

/// A node of a cluster. A clone is a handle to the same node.
#[derive(Clone)]
pub struct Cluster {
    context: Arc<Context>,
    owners: Arc<Owners>,
    keeps: Arc<Keeps>,
    /// Limits the log lines about nodes that come and go.
    changes: Arc<Mutex<EventLimit>>,
    /// Locked before the table of nodes where both are needed.
    rosters: Arc<Mutex<Rosters>>,
}

/// The tasks of a node, before they run.
pub struct ClusterDriver {
    cluster: Cluster,
    link: LinkDriver,
    arbiter: ArbiterDriver,
    demands: mpsc::Receiver<Demand>,
    admissions: mpsc::Receiver<Admission>,
    lost: mpsc::Receiver<Lost>,
    news: mpsc::Receiver<News>,
}

/// The state of the arbiter of stream names, as one node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArbiterStatus {
    /// True if it answers.
    pub is_reachable: bool,
    /// Time for which that has been so.
    pub duration: Duration,
    /// Names of this node that it has not confirmed.
    pub unconfirmed: usize,
}

/// The state of a node and of its cluster.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// The name of the node.
    pub node: String,
    /// The state of the connection to the NATS servers.
    pub link: LinkState,
    /// The connected server.
    pub server: Option<String>,
    /// The nodes, sorted by name.
    pub nodes: Vec<Node>,
    /// The arbiter of stream names.
    pub arbiter: ArbiterStatus,
    /// Streams that publishers of this node use.
    pub owned: usize,
    /// Streams of other nodes that this node watches.
    pub watched: usize,
    /// Counters since the start.
    pub counters: ClusterCounters,
}

impl ClusterSetup {
    /// Prepares a node: from now on the hub asks it for streams, and before a name is published.
    /// Nothing is answered before the driver runs.
    ///
    /// # Errors
    /// Returns [`ConfigFault`] if the configuration cannot be used.
    pub fn new(config: &ClusterConfig, hub: Hub) -> Result<Self, ConfigFault> {
        if let Some(fault) = config.check().into_iter().next() {
            return Err(fault);
        }
        Ok(Self {
            node: config.node()?,
            config: config.clone(),
            demands: hub.provide_from_elsewhere(),
            admissions: hub.arbitrate(),
            hub,
        })
    }

    /// Starts connecting to the NATS servers. Servers that cannot be reached are no error: they are
    /// tried again.
    ///
    /// # Errors
    /// Returns [`LinkError`] if the settings of the connection are refused.
    pub async fn connect(self) -> Result<(Cluster, ClusterDriver), LinkError> {
        let Self { config, node, .. } = self;
        let subjects = Subjects::new(&config.name);
        let counters = Arc::<Counters>::default();
        let link = Link::open(&config, node.as_str(), Arc::clone(&counters));
        let (link, link_driver) = link.await?;
        let instance = rand::random();
        let process = Process {
            node: node.clone(),
            instance,
        };
        let (news_in, news) = mpsc::channel(MAX_NEWS);
        let (arbiter, arbiter_driver) = Arbiter::new(&link, subjects.bucket(), process, news_in);
        let context = Arc::new(Context {
            link,
            arbiter,
            subjects,
            instance,
            zone: config.zone,
            url: config.public_url,
            without_arbiter: config.without_arbiter,
            silence: config.silence,
            counters,
            other_versions: OtherVersions::default(),
            origin: now(),
            draining: AtomicBool::new(false),
            cpu: AtomicU8::new(load::CPU_UNKNOWN),
            redirect_at: config.redirect_at,
            joins: Context::join_slots(),
            forwarded: forward::slots(),
            checks: Semaphore::new(MAX_CHECKS),
            nodes: Mutex::new(Nodes::new(node.clone(), instance)),
            node,
            hub: self.hub,
        });
        let (lost_in, lost) = mpsc::channel(MAX_LOST);
        let cluster = Cluster {
            owners: Owners::new(Arc::clone(&context), lost_in),
            keeps: Arc::default(),
            changes: Arc::new(Mutex::new(CHANGES)),
            rosters: Arc::default(),
            context,
        };
        let driver = ClusterDriver {
            cluster: cluster.clone(),
            link: link_driver,
            arbiter: arbiter_driver,
            demands: self.demands,
            admissions: self.admissions,
            lost,
            news,
        };
        Ok((cluster, driver))
    }
}

impl Cluster {
    /// Returns the state of the node and of its cluster.
    pub fn status(&self) -> ClusterStatus {
        let reach = self.context.arbiter.reach();
        let arbiter = ArbiterStatus {
            is_reachable: reach.is_reachable,
            duration: now().saturating_duration_since(reach.since),
            unconfirmed: self.owners.unconfirmed(),
        };
        ClusterStatus {
            arbiter,
            node: self.context.node.to_string(),
            link: self.context.link.state().borrow().clone(),
            server: self.context.link.server(),
            nodes: self.list_nodes(),
            owned: self.owners.count(),
            watched: self.keeps.count(),
            counters: self.context.counters.read(),
        }
    }

    /// Follows the state of the connection to the NATS servers.
    pub fn link(&self) -> watch::Receiver<LinkState> {
        self.context.link.state()
    }

    /// Sets whether the node is about to end. Then other nodes may have the names of its streams at
    /// once.
    pub fn set_draining(&self, draining: bool) {
        self.context.draining.store(draining, Ordering::Relaxed);
    }

    /// Gives all names back, so that other nodes know at once, and does not wait for long.
    async fn leave(&self) {
        let left = async {
            self.owners.close().await;
            // What was said has to go out before the connection ends.
            let _ = self.context.link.client().flush().await;
        };
        if timeout(LEAVE_LIMIT, left).await.is_err() {
            debug!("not all names are given back in time");
        }
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn rosters(&self) -> &Mutex<Rosters> {
        &self.rosters
    }

    pub(crate) fn list_nodes(&self) -> Vec<Node> {
        self.context.nodes().list()
    }

    async fn send_beacon(&self) {
        let context = &self.context;
        let beacon = Beacon {
            node: context.node.clone(),
            instance: context.instance,
            zone: context.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            messages: MessageVersions::THIS,
            url: context.url.clone(),
            viewers: u64::try_from(context.hub.viewers().count()).unwrap_or(u64::MAX),
            streams: u64::try_from(self.owners.count()).unwrap_or(u64::MAX),
            draining: context.draining.load(Ordering::Relaxed),
            cpu: load::cpu(context).map(Share::as_percent),
            load: load::load(context).as_percent(),
        };
        let subject = context.subjects.beacon(&context.zone, &context.node);
        context.link.publish(&subject, beacon.to_json()).await;
        self.handle_beacon(beacon);
    }

    /// Notes the state of a node. Returns whether it has joined the cluster.
    fn handle_beacon(&self, beacon: Beacon) -> bool {
        let change = self.context.nodes().handle(beacon, now());
        if let Some(change) = &change {
            self.log(change);
        }
        matches!(change, Some(Change::Joined(_)))
    }

    fn expire_nodes(&self) {
        let gone = self.context.nodes().expire(now());
        let mut rosters = self.rosters.lock().unwrap_or_else(PoisonError::into_inner);
        for change in &gone {
            if let Change::Left(node) = change {
                rosters.forget(node);
            }
        }
        drop(rosters);
        gone.iter().for_each(|change| self.log(change));
    }

    /// Logs a change in the table of nodes, unless there were many.
    fn log(&self, change: &Change) {
        let mut limit = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = limit.admit(now());
        drop(limit);
        let Some(held_back) = admitted else {
            return;
        };
        match change {
            Change::Joined(node) => info!(%node, held_back, "node has joined the cluster"),
            Change::Left(node) => info!(%node, held_back, "node has left the cluster"),
            Change::Incompatible(node, messages) => error!(
                %node, held_back,
                reads = %format_args!("{} to {}", messages.oldest, messages.newest),
                "a node of the cluster and this one read no common version of messages, and share no \
                 streams: upgrade the older one, one release at a time"
            ),
            Change::SameName(node) => error!(
                %node, held_back,
                "another node of the cluster has the same name: set node under [cluster] to different \
                 names"
            ),
        }
    }
}

impl ClusterDriver {
    /// Runs the node until `shutdown` completes, and then gives its names back, within a second.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            cluster,
            link,
            arbiter,
            demands,
            admissions,
            lost,
            news,
        } = self;
        let context = Arc::clone(&cluster.context);
        let keeps = Arc::clone(&cluster.keeps);
        let parts = async {
            tokio::select! {
                () = link.run() => {}
                () = arbiter.run() => {}
                () = keeps.run(&context) => {}
                () = beacons(&cluster) => {}
                () = roster_exchange::run(&context, &cluster.rosters) => {}
                () = serve(&cluster, demands, admissions, lost, news) => {}
            }
        };
        tokio::pin!(parts);
        tokio::select! {
            () = shutdown => {}
            () = &mut parts => return,
        }
        tokio::select! {
            () = cluster.leave() => {}
            () = &mut parts => {}
        }
    }
}

/// Sends the beacons of this node, and receives those of the others.
async fn beacons(cluster: &Cluster) {
    let context = &cluster.context;
    let mut others = subscribe(context, &context.subjects.all_beacons()).await;
    let mut interval = interval(BEACON_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_joined = false;
    loop {
        tokio::select! {
            _ = interval.tick() => {
                cluster.send_beacon().await;
                cluster.expire_nodes();
                // Once for all nodes, however many beacons arrive.
                if std::mem::take(&mut has_joined) {
                    cluster.owners.check_unconfirmed();
                }
            }
            message = next(&mut others) => {
                if let Some(beacon) = context.read::<Beacon>(&message)
                    && message.subject.as_str() == context.subjects.beacon(&beacon.zone, &beacon.node)
                    && beacon.instance != context.instance
                {
                    has_joined |= cluster.handle_beacon(beacon);
                }
            }
        }
    }
}

/// Handles what the hub and other nodes request.
async fn serve(
    cluster: &Cluster,
    mut demands: mpsc::Receiver<Demand>,
    mut admissions: mpsc::Receiver<Admission>,
    mut lost: mpsc::Receiver<Lost>,
    mut news: mpsc::Receiver<News>,
) {
    let (context, owners) = (&cluster.context, &cluster.owners);
    let mut joins = subscribe(context, &context.subjects.join(&context.node)).await;
    let mut keeps = subscribe(context, &context.subjects.keep(&context.node)).await;
    let mut announcements = subscribe(context, &context.subjects.all_owned()).await;
    let mut link = context.link.state();
    let mut edges = Edges::new(
        Arc::clone(context),
        Arc::clone(owners),
        Arc::clone(&cluster.keeps),
    );
    let mut search = interval(SEARCH_INTERVAL);
    search.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = search.tick() => edges.search(now()),
            Some(demand) = demands.recv() => edges.demand(demand),
            Some(admission) = admissions.recv() => owners.admit(admission),
            Some(lost) = lost.recv() => edges.take_over(lost),
            Some(news) = news.recv() => owners.handle(news),
            () = edges.tidy() => {}
            Ok(()) = link.changed() => {
                if *link.borrow_and_update() == LinkState::Connected {
                    context.nodes().reconnected(now());
                    owners.announce_all();
                    edges.revive_all();
                }
            }
            message = next(&mut joins) => {
                if let Some(join) = context.read::<Join>(&message)
                    && let Some(reply) = reply_to(&message)
                {
                    owners.join(join, reply.to_owned()).await;
                }
            }
            message = next(&mut keeps) => {
                if let Some(keep) = context.read::<Keep>(&message) {
                    owners.keep(keep);
                }
            }
            message = next(&mut announcements) => {
                if let Some(announced) = context.read::<Announced>(&message)
                    && is_from(&message, &announced.node)
                {
                    if announced.node != context.node {
                        owners.check(&announced.stream);
                    }
                    edges.announced(announced);
                }
            }
        }
    }
}

async fn subscribe(context: &Context, subject: &str) -> Option<Subscription> {
    context.link.subscribe_at_start(subject).await
}

#[cfg(test)]
impl Cluster {
    /// Returns a node that never reaches a NATS server.
    pub(crate) async fn unconnected(hub: Hub) -> (Self, ClusterDriver) {
        let config = Self::test_config("nats://127.0.0.1:1".to_owned());
        Self::prepare(&config, hub).await
    }

    /// Returns a node that is connected to the NATS server with this URL, and its tasks.
    pub(crate) async fn connected(url: String, hub: Hub) -> (Self, tokio::task::JoinHandle<()>) {
        Self::connected_with(&Self::test_config(url), hub).await
    }

    /// The same with another configuration.
    pub(crate) async fn connected_with(
        config: &ClusterConfig,
        hub: Hub,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (cluster, driver) = Self::prepare(config, hub).await;
        let running = tokio::spawn(driver.run(std::future::pending()));
        assert!(cluster.context.link.up(Duration::from_secs(60)).await);
        (cluster, running)
    }

    /// Returns the configuration of a node that uses the NATS server with this URL.
    pub(crate) fn test_config(url: String) -> ClusterConfig {
        ClusterConfig {
            nats: vec![url],
            node: "test".to_owned(),
            ..ClusterConfig::default()
        }
    }

    async fn prepare(config: &ClusterConfig, hub: Hub) -> (Self, ClusterDriver) {
        let setup = ClusterSetup::new(config, hub).unwrap();
        setup.connect().await.unwrap()
    }
}
