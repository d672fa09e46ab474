//! The sessions that have ended last.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::session::SessionId;

/// Sessions that are remembered, 16 bytes each, twice. Those that ended before are forgotten.
const MAX_ENDED: usize = 4096;

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
    pub(crate) fn insert(&self, id: SessionId) {
        let mut remembered = self.lock();
        if !remembered.ids.insert(id) {
            return;
        }
        remembered.order.push_back(id);
        if remembered.order.len() > MAX_ENDED
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
    fn the_last_are_remembered_and_those_before_forgotten() {
        let ended = Ended::default();
        let first = SessionId::random();
        ended.insert(first);
        ended.insert(first);
        for _ in 1..MAX_ENDED {
            ended.insert(SessionId::random());
        }
        assert!(ended.contains(&first));
        let last = SessionId::random();
        ended.insert(last);
        assert!(ended.contains(&last) && !ended.contains(&first));
        let remembered = ended.lock();
        assert_eq!(remembered.ids.len(), MAX_ENDED);
        assert_eq!(remembered.order.len(), MAX_ENDED);
    }
}
