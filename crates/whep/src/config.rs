//! The configuration sections `[whep]` and `[requests]`, and the settings of the request handlers.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use distributary_auth::rate::RateLimit;
use distributary_config::{Section, time};
use distributary_net::TrustedProxies;
use serde::{Deserialize, Serialize};

use crate::allowed_origins::AllowedOrigins;
use crate::ice_server::IceServer;
use crate::public_path::PublicPath;
use crate::redirect::Redirect;

/// The section `[whep]`: the public HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct WhepConfig {
    /// Origins whose pages may use the endpoint.
    #[reload]
    pub allowed_origins: AllowedOrigins,
    /// Response to a player that requests a stream that is not live.
    pub offline: Offline,
    /// Maximum number of players that listen for events. Each uses a connection.
    pub max_event_streams: usize,
    /// Anybody can list the live streams.
    #[reload]
    pub list_streams: bool,
    /// The path under which a proxy serves the gateway, if the proxy does not send it.
    #[reload]
    pub public_path: PublicPath,
}

/// Response to a viewer that requests a stream that is not live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offline {
    /// An error with a `Retry-After`.
    #[default]
    Refuse,
    /// A session, in which the stream starts when its publisher connects, and continues when it
    /// reconnects.
    Wait,
}

impl Default for WhepConfig {
    fn default() -> Self {
        Self {
            allowed_origins: AllowedOrigins::default(),
            offline: Offline::default(),
            max_event_streams: 2048,
            list_streams: true,
            public_path: PublicPath::default(),
        }
    }
}

/// The section `[requests]`: limits for HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Section)]
#[serde(default, deny_unknown_fields)]
pub struct RequestsConfig {
    /// Maximum number of connections of a listener. A further connection replaces the one that is
    /// idle for longest; when none is idle, it gets 503, except for health checks.
    pub max_connections: usize,
    /// Maximum number of connections from one address; an IPv6 /64 network counts as one. A further
    /// connection replaces an idle one of this address. Loopback and proxies are not counted.
    pub max_connections_per_ip: usize,
    /// Maximum time to receive the head of a request, and maximum idle time of a connection.
    #[serde(with = "time")]
    pub header_timeout: Duration,
    /// Maximum time for a client to read a response, or a part of an endless one. Then the
    /// connection is closed.
    #[serde(with = "time")]
    pub write_timeout: Duration,
    /// Maximum number of requests of each kind per minute and address; 0 means no limit.
    #[reload]
    pub max_posts_per_minute: u32,
    /// Maximum number of these requests at once.
    #[reload]
    pub post_burst: u32,
    /// Proxies whose `X-Forwarded-For` counts.
    #[reload]
    pub trusted_proxies: TrustedProxies,
}

impl RequestsConfig {
    /// Returns the request rate that one address may have.
    pub fn rate_limit(&self) -> RateLimit {
        RateLimit {
            burst: self.post_burst,
            per_minute: self.max_posts_per_minute,
        }
    }
}

impl Default for RequestsConfig {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_connections_per_ip: 2048,
            header_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(15),
            max_posts_per_minute: 6000,
            post_burst: 600,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

/// Configuration of the request handlers.
#[derive(Clone, Debug)]
pub struct FrontConfig {
    /// The section `[whep]`.
    pub whep: WhepConfig,
    /// STUN and TURN servers that are announced to players.
    pub ice_servers: Vec<IceServer>,
    /// Streams whose viewers are redirected; the first match applies.
    pub redirects: Vec<Redirect>,
    /// Time without a publisher after which players get the event that the stream is inactive.
    pub offline_grace: Duration,
    /// Maximum number of players of one address that listen for events; an IPv6 /64 network counts
    /// as one. Loopback is not counted.
    pub max_event_streams_per_ip: usize,
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self {
            whep: WhepConfig::default(),
            ice_servers: Vec::new(),
            redirects: Vec::new(),
            offline_grace: Duration::from_secs(15),
            max_event_streams_per_ip: 1024,
        }
    }
}

/// A [`FrontConfig`] that can be replaced while it is in use. Cloning gives another handle.
#[derive(Clone, Debug, Default)]
pub struct Settings(Arc<RwLock<Arc<FrontConfig>>>);

impl Settings {
    /// Creates settings with `config` in force.
    pub fn new(config: FrontConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// Replaces the configuration for new requests. Limits and `offline` keep their value from the
    /// start, because they also apply to connected viewers.
    pub fn replace(&self, config: FrontConfig) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let start = FrontConfig::clone(&current);
        *current = Arc::new(FrontConfig {
            whep: WhepConfig {
                offline: start.whep.offline,
                max_event_streams: start.whep.max_event_streams,
                ..config.whep
            },
            ice_servers: config.ice_servers,
            redirects: config.redirects,
            ..start
        });
    }

    /// Returns the configuration in force.
    pub fn current(&self) -> Arc<FrontConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
