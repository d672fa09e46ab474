//! Counter-offers: SDP offers of the gateway, and the answers of players to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use distributary_hub::Reservation;
use distributary_names::StreamName;

use super::enter::{AgreedSession, enter, new_context};
use super::{AcceptError, Identity, OpenError, ViewerOptions, local};
use crate::session::SessionContext;
use crate::session::SessionId;
use crate::shared::Shared;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{Answer, LocalParameters, NegotiationError};

/// Timeout for the player's answer (draft-ietf-wish-whep, "Server Sends Counter-Offer").
pub const OFFER_LIFETIME: Duration = Duration::from_secs(30);

/// A counter-offer that waits for the player's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterOffer {
    /// The id of the session that the answer opens.
    pub id: SessionId,
    /// The SDP offer.
    pub offer: String,
    /// Tag of the session's ICE state, as [`OpenedSession::etag`](super::OpenedSession::etag).
    pub etag: String,
}

/// Counter-offers that wait for their answers.
#[derive(Default)]
pub(crate) struct CounterOffers {
    by_id: Mutex<HashMap<SessionId, PendingOffer>>,
}

/// A counter-offer that waits for its answer.
struct PendingOffer {
    local: LocalParameters,
    identity: Arc<Identity>,
    options: ViewerOptions,
    reservation: Reservation,
    made: Instant,
    context: SessionContext,
}

impl CounterOffers {
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
    fn accept<T>(
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

/// Offers all tracks of a stream.
pub(super) fn offer(
    shared: &Shared,
    stream: &StreamName,
    options: ViewerOptions,
    now: Instant,
) -> Result<CounterOffer, OpenError> {
    let id = SessionId::random();
    let identity = shared.identities.current(now);
    let local = local::parameters(shared, &identity, Credentials::generate()?);
    let reservation = shared.hub.reserve(stream, now);
    let plan = local::plan(&reservation.stream().stats(), &shared.config);
    let offer = plan.counter_offer(&local)?;
    let etag = local.ice.ufrag().to_owned();
    let context = new_context(shared, &id, stream, options)?;
    let span = context.span.clone();
    let pending = PendingOffer {
        local,
        identity,
        options,
        reservation,
        made: now,
        context,
    };
    shared.counter_offers.lock().insert(id, pending);
    tracing::info!(parent: &span, "offered");
    Ok(CounterOffer { id, offer, etag })
}

/// Opens a session from an offer and its answer.
pub(super) fn accept(
    shared: &Shared,
    id: &SessionId,
    answer: &Answer,
    now: Instant,
) -> Result<(), AcceptError> {
    let (offer, negotiated) = shared.counter_offers.accept(id, |offer| {
        let stats = offer.reservation.stream().stats();
        answer.accept(&local::plan(&stats, &shared.config), &offer.local)
    })?;
    let agreed = AgreedSession {
        id: *id,
        local: offer.local,
        identity: offer.identity,
        negotiated,
        options: offer.options,
        reservation: offer.reservation,
        context: offer.context,
    };
    Ok(enter(shared, agreed, now)?)
}
