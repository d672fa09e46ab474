//! The sessions that have ended last.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::id::SessionId;

/// Sessions that are remembered at least, however few there may be at a time.
const MIN_ENDED: usize = 4096;

/// Sessions that are remembered at most, however many there may be at a time: with 16 bytes each, twice, and what
/// the set keeps free, about 20 MB. Those that ended before are forgotten.
const MAX_ENDED: usize = 1 << 18;

/// Remembers the sessions that have ended last, so that whoever ends one of them hears that this is done.
#[derive(Debug, Default)]
pub(crate) struct Ended(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    ids: HashSet<SessionId>,
    /// The same, the oldest first.
    order: VecDeque<SessionId>,
}

impl Ended {
    /// Remembers a session, and as many before it as there were at most at a time: when the stream of all of them ends,
    /// each is still known.
    pub(crate) fn insert(&self, id: SessionId, most: usize) {
        let mut remembered = self.lock();
        if !remembered.ids.insert(id) {
            return;
        }
        remembered.order.push_back(id);
        let max = most.clamp(MIN_ENDED, MAX_ENDED);
        while remembered.order.len() > max
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.ids.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, id: &SessionId) -> bool {
        self.lock().ids.contains(id)
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_may_be_are_remembered_and_those_before_forgotten() {
        for (most, remembered) in [(1, MIN_ENDED), (20_000, 20_000), (usize::MAX, MAX_ENDED)] {
            let ended = Ended::default();
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
            assert_eq!(ended.lock().ids.len(), remembered);
            assert_eq!(ended.lock().order.len(), remembered);
            // Fewer may be there from now on.
            ended.insert(SessionId::random(), 0);
            assert_eq!(ended.lock().ids.len(), MIN_ENDED);
            assert_eq!(ended.lock().order.len(), MIN_ENDED);
        }
    }
}
