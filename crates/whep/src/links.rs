//! Links of a session: its path, its ICE servers and its events.

use std::time::SystemTime;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use distributary_egress::session::SessionId;

use crate::config::FrontConfig;
use crate::events::kind::EventSet;
use crate::ice_server::IceServer;
use crate::public_path::PublicPath;

/// Relation of the events of a session (draft-ietf-wish-whep).
const RELATION: &str = "urn:ietf:params:whep:ext:core:server-sent-events";

/// Returns the path of a session, for a player that reaches the gateway under `public`. It is
/// absolute, because some players cannot resolve relative paths.
pub(crate) fn session_path(public: &PublicPath, id: &SessionId) -> String {
    format!("{public}/session/{id}")
}

/// Adds the `Link` headers of a session.
pub(crate) fn add(
    response: &mut Response,
    config: &FrontConfig,
    public: &PublicPath,
    id: &SessionId,
) {
    add_ice_servers(response, config.ice_servers.iter());
    if let Some(events) = to_events(public, id) {
        response.headers_mut().append(header::LINK, events);
    }
}

/// Adds a `Link` header for each STUN and TURN server.
pub(crate) fn add_ice_servers<'a>(
    response: &mut Response,
    servers: impl Iterator<Item = &'a IceServer>,
) {
    #[expect(
        clippy::disallowed_methods,
        reason = "requests are answered at the moment they come"
    )]
    let now = SystemTime::now();
    for server in servers {
        response
            .headers_mut()
            .append(header::LINK, server.link(now));
    }
}

/// Returns the `Link` header that announces the events of a session; `None` if the public path
/// cannot be written into a header.
fn to_events(public: &PublicPath, id: &SessionId) -> Option<HeaderValue> {
    let link = format!(
        "<{}/events>; rel=\"{RELATION}\"; events=\"{}\"",
        session_path(public, id),
        EventSet::all()
    );
    HeaderValue::from_str(&link).ok()
}
