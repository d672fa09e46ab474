//! Asks for permission on behalf of a client.

use std::net::SocketAddr;
use std::sync::Arc;

use distributary_auth::{AccessRequest, Action, Denied};
use distributary_names::StreamName;

use crate::clock::wall_clock;
use crate::proto::name::Query;
use crate::server::context::ServerContext;

/// A client that asks to publish or play.
pub(super) struct Requester {
    pub(super) context: Arc<ServerContext>,
    pub(super) peer: SocketAddr,
    /// The client's `flashVer`.
    pub(super) client: Option<String>,
}

impl Requester {
    /// Authorizes an action on a stream. Returns the expiry of the permission; `None` for no
    /// expiry.
    ///
    /// # Errors
    /// Returns [`Refused::Denied`] if the authorizer denies it, and [`Refused::Draining`] while the
    /// server is shutting down.
    pub(super) async fn authorize(
        &self,
        action: Action,
        name: &StreamName,
        query: &Query,
    ) -> Result<Option<tokio::time::Instant>, Refused> {
        if *self.context.config.draining.borrow() {
            return Err(Refused::Draining);
        }
        let request = AccessRequest {
            action,
            stream: name,
            ip: self.peer.ip(),
            bearer: None,
            query: query.as_str(),
            client: self.client.as_deref(),
        };
        let grant = self.context.config.auth.authorize(&request).await?;
        let left = grant.left(wall_clock());
        Ok(left.and_then(|left| tokio::time::Instant::now().checked_add(left)))
    }
}

/// The reason why a client may not publish or play.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{}{}", .0, how(.0))]
    Denied(#[from] Denied),
    #[error("this server is shutting down; try another one, or try again later")]
    Draining,
}

/// Returns how an RTMP client sends what is missing.
fn how(denied: &Denied) -> &'static str {
    match denied {
        Denied::Missing => {
            ": put it behind the stream key, as in test?key=..., or behind the name in the URL"
        }
        _ => "",
    }
}
