//! The counter-offers that wait for their answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use distributary_hub::Reservation;
use distributary_net::Permit;
use distributary_net::sync::{Mutex, MutexGuard};
use distributary_webrtc::sdp::{LocalParameters, NegotiationError};

use super::identity::Identity;
use super::prepared::PREPARED_LIFETIME;
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
    pub(crate) expires: Instant,
    pub(crate) to: OfferedTo,
}

/// The receiver of an offer.
pub(crate) enum OfferedTo {
    /// A viewer that has asked for it.
    Viewer(SessionContext),
    /// A page. It becomes a viewer when it answers.
    Page {
        /// Counts it among the prepared sessions.
        _permit: Permit,
    },
}

impl OfferedTo {
    /// Returns the timeout for the answer.
    pub(crate) fn lifetime(&self) -> Duration {
        match self {
            Self::Viewer(_) => OFFER_LIFETIME,
            Self::Page { .. } => PREPARED_LIFETIME,
        }
    }
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

    /// Returns the offers that such an address asked for.
    pub(crate) fn asked_from(&self, is_wanted: &dyn Fn(IpAddr) -> bool) -> Vec<SessionId> {
        let by_id = self.lock();
        let wanted = by_id.iter();
        wanted
            .filter(|(_, offer)| offer.options.address.is_some_and(is_wanted))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Withdraws an offer. Returns `false` if there is none with this id.
    pub(crate) fn remove(&self, id: &SessionId) -> bool {
        let removed = self.lock().remove(id);
        removed.is_some()
    }

    /// Removes offers that were not answered in time. Returns how many of them went to pages.
    pub(crate) fn expire(&self, now: Instant) -> usize {
        let is_late = |offer: &PendingOffer| now > offer.expires;
        let late: Vec<_> = self.lock().extract_if(|_, offer| is_late(offer)).collect();
        // Dropping their streams takes time, so it happens after the lock.
        let of_pages = late
            .iter()
            .filter(|(_, late)| matches!(late.to, OfferedTo::Page { .. }));
        of_pages.count()
    }

    /// Removes the offer that `answer` accepts, and lets `enter` make a session of it. If `answer` fails,
    /// the offer keeps waiting for another answer.
    ///
    /// The lock is held meanwhile: a request that looks for the offer first and then for the session
    /// always finds one of them. So `enter` logs nothing and drops no stream or session: it returns them to the caller.
    pub(crate) fn accept<N, T>(
        &self,
        id: &SessionId,
        answer: impl FnOnce(&PendingOffer) -> Result<N, NegotiationError>,
        enter: impl FnOnce(PendingOffer, N) -> T,
    ) -> Result<T, AcceptError> {
        let mut by_id = self.lock();
        let negotiated = answer(by_id.get(id).ok_or(AcceptError::NoOffer)?);
        let negotiated = negotiated.map_err(OpenError::from)?;
        let offer = by_id.remove(id).ok_or(AcceptError::NoOffer)?;
        Ok(enter(offer, negotiated))
    }

    /// Returns whether the table is locked.
    #[cfg(test)]
    pub(crate) fn is_locked(&self) -> bool {
        self.by_id.try_lock().is_err()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, PendingOffer>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
