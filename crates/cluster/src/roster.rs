//! The streams that other nodes have, as these nodes say.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use distributary_names::StreamName;

use crate::config::Label;
use crate::control::{ListedStream, Roster};

/// Time after which a stream is forgotten that its node does not name again.
const LIFETIME: Duration = Duration::from_secs(6);

/// Maximum number of streams of one node, and of all nodes. Further ones are ignored.
const MAX_PER_NODE: usize = 8192;
const MAX_ALL: usize = 65_536;

/// A stream that another node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStream {
    /// Its name.
    pub name: StreamName,
    /// The node.
    pub node: String,
}

/// The streams that other nodes have.
#[derive(Debug, Default)]
pub(crate) struct Rosters {
    nodes: BTreeMap<String, HashMap<StreamName, Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The node's publisher uses the stream; otherwise its viewers watch it.
    is_owner: bool,
    heard: Instant,
}

impl Rosters {
    /// Handles a message of another node.
    pub(crate) fn handle(&mut self, roster: Roster, now: Instant) {
        let mut all: usize = self.nodes.values().map(HashMap::len).sum();
        let streams = self.nodes.entry(roster.node.to_string()).or_default();
        for ListedStream { stream, owner } in roster.streams {
            let is_new = !streams.contains_key(&stream);
            if is_new && (streams.len() >= MAX_PER_NODE || all >= MAX_ALL) {
                continue;
            }
            all += usize::from(is_new);
            let entry = Entry {
                is_owner: owner,
                heard: now,
            };
            streams.insert(stream, entry);
        }
        if streams.is_empty() {
            self.nodes.remove(roster.node.as_str());
        }
    }

    /// Forgets the streams that their nodes do not name any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.nodes.retain(|_, streams| {
            streams.retain(|_, entry| now.saturating_duration_since(entry.heard) <= LIFETIME);
            !streams.is_empty()
        });
    }

    /// Forgets a node that is gone.
    pub(crate) fn forget(&mut self, node: &Label) {
        self.nodes.remove(node.as_str());
    }

    /// Returns whether a node has a stream.
    pub(crate) fn has(&self, node: &str, name: &StreamName) -> bool {
        let streams = self.nodes.get(node);
        streams.is_some_and(|streams| streams.contains_key(name))
    }

    /// Returns the streams that publishers of other nodes use, sorted by name, `most` at most.
    pub(crate) fn owned(&self, most: usize) -> Vec<RemoteStream> {
        let mut owned: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|(node, streams)| {
                streams.iter().map(move |(name, entry)| (node, name, entry))
            })
            .filter(|(_, _, entry)| entry.is_owner)
            .map(|(node, name, _)| (name, node))
            .collect();
        // Only those that are returned are sorted and copied: the lock is held.
        if owned.len() > most {
            owned.select_nth_unstable(most);
            owned.truncate(most);
        }
        owned.sort_unstable();
        let owned = owned.into_iter().map(|(name, node)| RemoteStream {
            name: name.clone(),
            node: node.clone(),
        });
        owned.collect()
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    fn roster(node: &str, streams: impl Iterator<Item = (String, bool)>) -> Roster {
        let streams = streams.map(|(name, owner)| ListedStream {
            stream: StreamName::parse(&name).unwrap(),
            owner,
        });
        Roster {
            node: node.parse().unwrap(),
            streams: streams.collect(),
        }
    }

    fn name(name: &str) -> StreamName {
        StreamName::parse(name).unwrap()
    }

    #[test]
    fn streams_are_known_until_their_node_names_them_no_more() {
        let start = Instant::now();
        let mut rosters = Rosters::default();
        let both = [("live/a".to_owned(), true), ("live/b".to_owned(), false)];
        rosters.handle(roster("n", both.into_iter()), start);
        assert!(rosters.has("n", &name("live/a")) && rosters.has("n", &name("live/b")));
        assert!(!rosters.has("m", &name("live/a")));
        let owned = rosters.owned(10);
        assert_eq!(owned.len(), 1, "{owned:?}");
        assert_eq!(
            (owned[0].name.as_str(), owned[0].node.as_str()),
            ("live/a", "n")
        );

        let later = start + LIFETIME;
        rosters.handle(
            roster("n", [("live/b".to_owned(), true)].into_iter()),
            later,
        );
        rosters.expire(later + Duration::from_millis(1));
        assert!(!rosters.has("n", &name("live/a")) && rosters.has("n", &name("live/b")));
        rosters.forget(&"n".parse().unwrap());
        assert!(rosters.nodes.is_empty());
    }

    #[test]
    fn number_of_streams_is_bounded() {
        let start = Instant::now();
        let mut rosters = Rosters::default();
        for node in 0..10 {
            let streams = (0..MAX_PER_NODE + 5).map(|n| (format!("live/{n}"), true));
            rosters.handle(roster(&format!("n{node}"), streams), start);
        }
        let all: Vec<_> = rosters.nodes.values().map(HashMap::len).collect();
        assert!(all.iter().all(|number| *number <= MAX_PER_NODE));
        assert_eq!(all.iter().sum::<usize>(), MAX_ALL);
        let first: Vec<_> = rosters.owned(7).into_iter().map(|one| one.node).collect();
        assert_eq!(first, ["n0", "n1", "n2", "n3", "n4", "n5", "n6"]);
    }
}
