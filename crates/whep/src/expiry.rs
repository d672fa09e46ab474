//! Sessions that end with the token they were opened with.
//!
//! At the token's expiry a player that listens for events is asked to reconnect, by which it may show a newer
//! token. The session ends when the old one would not be accepted any more, [`LEEWAY`](distributary_auth::jwt::LEEWAY) later.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use distributary_auth::Grant;
use distributary_egress::engine::Engine;
use distributary_egress::session::SessionId;
use tokio::time::Instant;

/// When the tokens of sessions expire. Nothing is kept of a session that has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiry(Arc<DashMap<SessionId, Instant>>);

impl Expiry {
    /// Ends a session, just opened, at the end of what it was granted.
    pub(crate) fn follow(&self, engine: &Engine, id: SessionId, grant: Grant) {
        let (Some(expires), Some(mut session)) = (grant.expires, engine.watch(&id)) else {
            return;
        };
        let (now, today) = (Instant::now(), wall_clock());
        let end = grant.left(today).and_then(|left| now.checked_add(left));
        let Some(end) = end else {
            return;
        };
        let until_expiry = expires.duration_since(today).unwrap_or(Duration::ZERO);
        // A player that shows a token in its last seconds has no newer one to come back with.
        if let Some(expiry) = now.checked_add(until_expiry).filter(|at| *at > now) {
            self.0.insert(id, expiry);
        }
        let (expiries, engine) = (Arc::clone(&self.0), engine.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = session.ended() => {}
                () = tokio::time::sleep_until(end) => {
                    tracing::info!(viewer = %id.short(), "session ended: its token has expired");
                    engine.close(&id);
                }
            }
            expiries.remove(&id);
        });
    }

    /// When the player of a session is to be asked to reconnect.
    pub(crate) fn of(&self, id: &SessionId) -> Option<Instant> {
        self.0.get(id).map(|at| *at)
    }
}

/// The wall clock, by which tokens expire.
#[expect(
    clippy::disallowed_methods,
    reason = "sessions are granted the moment they are opened"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
