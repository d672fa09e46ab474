//! The configuration of the server.

mod publishers;

use std::net::{Ipv6Addr, SocketAddr};

use distributary_auth::Authorizer;
use tokio::sync::watch;

use super::pull::limits::PullsConfig;
use super::pull::rule::PullRule;
use super::tls::TlsConfig;

pub use publishers::{OnDuplicate, PublishersConfig};

/// The configuration of the server.
#[derive(Clone, Debug)]
pub struct RtmpConfig {
    /// The address; `[::]` accepts IPv4 as well.
    pub listen: SocketAddr,
    /// RTMPS; `None` if it is off.
    pub tls: Option<TlsConfig>,
    /// Limits for publishers and connections.
    pub publishers: PublishersConfig,
    /// The access control of publishers and players.
    pub auth: Authorizer,
    /// True while the server is shutting down: it refuses new streams and asks clients to
    /// reconnect.
    pub draining: watch::Receiver<bool>,
    /// Streams that are pulled from other servers on demand.
    pub pull: Vec<PullRule>,
    /// Limits of the pulls.
    pub pulls: PullsConfig,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv6Addr::UNSPECIFIED, 1935).into(),
            tls: None,
            publishers: PublishersConfig::default(),
            auth: Authorizer::open(),
            draining: watch::channel(false).1,
            pull: Vec::new(),
            pulls: PullsConfig::default(),
        }
    }
}
