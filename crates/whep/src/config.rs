//! What the WHEP side can be told.

use crate::cors::AllowedOrigins;
use crate::ice_server::IceServer;
use crate::redirect::Redirect;

/// How viewers are received over HTTP.
#[derive(Clone, Debug, Default)]
pub struct WhepConfig {
    /// Pages from which players may use the endpoint.
    pub allowed_origins: AllowedOrigins,
    /// STUN and TURN servers that players are told of.
    pub ice_servers: Vec<IceServer>,
    /// Streams whose viewers are sent elsewhere; the first that matches counts.
    pub redirects: Vec<Redirect>,
}
