//! The context that all connections and pulls of a server share.

use std::sync::Arc;

use distributary_hub::Hub;
use distributary_net::Quota;

use super::config::RtmpConfig;
use super::holders::Holders;
use crate::client::programs::Programs;
use crate::proto::session::SessionConfig;
use crate::proto::swf::Swf;

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct ServerContext {
    pub(crate) hub: Hub,
    pub(crate) config: RtmpConfig,
    /// Limits and timeouts of each connection.
    pub(crate) session: SessionConfig,
    /// The permits of publishers.
    pub(crate) publishers: Quota,
    /// The holder of each published name.
    pub(crate) holders: Arc<Holders>,
    /// The Flash programs that pulls prove to servers.
    pub(crate) programs: Programs,
}

impl ServerContext {
    /// Returns the context of a server whose clients have to prove that they play `swf`, if set.
    pub(crate) fn new(config: RtmpConfig, hub: Hub, swf: Option<Swf>) -> Self {
        let publishers = &config.publishers;
        Self {
            publishers: Quota::new(publishers.max, publishers.max_per_ip),
            session: publishers.session(swf),
            holders: Arc::default(),
            programs: Programs::default(),
            hub,
            config,
        }
    }
}
