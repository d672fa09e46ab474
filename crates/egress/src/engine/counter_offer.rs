//! Counter-offers: SDP offers of the gateway, and the answers of players to them.

use std::time::Instant;

use distributary_names::StreamName;

use super::enter::{AgreedSession, enter, new_context};
use super::local;
use crate::error::{AcceptError, OpenError};
use crate::session::{SessionId, ViewerOptions};
use crate::state::{EngineState, PendingOffer};
use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::Answer;

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

/// Offers all tracks of a stream.
pub(super) fn offer(
    shared: &EngineState,
    stream: &StreamName,
    options: ViewerOptions,
    now: Instant,
) -> Result<CounterOffer, OpenError> {
    let id = SessionId::random();
    let identity = shared.identities.current(now);
    // The player's answer decides on the role.
    let role = DtlsRole::Server;
    let local = local::parameters(shared, &identity, Credentials::generate()?, role);
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
    shared.counter_offers.insert(id, pending);
    tracing::info!(parent: &span, "offered");
    Ok(CounterOffer { id, offer, etag })
}

/// Opens a session from an offer and its answer.
pub(super) fn accept(
    shared: &EngineState,
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
