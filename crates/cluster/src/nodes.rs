//! The nodes of the cluster, as their beacons show them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::Label;
use crate::control::Beacon;
use crate::public_url::{base, is_public_url};
use crate::share::Share;
use crate::versions::MessageVersions;

/// Time after its last beacon for which a node counts as present.
const LIFETIME: Duration = Duration::from_secs(2);

/// Maximum number of nodes. Beacons of further ones are ignored.
const MAX_NODES: usize = 1024;

/// Maximum length of a version, in bytes.
const MAX_VERSION: usize = 64;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Default))]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// The version of its program.
    pub version: String,
    /// The versions of messages that it reads.
    pub messages: MessageVersions,
    /// True if this node and it read a common version of messages; otherwise they share no streams.
    pub is_compatible: bool,
    /// URL of its HTTP listener, as players reach it; empty if it has none.
    pub url: String,
    /// Its viewers.
    pub viewers: u64,
    /// The streams that it owns.
    pub streams: u64,
    /// CPU time of its program, as a share of what it may use; `None` if it is not known.
    pub cpu: Option<Share>,
    /// Its load: the CPU time, or its share of the maximum number of viewers if that is more;
    /// 100 % while it refuses viewers for lack of memory.
    pub load: Share,
    /// True if it is about to end.
    pub draining: bool,
    /// True for the node that shows this.
    pub is_this: bool,
}

/// A change in the table of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Joined(Label),
    Left(Label),
    /// A node has joined with which this one has no version of messages in common.
    Incompatible(Label, MessageVersions),
    /// Another process has the name of this node.
    SameName(Label),
}

/// The table of nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    this: Label,
    instance: u64,
    nodes: BTreeMap<String, Entry>,
    /// The nodes that have left since this one was connected, at most [`MAX_NODES`].
    left: BTreeSet<Label>,
    /// Time of the last beacon of another process with the name of this node.
    namesake: Option<Instant>,
    /// Time at which the silence of nodes was judged last.
    judged: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    beacon: Beacon,
    heard: Instant,
    /// This node stood still since its last beacon, and has given it time for the next.
    is_excused: bool,
}

impl Nodes {
    pub(crate) fn new(this: Label, instance: u64) -> Self {
        Self {
            this,
            instance,
            nodes: BTreeMap::new(),
            left: BTreeSet::new(),
            namesake: None,
            judged: None,
        }
    }

    /// Handles a beacon, also that of this node.
    pub(crate) fn handle(&mut self, mut beacon: Beacon, now: Instant) -> Option<Change> {
        let name = beacon.node.clone();
        if name == self.this && beacon.instance != self.instance {
            let is_new = self
                .namesake
                .is_none_or(|at| now.saturating_duration_since(at) > LIFETIME);
            self.namesake = Some(now);
            return is_new.then_some(Change::SameName(name));
        }
        self.left.remove(&name);
        let is_new = !self.nodes.contains_key(name.as_str());
        if is_new && self.nodes.len() >= MAX_NODES {
            return None;
        }
        let version = &mut beacon.version;
        if version.len() > MAX_VERSION || version.contains(|c: char| c.is_control()) {
            version.clear();
        }
        if !is_public_url(&beacon.url) {
            beacon.url.clear();
        }
        let is_other = name != self.this;
        let messages = beacon.messages;
        let entry = Entry {
            beacon,
            heard: now,
            is_excused: false,
        };
        let before = self.nodes.insert(name.as_str().to_owned(), entry);
        // A node that is upgraded may be back before it is missed.
        let is_upgraded = before.is_some_and(|before| before.beacon.messages != messages);
        if is_compatible(messages) {
            (is_new && is_other).then_some(Change::Joined(name))
        } else {
            (is_new || is_upgraded).then_some(Change::Incompatible(name, messages))
        }
    }

    /// Removes the nodes that have been silent for too long. It is to be called several times in
    /// [`LIFETIME`]: otherwise this node stood still, and has yet to read the beacons that came meanwhile.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Change> {
        let mut gone = Vec::new();
        let judged = self.judged.replace(now).unwrap_or(now);
        if now.saturating_duration_since(judged) >= LIFETIME / 2 {
            for entry in self.nodes.values_mut().filter(|entry| !entry.is_excused) {
                (entry.heard, entry.is_excused) = (now, true);
            }
        }
        let left = &mut self.left;
        self.nodes.retain(|_, entry| {
            let is_here = now.saturating_duration_since(entry.heard) <= LIFETIME;
            if !is_here {
                if left.len() < MAX_NODES {
                    left.insert(entry.beacon.node.clone());
                }
                gone.push(Change::Left(entry.beacon.node.clone()));
            }
            is_here
        });
        gone
    }

    /// Notes that this node is connected again. The others may have sent beacons in the meantime, so
    /// all of them get time for the next.
    pub(crate) fn reconnected(&mut self, now: Instant) {
        self.left.clear();
        for entry in self.nodes.values_mut() {
            entry.heard = now;
        }
    }

    /// Returns whether a node was there, and has left while this one was connected.
    pub(crate) fn has_left(&self, node: &Label) -> bool {
        self.left.contains(node)
    }

    /// Returns whether there is a node of this name.
    pub(crate) fn contains(&self, node: &Label) -> bool {
        self.nodes.contains_key(node.as_str())
    }

    /// Returns the public URL of a node, without a slash at the end; `None` if there is no such node or
    /// it has none.
    pub(crate) fn url_of(&self, node: &str) -> Option<String> {
        let url = base(&self.nodes.get(node)?.beacon.url);
        (!url.is_empty()).then(|| url.to_owned())
    }

    /// Returns the nodes, sorted by name.
    pub(crate) fn list(&self) -> Vec<Node> {
        let nodes = self.nodes.values().map(|Entry { beacon, .. }| Node {
            name: beacon.node.to_string(),
            zone: beacon.zone.to_string(),
            version: beacon.version.clone(),
            messages: beacon.messages,
            is_compatible: is_compatible(beacon.messages),
            url: beacon.url.clone(),
            viewers: beacon.viewers,
            streams: beacon.streams,
            cpu: beacon.cpu.map(Share::percent),
            load: Share::percent(beacon.load),
            draining: beacon.draining,
            is_this: beacon.node == self.this,
        });
        nodes.collect()
    }
}

/// Returns whether this node and one that reads these versions of messages have one in common.
fn is_compatible(messages: MessageVersions) -> bool {
    messages.common(MessageVersions::THIS).is_some()
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    fn beacon(node: &str, instance: u64) -> Beacon {
        Beacon {
            node: node.parse().unwrap(),
            instance,
            zone: "here".parse().unwrap(),
            version: "0.1.0".to_owned(),
            messages: MessageVersions::THIS,
            url: String::new(),
            viewers: 3,
            streams: 1,
            draining: false,
            cpu: Some(12),
            load: 20,
        }
    }

    /// Judges the silence of nodes in the next `time` as often as it is to be done.
    fn expire(nodes: &mut Nodes, from: Instant, time: Duration) -> Vec<Change> {
        let times = (0..).map(|turn| turn * LIFETIME / 4);
        let times = times.take_while(|at| *at < time).chain([time]);
        times.flat_map(|at| nodes.expire(from + at)).collect()
    }

    #[test]
    fn node_joins_with_its_first_beacon_and_leaves_after_the_last() {
        let start = Instant::now();
        let mut nodes = Nodes::new("a".parse().unwrap(), 1);
        let b: Label = "b".parse().unwrap();
        assert_eq!(
            nodes.handle(beacon("a", 1), start),
            None,
            "that is this one"
        );
        assert_eq!(
            nodes.handle(beacon("b", 2), start),
            Some(Change::Joined(b.clone()))
        );
        assert_eq!(nodes.handle(beacon("b", 2), start), None);
        let names: Vec<_> = nodes.list().into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(expire(&mut nodes, start, LIFETIME), []);
        let later = start + LIFETIME;
        nodes.handle(beacon("a", 1), later);
        let gone = nodes.expire(later + Duration::from_millis(1));
        assert_eq!(gone, [Change::Left(b)]);
        assert_eq!(nodes.list().len(), 1);
    }

    #[test]
    fn node_without_a_common_version_is_reported_once_also_after_an_upgrade() {
        let start = Instant::now();
        let mut nodes = Nodes::new("a".parse().unwrap(), 1);
        let later = MessageVersions {
            oldest: 100,
            newest: 101,
        };
        let of_later = |node| Beacon {
            messages: later,
            ..beacon(node, 2)
        };
        let b: Label = "b".parse().unwrap();
        let incompatible = Some(Change::Incompatible(b.clone(), later));
        assert_eq!(nodes.handle(of_later("b"), start), incompatible);
        assert_eq!(nodes.handle(of_later("b"), start), None);
        assert!(!nodes.list()[0].is_compatible);
        assert_eq!(nodes.handle(beacon("b", 3), start), None);
        assert!(nodes.list()[0].is_compatible);
        assert_eq!(nodes.handle(of_later("b"), start), incompatible);
    }

    #[test]
    fn node_has_left_only_if_this_one_was_connected_while_its_beacons_ended() {
        let start = Instant::now();
        let mut nodes = Nodes::new("a".parse().unwrap(), 1);
        let (b, c): (Label, Label) = ("b".parse().unwrap(), "c".parse().unwrap());
        nodes.handle(beacon("b", 2), start);
        assert!(!nodes.has_left(&b) && !nodes.has_left(&c), "never seen");
        expire(&mut nodes, start, 2 * LIFETIME);
        let later = start + 2 * LIFETIME;
        assert!(nodes.has_left(&b));
        nodes.handle(beacon("b", 3), later);
        assert!(!nodes.has_left(&b), "it is back");
        // This node was away: it has heard no beacons.
        expire(&mut nodes, later, 2 * LIFETIME);
        nodes.reconnected(later + 2 * LIFETIME);
        assert!(!nodes.has_left(&b));
        nodes.handle(beacon("b", 3), later + 2 * LIFETIME);
        nodes.reconnected(later + 4 * LIFETIME);
        nodes.expire(later + 4 * LIFETIME);
        assert!(!nodes.has_left(&b), "its next beacon may be on its way");
    }

    #[test]
    fn node_that_stood_still_gives_the_others_time_for_their_next_beacon() {
        let start = Instant::now();
        let mut nodes = Nodes::new("a".parse().unwrap(), 1);
        let b: Label = "b".parse().unwrap();
        nodes.handle(beacon("b", 2), start);
        assert_eq!(nodes.expire(start), []);
        let later = start + 10 * LIFETIME;
        assert_eq!(nodes.expire(later), [], "its beacons wait to be read");
        // It is slow from now on.
        let gone: Vec<_> = (1..4)
            .flat_map(|n| nodes.expire(later + n * LIFETIME))
            .collect();
        assert_eq!(gone, [Change::Left(b)]);
    }

    #[test]
    fn other_process_with_the_name_of_this_node_is_reported_once() {
        let start = Instant::now();
        let mut nodes = Nodes::new("a".parse().unwrap(), 1);
        let first = nodes.handle(beacon("a", 9), start);
        assert!(matches!(first, Some(Change::SameName(_))));
        assert_eq!(nodes.handle(beacon("a", 9), start), None);
    }

    #[test]
    fn number_of_nodes_is_bounded_and_unusable_texts_are_removed() {
        let start = Instant::now();
        let mut nodes = Nodes::new("a".parse().unwrap(), 1);
        for n in 0..2 * MAX_NODES {
            let mut beacon = beacon(&format!("n{n}"), 1);
            beacon.url = "https://x.example/>".to_owned();
            beacon.version = "1".repeat(MAX_VERSION + 1);
            nodes.handle(beacon, start);
        }
        let list = nodes.list();
        assert_eq!(list.len(), MAX_NODES);
        assert!(
            list.iter()
                .all(|node| node.url.is_empty() && node.version.is_empty())
        );
    }
}
