//! Slots for what is in progress with other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Slots for what is in progress with other nodes. One that is silent, busy or faulty leaves some to the
/// others. A hostile one need not: it can take slots in the names of others, see
/// [`Context::asking_node`](crate::context::Context::asking_node). A clone is a handle to the same slots.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// Maximum slots of one node.
    of_one: usize,
    /// Maximum slots of all nodes together.
    of_all: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// A slot of a node, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    node: String,
}

impl Slots {
    /// Returns free slots, `of_one` for one node at most, and `of_all` for all together.
    pub(crate) fn new(of_one: usize, of_all: usize) -> Self {
        Self {
            of_one,
            of_all,
            taken: Arc::default(),
        }
    }

    /// Takes a slot of a node; `None` if it has no free one.
    pub(crate) fn take(&self, node: &str) -> Option<Slot> {
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(node).copied().unwrap_or(0);
        if own >= self.of_one || all >= self.of_all {
            return None;
        }
        taken.insert(node.to_owned(), own + 1);
        Some(Slot {
            slots: self.clone(),
            node: node.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
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
        let slots = Slots::new(3, 8);
        let mut of_a: Vec<_> = (0..3).map(|_| slots.take("a")).collect();
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
        let slots = Slots::new(3, 8);
        let nodes = (0..8).map(|node| node.to_string());
        let taken: Vec<_> = nodes.map(|node| slots.take(&node)).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(slots.take("a").is_none());
    }
}
