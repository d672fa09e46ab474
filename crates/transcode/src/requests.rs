//! The demands that wait for a rendition's first frame.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_hub::{Demand, DemandError};
use distributary_names::RenditionId;

/// Maximum demands that wait for one rendition.
const MAX_WAITING: usize = 1024;

/// The demands that wait, by rendition. A rendition stays requested when nobody waits anymore: the
/// viewer that needs it may not wait.
#[derive(Debug, Default)]
pub(crate) struct Requests(BTreeMap<RenditionId, Vec<Demand>>);

impl Requests {
    pub(crate) fn push(&mut self, id: RenditionId, demand: Demand) {
        let waiting = self.0.entry(id).or_default();
        waiting.retain(|demand| !demand.is_abandoned());
        if waiting.len() < MAX_WAITING {
            waiting.push(demand);
        } else {
            demand.answer(Err(DemandError::Busy));
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = RenditionId> {
        self.0.keys().copied()
    }

    pub(crate) fn contains(&self, id: RenditionId) -> bool {
        self.0.contains_key(&id)
    }

    /// Answers those that wait for a rendition: it is live.
    pub(crate) fn answer(&mut self, id: RenditionId) {
        for demand in self.0.remove(&id).unwrap_or_default() {
            demand.answer(Ok(()));
        }
    }

    /// Refuses those for which `is_refused` returns true.
    pub(crate) fn refuse(&mut self, reason: &str, is_refused: impl Fn(RenditionId) -> bool) {
        let reason: Arc<str> = reason.into();
        self.0.retain(|id, demands| {
            let is_kept = !is_refused(*id);
            if !is_kept {
                for demand in demands.drain(..) {
                    demand.answer(Err(DemandError::Failed(Arc::clone(&reason))));
                }
            }
            is_kept
        });
    }
}
