//! A cluster: gateways on machines of their own, and three NATS servers on the first three.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it measures in real time"
)]

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_bench::publishers::Clip;
use distributary_cluster::test_util::{NatsCluster, NatsPlace};
use distributary_tests::client;
use distributary_tests::gateway::Gateway;
use distributary_tests::process::Process;
use distributary_tests::wait::eventually;
use serde_json::Value;
use tokio::task::{JoinSet, block_in_place, spawn_blocking};
use tokio::time::sleep;

use crate::encoder::{Encoder, Program};
use crate::network::{Network, core, lan};
use crate::watcher::Watcher;

/// Number of NATS servers.
const SERVERS: usize = 3;

/// Ports of a gateway on its machine.
const RTMP: u16 = 1935;
const HTTP: u16 = 8080;
const WEBRTC: u16 = 8189;
const ADMIN: u16 = 8180;

/// Token of the admin API.
const TOKEN: &str = "lab";

/// Limit for what is waited for: a lab that does not get there is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Interval of looks at the API, and the resolution of what they find.
const LOOK: Duration = Duration::from_millis(20);

/// Time for which what has to stay is watched.
const HOLD: Duration = Duration::from_secs(2);

/// The settings that all labs of a run share.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The gateway's program.
    pub(crate) gateway: PathBuf,
    /// Another program for some nodes, see [`Shape::others`].
    pub(crate) other: Option<PathBuf>,
    /// The clip.
    pub(crate) clip: Arc<Clip>,
}

/// Differences between labs.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Number of gateways, three at least.
    pub(crate) nodes: usize,
    /// The key `on_duplicate`.
    pub(crate) on_duplicate: &'static str,
    /// The key `without_arbiter`.
    pub(crate) without_arbiter: &'static str,
    /// The nodes that run the other program, if there is one.
    pub(crate) others: &'static [usize],
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            nodes: 3,
            on_duplicate: "refuse",
            without_arbiter: "allow",
            others: &[1],
        }
    }
}

/// A running cluster.
pub(crate) struct Lab {
    gateways: Vec<Gateway>,
    /// The NATS servers; that of a node has its number.
    pub(crate) nats: NatsCluster,
    /// The network. It is removed last.
    pub(crate) network: Network,
    program: Program,
    gateway: PathBuf,
    shape: Shape,
}

impl Lab {
    /// Starts a cluster, and waits until all nodes see each other and the arbiter.
    ///
    /// # Errors
    /// When the system refuses something.
    ///
    /// # Panics
    /// When a program does not start.
    pub(crate) async fn start(settings: &Settings, shape: Shape) -> Result<Self, Box<dyn Error>> {
        let network = Network::new(shape.nodes)?;
        let place = |node| NatsPlace {
            address: core(node),
            prefix: network.machine(node).prefix(),
        };
        let nats = NatsCluster::start_at([place(0), place(1), place(2)]);
        let mut lab = Self {
            gateways: Vec::new(),
            nats,
            network,
            program: Program {
                clip: Arc::clone(&settings.clip),
                origin: Instant::now(),
            },
            gateway: settings.gateway.clone(),
            shape,
        };
        for node in 0..shape.nodes {
            let other = settings.other.as_ref();
            let other = other.filter(|_| shape.others.contains(&node));
            let gateway = lab.start_gateway(node, other.unwrap_or(&settings.gateway))?;
            lab.gateways.push(gateway);
        }
        lab.gathered().await;
        Ok(lab)
    }

    /// Waits until all nodes see each other and the arbiter.
    async fn gathered(&self) {
        for node in 0..self.shape.nodes {
            eventually("the nodes see each other and the arbiter", async || {
                let cluster = self.cluster(node).await;
                let sees_all = cluster["nodes"].as_array()?.len() == self.shape.nodes;
                (sees_all && cluster["arbiter"]["reachable"] == true).then_some(())
            })
            .await;
        }
    }

    /// Ends the gateway of a node in an orderly way, and starts this tree's program in its place.
    ///
    /// # Errors
    /// When it fails instead of ending.
    pub(crate) async fn upgrade(&mut self, node: usize) -> Result<(), Box<dyn Error>> {
        let old = &mut self.gateways[node];
        old.terminate();
        let status = block_in_place(|| old.wait());
        if !status.success() {
            return Err(format!("node {} has ended with {status}", node + 1).into());
        }
        self.gateways[node] = block_in_place(|| self.start_gateway(node, &self.gateway))?;
        self.gathered().await;
        Ok(())
    }

    fn start_gateway(&self, node: usize, program: &Path) -> Result<Gateway, Box<dyn Error>> {
        let machine = self.network.machine(node);
        let command = machine.command(&program.to_string_lossy());
        let urls = format!("{:?}", self.nats.urls());
        start_gateway(command, node, &urls, self.shape)
    }

    /// Returns the time since the encoders' origin.
    pub(crate) fn now(&self) -> Duration {
        self.program.origin.elapsed()
    }

    /// Starts an encoder at a node, see [`Encoder::start`].
    pub(crate) fn encoder(&self, node: usize, name: &str, mark: u8, retries: bool) -> Encoder {
        let server = SocketAddr::new(lan(node), RTMP);
        Encoder::start(self.program.clone(), server, name, mark, retries)
    }

    /// Returns the RTMP address of a node.
    pub(crate) fn rtmp(&self, node: usize) -> SocketAddr {
        SocketAddr::new(lan(node), RTMP)
    }

    /// Joins a stream at a node once, see [`Watcher::join`].
    ///
    /// # Errors
    /// When the node refuses.
    pub(crate) async fn join(
        &self,
        node: usize,
        name: &str,
        looks: bool,
    ) -> Result<Watcher, Box<dyn Error>> {
        let http = SocketAddr::new(lan(node), HTTP);
        Watcher::join(http, name, self.program.origin, looks).await
    }

    /// Joins a stream at a node as soon as it is there, and waits for the first frame.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn watch(&self, node: usize, name: &str) -> Result<Watcher, Box<dyn Error>> {
        let deadline = self.now() + LIMIT;
        let watcher = loop {
            match self.join(node, name, true).await {
                Ok(watcher) => break watcher,
                Err(error) if self.now() > deadline => return Err(error),
                Err(_) => sleep(LOOK).await,
            }
        };
        while watcher.last().is_none() {
            if self.now() > deadline {
                return Err(format!("no frame of {name} at node {}", node + 1).into());
            }
            sleep(LOOK).await;
        }
        Ok(watcher)
    }

    /// Returns what a node says about the cluster.
    ///
    /// # Panics
    /// When it does not answer.
    pub(crate) async fn cluster(&self, node: usize) -> Value {
        let admin = self.gateways[node].admin;
        let asked = spawn_blocking(move || {
            let authorization = format!("Bearer {TOKEN}");
            let headers = [("Authorization", authorization.as_str())];
            client::request(admin, "GET", "/api/cluster", &headers, b"").json()
        });
        let mut answer = asked.await.expect("the node answers");
        answer["cluster"].take()
    }

    /// Returns the number of names that each of some nodes has.
    pub(crate) async fn owned(&self, nodes: &[usize]) -> Vec<u64> {
        let mut owned = Vec::new();
        for &node in nodes {
            let cluster = self.cluster(node).await;
            owned.push(cluster["owned"].as_u64().unwrap_or_default());
        }
        owned
    }

    /// Waits until some nodes have this number of names together, and returns when that was. It has to
    /// stay so.
    ///
    /// # Errors
    /// Says how many they have.
    pub(crate) async fn settle(&self, nodes: &[usize], names: u64) -> Result<Duration, String> {
        let deadline = self.now() + LIMIT;
        let mut since = None;
        loop {
            let owned = self.owned(nodes).await;
            let now = self.now();
            if owned.iter().sum::<u64>() == names {
                let since = *since.get_or_insert(now);
                if now > since + HOLD {
                    return Ok(since);
                }
            } else if now > deadline {
                return Err(format!("the nodes have {owned:?} names, not {names}"));
            } else {
                since = None;
            }
            sleep(LOOK).await;
        }
    }

    /// Returns the number of the NATS server that a node is connected to.
    ///
    /// # Errors
    /// When it is connected to none.
    pub(crate) async fn server_of(&self, node: usize) -> Result<usize, Box<dyn Error>> {
        let cluster = self.cluster(node).await;
        let server = cluster["server"].as_str().unwrap_or_default();
        number_of(server)
            .ok_or_else(|| format!("node {} is connected to {server:?}", node + 1).into())
    }

    /// Returns the number of the NATS server that leads the bucket.
    ///
    /// # Errors
    /// When there is no leader.
    pub(crate) async fn leader(&self) -> Result<usize, Box<dyn Error>> {
        let client = async_nats::connect(self.nats.urls()).await?;
        let context = async_nats::jetstream::new(client);
        let bucket = context.get_stream("KV_dist_distributary").await?;
        let cluster = bucket.cached_info().cluster.clone();
        let leader = cluster.and_then(|cluster| cluster.leader);
        let leader = leader.ok_or("the bucket has no leader")?;
        number_of(&leader).ok_or_else(|| format!("{leader} is no server of this lab").into())
    }

    /// Kills a gateway.
    pub(crate) fn kill(&self, node: usize) {
        self.gateways[node].kill();
    }

    /// Stops a gateway, as a machine that stands still, until [`Self::thaw`].
    pub(crate) fn freeze(&self, node: usize) {
        self.gateways[node].freeze();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self, node: usize) {
        self.gateways[node].thaw();
    }

    /// Returns the process id of the gateway of a node.
    pub(crate) fn gateway_process(&self, node: usize) -> u32 {
        self.gateways[node].process_id()
    }

    /// Returns the process ids of the NATS servers.
    pub(crate) fn server_processes(&self) -> impl Iterator<Item = u32> {
        self.nats.servers.iter().map(|server| server.process_id())
    }

    /// Joins streams at nodes, all at once.
    ///
    /// # Errors
    /// When a node refuses.
    pub(crate) async fn join_all(
        &self,
        places: Vec<(usize, String)>,
        looks: bool,
    ) -> Result<Vec<Watcher>, Box<dyn Error>> {
        let mut joining = JoinSet::new();
        for (node, name) in places {
            let (http, origin) = (SocketAddr::new(lan(node), HTTP), self.program.origin);
            joining.spawn(async move {
                let joined = Watcher::join(http, &name, origin, looks).await;
                joined.map_err(|error| format!("{name} at node {}: {error}", node + 1))
            });
        }
        let mut watchers = Vec::new();
        while let Some(joined) = joining.join_next().await {
            watchers.push(joined??);
        }
        Ok(watchers)
    }
}

/// Returns the number of a NATS server by its name.
fn number_of(name: &str) -> Option<usize> {
    (0..SERVERS).find(|number| name == format!("nats{}", number + 1))
}

/// Starts the gateway of a node.
fn start_gateway(
    mut command: Command,
    node: usize,
    nats: &str,
    shape: Shape,
) -> Result<Gateway, Box<dyn Error>> {
    let mut file = tempfile::NamedTempFile::new()?;
    let Shape {
        on_duplicate,
        without_arbiter,
        ..
    } = shape;
    // Smaller renditions, which viewers may get after a gap, have no marks.
    write!(
        file,
        "admin_token = \"{TOKEN}\"\n\
         [publishers]\non_duplicate = \"{on_duplicate}\"\n\
         [transcode]\nladder = []\n\
         [cluster]\nnats = {nats}\nnode = \"node{}\"\nwithout_arbiter = \"{without_arbiter}\"\n",
        node + 1
    )?;
    command.arg("--config").arg(file.path());
    let listeners = [
        ("--rtmp", RTMP),
        ("--http", HTTP),
        ("--webrtc", WEBRTC),
        ("--admin", ADMIN),
    ];
    for (option, port) in listeners {
        let address = SocketAddr::new(lan(node), port);
        command.args([option, &address.to_string()]);
    }
    command.args(["--log", "warn"]);
    // The file has been read when the gateway prints its addresses.
    Ok(Gateway::of(Process::start("distributary", command)))
}
