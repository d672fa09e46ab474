//! Sessions that wait for their viewer, and the check that brings it.

use std::time::Instant;

use distributary_net::FairPermit;
use distributary_webrtc::ice::{CandidatePair, IceLite, IceOutcome};

use crate::session::{Challenge, Claim, Found, PendingSession};
use crate::state::EngineState;

/// The result of a check that names no viewer of this shard.
pub(super) enum Admission {
    /// The session is this shard's now, and its handshake may begin.
    Admitted(Box<PendingSession>, FairPermit),
    /// Another shard has the session.
    Elsewhere(usize),
    /// The session waits, and the check cannot be granted. This is the answer to it.
    Refused(Vec<u8>),
    /// There is no such session, or the check is not worth an answer.
    Nothing,
}

/// Claims the session that a check names by our fragment `ufrag`, for the shard of number `shard`.
///
/// Only a valid check of its viewer gets a session. The session may change between the verification
/// and the claim: a user name fragment always has the same password, so the claim fails if the
/// credentials of the check are gone.
pub(super) fn admit(
    shared: &EngineState,
    shard: usize,
    ufrag: &str,
    pair: CandidatePair,
    check: &[u8],
    now: Instant,
) -> Admission {
    let challenge = match shared.registry.find(ufrag) {
        Found::Waiting(challenge) => challenge,
        Found::Elsewhere(shard) => return Admission::Elsewhere(shard),
        Found::Unknown => return Admission::Nothing,
    };
    let counts_as = challenge.counts_as;
    let mut response = Vec::new();
    match agent(*challenge, now).handle_stun(now, pair, check, &mut response) {
        IceOutcome::Valid(_) => {}
        IceOutcome::Refused { .. } => return Admission::Refused(response),
        _ => return Admission::Nothing,
    }
    let Some(handshake) = shared.handshakes.begin(counts_as, now) else {
        shared.registry.note_heard(ufrag);
        return Admission::Nothing;
    };
    match shared.registry.claim(ufrag, shard) {
        Claim::Claimed(session) => Admission::Admitted(session, handshake),
        Claim::Elsewhere(shard) => Admission::Elsewhere(shard),
        Claim::Unknown => Admission::Nothing,
    }
}

/// Returns the ICE agent that the session is going to have, to verify a check.
fn agent(challenge: Challenge, now: Instant) -> IceLite {
    let mut ice = IceLite::new(now, challenge.local, challenge.remote);
    if let Some((local, remote)) = challenge.restarted {
        ice.restart(local, remote);
    }
    ice
}
