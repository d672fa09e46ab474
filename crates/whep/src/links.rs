//! Links of a session: its path, its ICE servers, its events and its layer.

use std::time::SystemTime;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use distributary_egress::session::SessionId;
use distributary_names::StreamName;

use crate::events::kind::EventSet;
use crate::front_door::FrontDoor;
use crate::ice_server::IceServer;
use crate::public_path::PublicPath;
use crate::session_segment;

/// Relation of the events of a session (draft-ietf-wish-whep).
const RELATION: &str = "urn:ietf:params:whep:ext:core:server-sent-events";

/// Relation of the layer of a session (draft-ietf-wish-whep).
const LAYER_RELATION: &str = "urn:ietf:params:whep:ext:core:layer";

/// Returns the URL of a session. In a cluster it leads to this gateway, which alone has the session, also
/// if a load balancer stands before the others. Otherwise it is the path for a player that reaches the
/// gateway under `public`: absolute, because some players cannot resolve relative paths.
pub(crate) fn session_url(front: &FrontDoor, public: &PublicPath, id: &SessionId) -> String {
    let session = session_segment::of(front.nodes.this_name(), id);
    match front.nodes.this_url() {
        Some(url) => format!("{url}/session/{session}"),
        None => format!("{public}/session/{session}"),
    }
}

/// Adds the `Link` headers of a session of `stream`.
pub(crate) fn add(
    response: &mut Response,
    front: &FrontDoor,
    public: &PublicPath,
    id: &SessionId,
    stream: &StreamName,
) {
    let session = session_url(front, public, id);
    add_ice_servers(response, front.config.current().ice_servers.iter());
    let alternates = front.nodes.alternates(stream);
    let alternates = alternates.iter().filter_map(|url| to_alternate(url));
    let links = [to_events(&session), to_layer(&session)];
    for link in links.into_iter().flatten().chain(alternates) {
        response.headers_mut().append(header::LINK, link);
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

/// Returns the `Link` header that announces the events of the session at a URL; `None` if that cannot be
/// written into a header.
fn to_events(session: &str) -> Option<HeaderValue> {
    let link = format!(
        "<{session}/events>; rel=\"{RELATION}\"; events=\"{}\"",
        EventSet::all()
    );
    HeaderValue::from_str(&link).ok()
}

/// Returns the `Link` header that announces the layer of a session, as [`to_events`] does.
fn to_layer(session: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("<{session}/layer>; rel=\"{LAYER_RELATION}\"")).ok()
}

/// Returns the `Link` header of the stream's endpoint at another gateway (RFC 8288; the relation is
/// that of HTML).
pub(crate) fn to_alternate(endpoint: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("<{endpoint}>; rel=\"alternate\"")).ok()
}
