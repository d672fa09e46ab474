//! Slots for what is in progress with other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum slots of one node.
pub(crate) const MAX_PER_NODE: usize = 32;

/// Maximum slots of all nodes together.
const MAX_ALL: usize = 256;

/// Slots for what is in progress with other nodes. Each node has some of its own, so that one that is
/// silent or busy leaves the others theirs. A clone is a handle to the same slots.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(Arc<Mutex<HashMap<String, usize>>>);

/// A slot of a node, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    node: String,
}

impl Slots {
    /// Takes a slot of a node; `None` if it has no free one.
    pub(crate) fn take(&self, node: &str) -> Option<Slot> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(node).copied().unwrap_or(0);
        if own >= MAX_PER_NODE || all >= MAX_ALL {
            return None;
        }
        taken.insert(node.to_owned(), own + 1);
        Some(Slot {
            slots: self.clone(),
            node: node.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        if let Some(own) = taken.get_mut(&self.node) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_without_a_free_slot_leaves_the_others_theirs() {
        let slots = Slots::default();
        let mut of_a: Vec<_> = (0..MAX_PER_NODE).map(|_| slots.take("a")).collect();
        assert!(of_a.iter().all(Option::is_some));
        assert!(slots.take("a").is_none());
        assert!(slots.take("b").is_some());
        of_a.pop();
        assert!(slots.take("a").is_some());
        drop(of_a);
        assert!(slots.lock().is_empty());
    }

    #[test]
    fn number_of_slots_is_bounded() {
        let slots = Slots::default();
        let nodes = (0..MAX_ALL).map(|node| node.to_string());
        let taken: Vec<_> = nodes.map(|node| slots.take(&node)).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(slots.take("a").is_none());
    }
}
