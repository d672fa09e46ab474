//! The nodes that wait for a name of this node, as their questions say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use distributary_hub::Successor;

use crate::config::Label;
use crate::control::Waiting;

/// Time after which a node that asks no more does not wait any more: several of its questions.
const LIFETIME: Duration = Duration::from_secs(2);

/// Maximum number of nodes. Further ones wait all the same, but are not listed.
const MAX_NODES: usize = 64;

/// The nodes that wait for one name.
#[derive(Debug, Default)]
pub(crate) struct Successors(BTreeMap<Label, (Waiting, Instant)>);

impl Successors {
    /// Notes the question of a node. Returns whether it is news.
    pub(crate) fn note(&mut self, node: Label, waiting: Waiting, now: Instant) -> bool {
        if self.0.len() >= MAX_NODES && !self.0.contains_key(&node) {
            return false;
        }
        let before = self.0.insert(node, (waiting, now));
        before.is_none_or(|(before, _)| before != waiting)
    }

    /// Forgets the nodes that ask no more. Returns whether there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|_, (_, heard)| now < *heard + LIFETIME);
        self.0.len() != before
    }

    /// Returns when to call [`expire`](Self::expire).
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.0.values().map(|(_, heard)| *heard + LIFETIME).min()
    }

    /// Returns whether a node waits that could take over now.
    pub(crate) fn are_ready(&self) -> bool {
        self.0.values().any(|(waiting, _)| waiting.ready)
    }

    /// Returns them for the hub.
    pub(crate) fn list(&self) -> Vec<Successor> {
        let nodes = self.0.iter();
        let nodes = nodes.map(|(node, (waiting, _))| Successor {
            node: node.as_str().into(),
            standbys: usize::from(waiting.standbys),
            is_ready: waiting.ready,
        });
        nodes.collect()
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an origin for the simulated clock"
)]
mod tests {
    use super::*;

    #[test]
    fn node_waits_until_it_asks_no_more() {
        let start = Instant::now();
        let mut successors = Successors::default();
        assert_eq!(successors.next_expiry(), None);
        let mut waiting = Waiting {
            standbys: 1,
            ready: false,
            video: false,
        };
        let node: Label = "b".parse().unwrap();
        assert!(successors.note(node.clone(), waiting, start));
        assert!(!successors.note(node.clone(), waiting, start));
        assert!(!successors.are_ready());
        waiting.ready = true;
        assert!(successors.note(node, waiting, start));
        assert!(successors.are_ready());
        assert_eq!(successors.list()[0].node.as_ref(), "b");
        let end = successors.next_expiry().unwrap();
        assert!(!successors.expire(end.checked_sub(Duration::from_millis(1)).unwrap()));
        assert!(successors.expire(end));
        assert!(successors.list().is_empty());
    }

    #[test]
    fn number_of_nodes_is_bounded() {
        let start = Instant::now();
        let mut successors = Successors::default();
        let waiting = Waiting {
            standbys: 1,
            ready: true,
            video: true,
        };
        for n in 0..2 * MAX_NODES {
            successors.note(format!("n{n}").parse().unwrap(), waiting, start);
        }
        assert_eq!(successors.list().len(), MAX_NODES);
    }
}
