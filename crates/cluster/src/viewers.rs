//! Other nodes for viewers of this node: those that have a stream, and those with less load.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_nats::Message;
use distributary_hub::Pressure;
use distributary_names::StreamName;
use tokio::time::{MissedTickBehavior, interval};

use crate::choice;
use crate::cluster::{Cluster, is_from, next};
use crate::context::{Context, now};
use crate::control::{Control, Had, MAX_KEPT, Roster};
use crate::public_url::base;
use crate::roster::RemoteStream;
use crate::share::Share;

/// Interval at which a node names its streams.
const ROSTER_INTERVAL: Duration = Duration::from_secs(2);

/// The value of [`Context::cpu`] while it is not known.
pub(crate) const CPU_UNKNOWN: u8 = u8::MAX;

impl Cluster {
    /// Sets the CPU time of this program, as a share of what it may use.
    pub fn set_cpu(&self, cpu: Share) {
        let cpu = cpu.as_percent();
        self.context().cpu.store(cpu, Ordering::Relaxed);
    }

    /// Returns the public URLs of up to three nodes where viewers of this node should go if it fails
    /// or ends: in its zone first, then with less load.
    pub fn alternates(&self) -> Vec<String> {
        let zone = self.context().zone.as_str();
        choice::alternates(&self.list_nodes(), zone, &mut rand::rng())
    }

    /// Returns the public URL of the node to which a new viewer of a stream has to go instead of this
    /// one, because this one has too much load.
    pub fn less_loaded(&self, name: &StreamName) -> Option<String> {
        let context = self.context();
        let (load, limit) = (load(context), context.redirect_at);
        if load < limit || limit == Share::percent(100) {
            return None;
        }
        let rosters = self
            .rosters()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let has_stream = |node: &crate::nodes::Node| rosters.has(&node.name, name);
        let (nodes, zone) = (self.list_nodes(), context.zone.as_str());
        let mut random = rand::rng();
        choice::less_loaded(&nodes, zone, load, limit, has_stream, &mut random)
    }

    /// Returns where players reach this node and no other, if it says so.
    pub fn public_url(&self) -> Option<String> {
        let url = base(&self.context().url);
        (!url.is_empty()).then(|| url.to_owned())
    }

    /// Returns whether players reach all nodes over HTTPS, as far as these have a public URL.
    pub fn are_secure(&self) -> bool {
        let nodes = self.list_nodes();
        nodes
            .iter()
            .all(|node| node.url.is_empty() || node.url.starts_with("https:"))
    }

    /// Returns streams that publishers of other nodes use, sorted by name, `most` at most.
    pub fn remote_streams(&self, most: usize) -> Vec<RemoteStream> {
        let rosters = self
            .rosters()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rosters.owned(most)
    }

    fn handle_roster(&self, message: &Message) {
        if let Some(roster) = self.read::<Roster>(message)
            && is_from(message, &roster.node)
            && roster.node != self.context().node
        {
            let mut rosters = self
                .rosters()
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            rosters.handle(roster, now());
        }
    }
}

/// Names the streams of this node to the others, and learns theirs.
pub(crate) async fn run(cluster: &Cluster) {
    let context = cluster.context();
    let mut others = context
        .link
        .subscribe_at_start(&context.subjects.all_rosters())
        .await;
    let mut interval = interval(ROSTER_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {
                let subject = context.subjects.roster(&context.node);
                for roster in rosters(context) {
                    context.link.publish(&subject, roster.to_json()).await;
                }
                let mut rosters = cluster.rosters().lock().unwrap_or_else(PoisonError::into_inner);
                rosters.expire(now());
            }
            message = next(&mut others) => cluster.handle_roster(&message),
        }
    }
}

/// Returns the messages that name the live streams of this node.
fn rosters(context: &Context) -> Vec<Roster> {
    let live = context.hub.streams().into_iter();
    let live: Vec<Had> = live
        .filter(|stream| stream.is_live())
        .map(|stream| Had {
            stream: stream.name().clone(),
            owner: stream.node().is_none(),
        })
        .collect();
    let messages = live.chunks(MAX_KEPT).map(|streams| Roster {
        node: context.node.clone(),
        streams: streams.to_vec(),
    });
    messages.collect()
}

/// Returns the load of this node: all of it while it refuses viewers for lack of memory. (A stream of
/// another node needs no check of its own: it is joined for a viewer that was admitted.)
pub(crate) fn load(context: &Arc<Context>) -> Share {
    if context.hub.memory().pressure() >= Pressure::Viewers {
        return Share::percent(100);
    }
    let viewers = context.hub.viewers();
    let viewers = Share::of(viewers.count(), viewers.limits().max);
    cpu(context).map_or(viewers, |cpu| viewers.max(cpu))
}

/// Returns the CPU time of this node, if it is known.
pub(crate) fn cpu(context: &Context) -> Option<Share> {
    let cpu = context.cpu.load(Ordering::Relaxed);
    (cpu <= 100).then_some(Share::percent(cpu))
}
