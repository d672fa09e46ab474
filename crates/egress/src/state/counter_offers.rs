//! The counter-offers that wait for their answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributary_hub::Reservation;
use distributary_webrtc::sdp::{LocalParameters, NegotiationError};

use super::identity::Identity;
use crate::error::{AcceptError, OpenError};
use crate::session::{SessionContext, SessionId, ViewerOptions};

/// Timeout for the player's answer (draft-ietf-wish-whep, "Server Sends Counter-Offer").
pub const OFFER_LIFETIME: Duration = Duration::from_secs(30);

/// Counter-offers that wait for their answers.
#[derive(Default)]
pub(crate) struct CounterOffers {
    by_id: Mutex<HashMap<SessionId, PendingOffer>>,
}

/// A counter-offer that waits for its answer.
pub(crate) struct PendingOffer {
    pub(crate) local: LocalParameters,
    pub(crate) identity: Arc<Identity>,
    pub(crate) options: ViewerOptions,
    pub(crate) reservation: Reservation,
    pub(crate) made: Instant,
    pub(crate) context: SessionContext,
}

impl CounterOffers {
    /// Adds an offer.
    pub(crate) fn insert(&self, id: SessionId, offer: PendingOffer) {
        self.lock().insert(id, offer);
    }

    /// Returns whether an offer with this id waits.
    pub(crate) fn contains(&self, id: &SessionId) -> bool {
        self.lock().contains_key(id)
    }

    /// Withdraws an offer. Returns `false` if there is none with this id.
    pub(crate) fn remove(&self, id: &SessionId) -> bool {
        let removed = self.lock().remove(id);
        removed.is_some()
    }

    /// Removes offers that were not answered in time.
    pub(crate) fn expire(&self, now: Instant) {
        let is_late =
            |offer: &PendingOffer| now.saturating_duration_since(offer.made) > OFFER_LIFETIME;
        let late: Vec<_> = self.lock().extract_if(|_, offer| is_late(offer)).collect();
        // Dropping their streams takes time, so it happens after the lock.
        drop(late);
    }

    /// Removes the offer that `answer` accepts. On an error it keeps waiting for another answer.
    pub(crate) fn accept<T>(
        &self,
        id: &SessionId,
        answer: impl FnOnce(&PendingOffer) -> Result<T, NegotiationError>,
    ) -> Result<(PendingOffer, T), AcceptError> {
        let mut by_id = self.lock();
        let accepted = answer(by_id.get(id).ok_or(AcceptError::NoOffer)?);
        let accepted = accepted.map_err(OpenError::from)?;
        let offer = by_id.remove(id).ok_or(AcceptError::NoOffer)?;
        Ok((offer, accepted))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, PendingOffer>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
