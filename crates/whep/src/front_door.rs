//! The state that the handlers share.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::FromRef;
use distributary_egress::engine::Engine;
use distributary_hub::Hub;
use distributary_names::{RenditionId, StreamName};

use crate::access::Access;
use crate::admission::Admission;
use crate::config::Settings;
use crate::other_nodes::Nodes;
use crate::refusals::Refusals;

/// State of the handlers.
#[derive(Clone)]
pub struct FrontDoor {
    /// The published streams.
    pub hub: Hub,
    /// The engine that sends streams to viewers.
    pub engine: Engine,
    /// Version, start and ports of this gateway.
    pub info: ServerInfo,
    /// The settings of the handlers.
    pub config: Settings,
    /// The switch that admits or refuses new viewers.
    pub admission: Admission,
    /// Authorization and rate limits.
    pub access: Access,
    /// Counts refused viewers.
    pub refusals: Refusals,
    /// The other gateways of the cluster.
    pub nodes: Nodes,
}

/// Facts about the running gateway.
#[derive(Clone, Copy, Debug)]
pub struct ServerInfo {
    /// Version of the gateway.
    pub version: &'static str,
    /// The RTMP listen address.
    pub rtmp: SocketAddr,
    /// The HTTP listen address of the public listener.
    pub http: SocketAddr,
    /// Time of the start.
    pub started: Instant,
}

impl FrontDoor {
    /// Returns the ids of a stream's renditions.
    pub(crate) fn layers(&self, name: &StreamName) -> Vec<RenditionId> {
        let now = tokio::time::Instant::now().into_std();
        let renditions = self.hub.renditions(name, now);
        renditions.iter().map(|rendition| rendition.id).collect()
    }

    /// Returns whether the publisher of a stream has declared a track.
    pub(crate) fn is_live(&self, name: &StreamName) -> bool {
        let stats = self.hub.stream(name).map(|stream| stream.stats());
        stats.is_some_and(|stats| {
            stats.live_since.is_some() && (stats.video.is_some() || stats.audio.is_some())
        })
    }
}

impl FromRef<FrontDoor> for Access {
    fn from_ref(front: &FrontDoor) -> Self {
        front.access.clone()
    }
}

impl FromRef<FrontDoor> for Settings {
    fn from_ref(front: &FrontDoor) -> Self {
        front.config.clone()
    }
}
