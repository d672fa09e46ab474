//! Sessions that wait for their viewer, and the check that brings it.

use std::time::Instant;

use distributary_net::FairPermit;
use distributary_webrtc::ice::{CandidatePair, IceLite, IceOutcome};

use crate::session::{Claim, PendingSession};
use crate::state::EngineState;

/// The result of a check that names no viewer of this shard.
pub(super) enum Admission {
    /// The session is this shard's now, and its handshake may begin.
    Admitted(Box<PendingSession>, Option<FairPermit>),
    /// Another shard has the session.
    Elsewhere(usize),
    /// The session waits, and the check cannot be granted. This is the answer to it.
    Refused(Vec<u8>),
    /// There is no such session, or the check is not worth an answer.
    Nothing,
}

/// Claims the session that a check names by our fragment `ufrag`, for the shard of number `shard`.
///
/// Only a valid check of its viewer gets a session: it is tried on the agent that the session is
/// going to have.
pub(super) fn admit(
    shared: &EngineState,
    shard: usize,
    ufrag: &str,
    (pair, check): (CandidatePair, &[u8]),
    now: Instant,
) -> Admission {
    let (mut refusal, mut handshake) = (None, None);
    let is_valid = |session: &mut PendingSession| {
        let config = &session.peer;
        let mut ice = IceLite::new(now, config.local.clone(), config.remote.clone());
        if let Some((local, remote)) = session.restarted.clone() {
            ice.restart(local, remote);
        }
        let mut response = Vec::new();
        let outcome = ice.handle_stun(now, pair, check, &mut response);
        if matches!(outcome, IceOutcome::Refused { .. }) {
            refusal = Some(response);
        }
        if matches!(outcome, IceOutcome::Valid(_)) {
            handshake = shared.handshakes.begin(session.context.counts_as, now);
            session.was_heard = true;
        }
        handshake.is_some()
    };
    match shared.registry.claim(ufrag, shard, is_valid) {
        Claim::Claimed(session) => Admission::Admitted(session, handshake),
        Claim::Elsewhere(shard) => Admission::Elsewhere(shard),
        Claim::Unknown => refusal.map_or(Admission::Nothing, Admission::Refused),
    }
}
