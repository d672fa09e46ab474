//! Offers of our own, and the answers of players to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use distributary_hub::{Reservation, StreamName};

use super::open::{self, OpenError, OpenedSession, ViewerOptions};
use super::{Identity, Shared};
use crate::session::SessionId;
use crate::visit::Visit;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{LocalParameters, Offer};

/// How long a player may take to answer (draft-ietf-wish-whep, "Server Sends Counter-Offer").
pub const OFFER_LIFETIME: Duration = Duration::from_secs(30);

/// Why a player's answer leads to no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nothing was offered under this name, or too long ago, or it is answered.
    #[error("there is no offer of this name that waits for an answer")]
    NoOffer,
    /// The answer cannot be used.
    #[error(transparent)]
    Answer(#[from] OpenError),
}

/// Offers that wait for their answers.
#[derive(Default)]
pub(crate) struct Offers {
    by_id: DashMap<SessionId, PendingOffer>,
}

/// An offer that was made.
struct PendingOffer {
    local: LocalParameters,
    identity: Arc<Identity>,
    options: ViewerOptions,
    reservation: Reservation,
    made: Instant,
    visit: Visit,
}

impl Offers {
    /// Whether there is an offer of this name.
    pub(crate) fn contains(&self, id: &SessionId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Takes an offer back. `false`: there is none of this name.
    pub(crate) fn remove(&self, id: &SessionId) -> bool {
        self.by_id.remove(id).is_some()
    }

    /// Forgets those that were not answered in time.
    pub(crate) fn expire(&self, now: Instant) {
        self.by_id
            .retain(|_, offer| now.saturating_duration_since(offer.made) <= OFFER_LIFETIME);
    }
}

/// Makes an offer of all that a stream has.
pub(super) fn offer(
    shared: &Shared,
    stream: &StreamName,
    options: ViewerOptions,
    now: Instant,
) -> Result<OpenedSession, OpenError> {
    let id = SessionId::random();
    let ice = Credentials::generate().map_err(|error| OpenError::Internal(error.to_string()))?;
    let identity = shared.identities.current(now);
    let local = open::local_parameters(shared, &identity, ice);
    let reservation = shared.hub.reserve(stream, now);
    let plan = open::plan(&reservation.stream().stats(), &shared.config);
    let offer = plan.offer(&local)?;
    let etag = local.ice.ufrag().to_owned();
    let visit = open::visit(shared, &id, stream, options)?;
    tracing::info!(parent: &visit.span, "offered");
    let pending = PendingOffer {
        local,
        identity,
        options,
        reservation,
        made: now,
        visit,
    };
    shared.offers.by_id.insert(id, pending);
    Ok(OpenedSession {
        id,
        answer: offer,
        notices: Vec::new(),
        etag,
    })
}

/// Makes a session of an offer and its answer.
pub(super) fn accept(
    shared: &Shared,
    id: &SessionId,
    answer: &str,
    now: Instant,
) -> Result<(), AcceptError> {
    let answer = Offer::parse(answer).map_err(OpenError::from)?;
    // It waits on until an answer is good, which may be the next.
    let negotiated = {
        let offer = shared.offers.by_id.get(id).ok_or(AcceptError::NoOffer)?;
        let plan = open::plan(&offer.reservation.stream().stats(), &shared.config);
        answer
            .answer(&plan, &offer.local)
            .map_err(OpenError::from)?
            .negotiated
    };
    let (_, offer) = shared.offers.by_id.remove(id).ok_or(AcceptError::NoOffer)?;
    let PendingOffer {
        local,
        identity,
        options,
        reservation,
        visit,
        ..
    } = offer;
    open::enter(
        shared,
        *id,
        (local, &identity),
        (negotiated, options, visit),
        reservation,
        now,
    )
    .map_err(OpenError::from)?;
    Ok(())
}
