//! Ends sessions when the token they were opened with expires.
//!
//! At the token's expiry, a player that listens for events is asked to reconnect, so that it can
//! present a newer token. The session ends [`LEEWAY`](distributary_auth::jwt::LEEWAY) later, when
//! the old token is no longer accepted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use distributary_auth::Grant;
use distributary_egress::engine::Engine;
use distributary_egress::session::SessionId;
use tokio::time::Instant;

use crate::closing;

/// Expiry times of the tokens of sessions. Entries are removed when the session ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiry(Arc<DashMap<SessionId, Instant>>);

impl Expiry {
    /// Ends a session that was just opened when its grant expires. Does nothing for an offer, whose
    /// session is opened by its answer.
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
        // A player that presents a token in its last seconds has no newer one to reconnect with.
        if let Some(expiry) = now.checked_add(until_expiry).filter(|at| *at > now) {
            self.0.insert(id, expiry);
        }
        let (expiries, engine) = (Arc::clone(&self.0), engine.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = session.ended() => {}
                () = close_at(end, &engine, id) => {}
            }
            expiries.remove(&id);
        });
    }

    /// Returns the time at which the player of a session is asked to reconnect.
    pub(crate) fn of(&self, id: &SessionId) -> Option<Instant> {
        self.0.get(id).map(|at| *at)
    }
}

/// Ends a session at this time.
async fn close_at(end: Instant, engine: &Engine, id: SessionId) {
    tokio::time::sleep_until(end).await;
    tracing::info!(viewer = %id.short(), "session ended: its token has expired");
    closing::close(engine, id).await;
}

/// Returns the wall clock time. Tokens expire by the wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "sessions are granted the moment they are opened"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
