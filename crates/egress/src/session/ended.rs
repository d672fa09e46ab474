//! Remembers the sessions that have ended last.

use std::collections::{HashSet, VecDeque};

use super::id::SessionId;

/// Least number of sessions that are remembered.
const MIN_ENDED: usize = 4096;

/// Maximum number of sessions that are remembered: with 16 bytes each, twice, and the spare
/// capacity of the set, about 20 MB. Older ones are forgotten.
const MAX_ENDED: usize = 1 << 18;

/// The sessions that have ended last, so that a late `DELETE` of one succeeds.
#[derive(Debug, Default)]
pub(super) struct EndedIds {
    ids: HashSet<SessionId>,
    /// The same, the oldest first.
    order: VecDeque<SessionId>,
}

impl EndedIds {
    /// Remembers a session, and as many before it as there were at most at a time: when their
    /// stream ends and closes all of them, each is still remembered.
    pub(super) fn insert(&mut self, id: SessionId, most: usize) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        let max = most.clamp(MIN_ENDED, MAX_ENDED);
        while self.order.len() > max
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    /// Returns whether a session is remembered.
    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.ids.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_remembered_as_there_were_at_a_time() {
        for (most, remembered) in [(1, MIN_ENDED), (20_000, 20_000), (usize::MAX, MAX_ENDED)] {
            let mut ended = EndedIds::default();
            let first = SessionId::random();
            ended.insert(first, most);
            ended.insert(first, most);
            for _ in 1..remembered {
                ended.insert(SessionId::random(), most);
            }
            assert!(ended.contains(&first));
            let last = SessionId::random();
            ended.insert(last, most);
            assert!(ended.contains(&last) && !ended.contains(&first));
            assert_eq!(ended.ids.len(), remembered);
            assert_eq!(ended.order.len(), remembered);
            // Fewer may be there from now on.
            ended.insert(SessionId::random(), 0);
            assert_eq!(ended.ids.len(), MIN_ENDED);
            assert_eq!(ended.order.len(), MIN_ENDED);
        }
    }
}
