//! Refuses requests beyond the rate limit of their address.

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::access::{Access, PeerAddress};
use crate::limits::{Kind, counts};
use crate::problem::Problem;

/// Counts a request, and passes it on if its address is within the limits.
pub(crate) async fn limit(
    State(access): State<Access>,
    peer: Option<Extension<PeerAddress>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(kind) = Kind::of(request.method(), request.headers()) {
        let peer = peer.as_ref().map(|Extension(peer)| peer);
        let ip = access.address(peer, request.headers());
        if counts(ip) {
            access.limits().count(ip, kind)?;
        }
    }
    Ok(next.run(request).await)
}
