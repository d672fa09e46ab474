//! Counter-offers: SDP offers of the gateway, and the answers of players to them.

use std::time::Instant;

use distributary_hub::Reservation;
use distributary_names::StreamName;

use super::enter::{AgreedSession, Entered, enter, new_context};
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
    match shared.counter_offers.accept(id, accepts, enters)? {
        Ok((options, entered)) => {
            entered.finish()?;
            Ok(options)
        }
        Err(refused) => Err(refused.error.into()),
    }
}

/// A page that answers and becomes no viewer, because of a limit.
struct RefusedPage {
    error: OpenError,
    _reservation: Reservation,
}

/// Enters the session of an offer that was answered. Returns the options of its viewer, and what is left
/// to log and to drop.
fn enter_answered(
    shared: &EngineState,
    id: &SessionId,
    offer: PendingOffer,
    negotiated: Negotiated,
    now: Instant,
) -> Result<(ViewerOptions, Entered), RefusedPage> {
    let options = offer.options;
    let context = match offer.to {
        OfferedTo::Viewer(context) => context,
        OfferedTo::Page { .. } => {
            shared.prepared.note_answered();
            let stream = offer.reservation.stream().name();
            match new_context(shared, id, stream, &options) {
                Ok(context) => context,
                Err(error) => {
                    return Err(RefusedPage {
                        error,
                        _reservation: offer.reservation,
                    });
                }
            }
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
    Ok((options, enter(shared, agreed, now)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::{Engine, EngineConfig};
    use crate::state::PREPARED_LIFETIME;
    use distributary_hub::{Hub, HubConfig};
    use distributary_webrtc::certificate::{Certificate, Fingerprint};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};
    use tracing::Event;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    /// Returns a player's answer to a counter-offer.
    pub(in crate::engine) fn answer_to(offer: &str, fingerprint: &Fingerprint) -> Answer {
        let lines = offer
            .lines()
            .filter(|line| !line.starts_with("a=candidate"));
        let lines = lines.map(|ours| match ours.split_once(':') {
            Some(("a=ice-ufrag", _)) => "a=ice-ufrag:view".to_owned(),
            Some(("a=ice-pwd", _)) => "a=ice-pwd:thePasswordOfTheViewer".to_owned(),
            Some(("a=fingerprint", _)) => format!("a=fingerprint:{fingerprint}"),
            Some(("a=setup", _)) => "a=setup:active".to_owned(),
            None if ours == "a=sendonly" => "a=recvonly".to_owned(),
            _ => ours.to_owned(),
        });
        let text: String = lines.map(|line| format!("{line}\r\n")).collect();
        Answer::parse(&text).unwrap()
    }

    fn start() -> Engine {
        let config = EngineConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            candidates: vec![[127, 0, 0, 1].into()],
            ..EngineConfig::default()
        };
        Engine::start(config, Hub::new(HubConfig::default())).unwrap()
    }

    async fn stop(engine: Engine) {
        let stopped = tokio::task::spawn_blocking(move || engine.shutdown());
        stopped.await.unwrap();
    }

    /// Notes for each event of the log whether somebody holds the table of counter-offers.
    struct Watches {
        shared: Arc<EngineState>,
        held: Arc<Mutex<Vec<bool>>>,
    }

    impl<S: tracing::Subscriber> Layer<S> for Watches {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            let is_held = self.shared.counter_offers.is_locked();
            self.held.lock().unwrap().push(is_held);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    #[expect(clippy::disallowed_methods, reason = "a running engine")]
    async fn table_of_counter_offers_is_free_while_an_answer_is_logged() {
        let engine = start();
        let (shared, now) = (&engine.shared, Instant::now());
        let certificate = Certificate::generate(SystemTime::now()).unwrap();
        let stream = StreamName::parse("live/test").unwrap();
        let held = Arc::default();
        let watches = Watches {
            shared: Arc::clone(shared),
            held: Arc::clone(&held),
        };
        let subscriber = tracing_subscriber::registry().with(watches);
        tracing::subscriber::with_default(subscriber, || {
            let options = ViewerOptions::default();
            let offered = offer(shared, &stream, options, now).unwrap();
            let answer = answer_to(&offered.offer, certificate.fingerprint());
            accept(shared, &offered.id, &answer, now).unwrap();
        });
        let held = std::mem::take(&mut *held.lock().unwrap());
        assert!(held.len() >= 2, "it is offered and answered: {held:?}");
        assert!(!held.contains(&true), "{held:?}");
        stop(engine).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    #[expect(clippy::disallowed_methods, reason = "a running engine")]
    async fn unanswered_page_gives_its_session_back_sooner_than_a_viewer() {
        let engine = start();
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
        stop(engine).await;
    }
}
