//! Counter-offers: SDP offers of the gateway, and the answers of players to them.

use std::time::Instant;

use distributary_names::StreamName;

use super::enter::{AgreedSession, enter, new_context};
use super::local;
use crate::error::{AcceptError, OpenError, PrepareError};
use crate::session::{SessionId, ViewerOptions};
use crate::state::{EngineState, OfferedTo, PendingOffer};
use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::sdp::{Answer, Negotiated};

/// A counter-offer that waits for the player's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterOffer {
    /// The id of the session that the answer opens.
    pub id: SessionId,
    /// The SDP offer.
    pub offer: String,
    /// Tag of the session's ICE state, as [`OpenedSession::etag`](super::OpenedSession::etag).
    pub etag: String,
    /// The DTLS role that the gateway would choose; the answer decides.
    pub role: DtlsRole,
}

/// Offers all tracks of a stream to a viewer that asks for an offer.
pub(super) fn offer(
    shared: &EngineState,
    stream: &StreamName,
    options: ViewerOptions,
    now: Instant,
) -> Result<CounterOffer, OpenError> {
    let id = SessionId::random();
    let context = new_context(shared, &id, stream, &options)?;
    let span = context.span.clone();
    let to = OfferedTo::Viewer(context);
    let offered = make(shared, id, stream, options, to, now)?;
    tracing::info!(parent: &span, "offered");
    Ok(offered)
}

/// Offers all tracks of a stream with a page.
pub(super) fn prepare(
    shared: &EngineState,
    stream: &StreamName,
    options: ViewerOptions,
    now: Instant,
) -> Result<CounterOffer, PrepareError> {
    let to = OfferedTo::Page {
        _permit: shared.prepared.admit(options.counts_as)?,
    };
    let id = SessionId::random();
    let offered = make(shared, id, stream, options, to, now)?;
    shared.prepared.note_made();
    Ok(offered)
}

fn make(
    shared: &EngineState,
    id: SessionId,
    stream: &StreamName,
    options: ViewerOptions,
    to: OfferedTo,
    now: Instant,
) -> Result<CounterOffer, OpenError> {
    let identity = shared.identities.current(now);
    let role = shared.config.viewers.setup.role(&options);
    let local = local::parameters(shared, &identity, Credentials::generate()?, role);
    let reservation = shared.hub.reserve(stream, now);
    let plan = local::plan(&reservation.stream().stats(), &shared.config);
    let offer = plan.counter_offer(&local)?;
    let etag = local.ice.ufrag().to_owned();
    let pending = PendingOffer {
        local,
        identity,
        options,
        reservation,
        expires: now + to.lifetime(),
        to,
    };
    shared.counter_offers.insert(id, pending);
    Ok(CounterOffer {
        id,
        offer,
        etag,
        role,
    })
}

/// Opens a session from an offer and its answer. A prepared session is a viewer from now on.
pub(super) fn accept(
    shared: &EngineState,
    id: &SessionId,
    answer: &Answer,
    now: Instant,
) -> Result<ViewerOptions, AcceptError> {
    let accepts = |offer: &PendingOffer| {
        let stats = offer.reservation.stream().stats();
        answer.accept(&local::plan(&stats, &shared.config), &offer.local)
    };
    let enters = |offer, negotiated| enter_answered(shared, id, offer, negotiated, now);
    shared.counter_offers.accept(id, accepts, enters)
}

/// Enters the session of an offer that was answered. Returns the options of its viewer.
fn enter_answered(
    shared: &EngineState,
    id: &SessionId,
    offer: PendingOffer,
    negotiated: Negotiated,
    now: Instant,
) -> Result<ViewerOptions, AcceptError> {
    let options = offer.options;
    let context = match offer.to {
        OfferedTo::Viewer(context) => context,
        OfferedTo::Page { .. } => {
            shared.prepared.note_answered();
            new_context(shared, id, offer.reservation.stream().name(), &options)?
        }
    };
    let agreed = AgreedSession {
        id: *id,
        local: offer.local,
        identity: offer.identity,
        negotiated,
        options: options.clone(),
        reservation: offer.reservation,
        context,
    };
    enter(shared, agreed, now)?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineConfig};
    use crate::state::PREPARED_LIFETIME;
    use distributary_hub::{Hub, HubConfig};
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread")]
    #[expect(clippy::disallowed_methods, reason = "a running engine")]
    async fn unanswered_page_gives_its_session_back_sooner_than_a_viewer() {
        let config = EngineConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            candidates: vec![[127, 0, 0, 1].into()],
            ..EngineConfig::default()
        };
        let engine = Engine::start(config, Hub::new(HubConfig::default())).unwrap();
        let (shared, now) = (&engine.shared, Instant::now());
        let stream = StreamName::parse("live/test").unwrap();
        let page = prepare(shared, &stream, ViewerOptions::default(), now).unwrap();
        let viewer = offer(shared, &stream, ViewerOptions::default(), now).unwrap();
        assert_eq!(shared.hub.viewers().count(), 1);

        shared.keep_up(now + PREPARED_LIFETIME);
        assert!(engine.is_offered(&page.id));
        shared.keep_up(now + PREPARED_LIFETIME + Duration::from_millis(1));
        assert!(!engine.is_offered(&page.id) && engine.is_offered(&viewer.id));
        assert_eq!(engine.prepared().expired, 1);
        let stopping = engine.clone();
        let stopped = tokio::task::spawn_blocking(move || stopping.shutdown());
        stopped.await.unwrap();
    }
}
