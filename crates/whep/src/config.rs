//! What the WHEP side can be told.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cors::AllowedOrigins;
use crate::ice_server::IceServer;
use crate::public_path::PublicPath;
use crate::redirect::Redirect;

/// How viewers are received over HTTP.
#[derive(Clone, Debug)]
pub struct WhepConfig {
    /// Pages from which players may use the endpoint.
    pub allowed_origins: AllowedOrigins,
    /// STUN and TURN servers that players are told of.
    pub ice_servers: Vec<IceServer>,
    /// Streams whose viewers are sent elsewhere; the first that matches counts.
    pub redirects: Vec<Redirect>,
    /// What those get who ask for a stream that is not live.
    pub offline: Offline,
    /// How long a publisher may be gone before players are told that the stream is inactive.
    pub offline_grace: Duration,
    /// Most players at a time that listen for events; each takes a connection.
    pub max_event_streams: usize,
    /// Most of them from one address, an IPv6 /64 network counting as one. This machine is not counted.
    pub max_event_streams_per_ip: usize,
    /// Whether the names of live streams are told to nobody.
    pub hides_streams: bool,
    /// The path under which a proxy serves the gateway, where the proxy does not tell it.
    pub public_path: PublicPath,
}

/// A [`WhepConfig`] that can be replaced while it is in use. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Settings(Arc<RwLock<Arc<WhepConfig>>>);

impl Settings {
    /// With this configuration to begin with.
    pub fn new(config: WhepConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// Puts another configuration into force, for requests from now on. Bounds stay as they were at the
    /// start.
    pub fn replace(&self, config: WhepConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// What is in force.
    pub fn current(&self) -> Arc<WhepConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a viewer gets who asks for a stream that is not live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offline {
    /// An error that says when to ask again.
    #[default]
    Refuse,
    /// A session, in which the stream begins when its publisher comes, and goes on when it comes back.
    Wait,
}

impl Default for WhepConfig {
    fn default() -> Self {
        Self {
            allowed_origins: AllowedOrigins::default(),
            ice_servers: Vec::new(),
            redirects: Vec::new(),
            offline: Offline::default(),
            offline_grace: Duration::from_secs(15),
            max_event_streams: 2048,
            max_event_streams_per_ip: 1024,
            hides_streams: false,
            public_path: PublicPath::default(),
        }
    }
}
