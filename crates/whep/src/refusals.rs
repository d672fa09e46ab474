//! Refused viewers, counted by reason for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

/// The reason why a player that asks for a session gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// The stream is not live.
    NotLive,
    /// Access is denied, or a token is missing.
    Access,
    /// Its offer cannot be used.
    Offer,
    /// Too many requests from its address.
    Rate,
    /// A limit of viewers is reached, or the gateway drains.
    Full,
    /// The gateway failed.
    Internal,
}

impl RefusalReason {
    /// All reasons.
    pub(crate) const ALL: [Self; 6] = [
        Self::NotLive,
        Self::Access,
        Self::Offer,
        Self::Rate,
        Self::Full,
        Self::Internal,
    ];

    /// Returns the name of the reason in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotLive => "not_live",
            Self::Access => "access",
            Self::Offer => "offer",
            Self::Rate => "rate",
            Self::Full => "full",
            Self::Internal => "internal",
        }
    }

    /// Returns the reason for the status of a response; `None` if it is no refusal. A counter-offer
    /// has the status 406 as well, and is told apart by its `Location`.
    fn of(response: &Response) -> Option<Self> {
        let status = response.status();
        if response.headers().contains_key("location") {
            return None;
        }
        match status {
            // 404 for players of MediaMTX.
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Some(Self::NotLive),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Self::Access),
            StatusCode::TOO_MANY_REQUESTS => Some(Self::Rate),
            StatusCode::SERVICE_UNAVAILABLE => Some(Self::Full),
            status if status.is_server_error() => Some(Self::Internal),
            status if status.is_client_error() => Some(Self::Offer),
            _ => None,
        }
    }
}

/// Counts refused viewers. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<[AtomicU64; RefusalReason::ALL.len()]>);

impl Refusals {
    /// Returns the number of viewers that were refused for this reason.
    pub(crate) fn count(&self, reason: RefusalReason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}

/// Counts the response to a request for a session, if it is a refusal.
pub(crate) async fn count(
    State(refusals): State<Refusals>,
    request: Request,
    next: Next,
) -> Response {
    // Other posts belong to a session.
    let is_offer =
        *request.method() == Method::POST && !request.uri().path().starts_with("/session/");
    let response = next.run(request).await;
    if let Some(reason) = RefusalReason::of(&response).filter(|_| is_offer) {
        refusals.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
    response
}
