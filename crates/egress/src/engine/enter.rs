//! Enters a negotiated session into the registry.

use std::sync::Arc;
use std::time::Instant;

use distributary_hub::Reservation;
use distributary_names::StreamName;
use tracing::Span;

use crate::error::OpenError;
use crate::session::{PendingSession, SessionContext, SessionId, ViewerOptions};
use crate::state::{EngineState, Identity};
use distributary_webrtc::dtls::DtlsRole;
use distributary_webrtc::ice::Credentials;
use distributary_webrtc::peer::PeerConfig;
use distributary_webrtc::sdp::{LocalParameters, Negotiated, Note};
use distributary_webrtc::sender::SenderConfig;

/// A negotiated session.
pub(super) struct AgreedSession {
    pub(super) id: SessionId,
    pub(super) local: LocalParameters,
    pub(super) identity: Arc<Identity>,
    pub(super) negotiated: Negotiated,
    pub(super) options: ViewerOptions,
    pub(super) reservation: Reservation,
    pub(super) context: SessionContext,
}

/// The log lines and the objects of an attempt to enter a session, for after the lock.
#[must_use]
pub(super) struct Entered {
    span: Span,
    notes: Vec<Note>,
    /// The session, if it could not be entered.
    refused: Option<Box<PendingSession>>,
    _identity: Arc<Identity>,
}

impl Entered {
    /// Logs how a session was entered.
    pub(super) fn finish(self) -> Result<(), OpenError> {
        for note in &self.notes {
            tracing::info!(parent: &self.span, "{note}");
        }
        if self.refused.is_some() {
            return Err(OpenError::NameTaken);
        }
        tracing::info!(parent: &self.span, "answered");
        Ok(())
    }
}

/// Enters a session into the registry, where it waits for the viewer's first packet.
pub(super) fn enter(shared: &EngineState, agreed: AgreedSession, now: Instant) -> Entered {
    let AgreedSession {
        id,
        local,
        identity,
        mut negotiated,
        options,
        reservation,
        context,
    } = agreed;
    let span = context.span.clone();
    let notes = std::mem::take(&mut negotiated.notes);
    let cname: Arc<str> = local.cname.as_str().into();
    let session = PendingSession {
        id,
        stream: reservation.stream().name().clone(),
        dtls: identity.dtls(DtlsRole::of_answer(negotiated.setup), &options),
        peer: peer_config(shared, negotiated, &options, local.ice, cname),
        restarted: None,
        b_frames: options.b_frames,
        preference: options.quality,
        created: now,
        was_heard: false,
        reservation,
        context,
    };
    let refused = shared.registry.insert(session).err();
    if refused.is_none() {
        shared.outcomes.note_asked(now);
    }
    Entered {
        span,
        notes,
        refused,
        _identity: identity,
    }
}

/// Creates the context of a session, if the limits admit another viewer.
pub(super) fn new_context(
    shared: &EngineState,
    id: &SessionId,
    stream: &StreamName,
    options: &ViewerOptions,
) -> Result<SessionContext, OpenError> {
    let permit = shared.hub.viewers().admit(stream, options.counts_as)?;
    // The session may move from the stream to its rendition and back.
    Ok(SessionContext::new(
        id,
        &stream.published(),
        options,
        permit,
    ))
}

fn peer_config(
    shared: &EngineState,
    negotiated: Negotiated,
    options: &ViewerOptions,
    ice: Credentials,
    cname: Arc<str>,
) -> PeerConfig {
    let video = negotiated.video.as_ref().map(|video| SenderConfig {
        reorders: options.reorders,
        ..SenderConfig::video(video)
    });
    let audio = negotiated.audio.as_ref().map(SenderConfig::audio);
    PeerConfig {
        local: ice,
        remote: negotiated.remote.ice,
        fingerprints: negotiated.remote.fingerprints,
        role: DtlsRole::of_answer(negotiated.setup),
        video,
        audio,
        data: negotiated.data.map(|data| data.config),
        cname,
        start_pacing: shared.config.viewers.start_pacing,
        pace_frames: shared.config.viewers.pacing,
        reports_silence: shared.config.reports_silence,
        playout_delay: shared.config.viewers.playout_delay.policy(),
    }
}
