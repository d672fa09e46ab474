//! State of the handlers of the admin API.

use std::sync::Arc;

use distributary_auth::Blocks;
use distributary_egress::engine::Engine;
use distributary_hub::Hub;
use distributary_tls::Certificate;
use serde::Serialize;

use super::cluster::ClusterView;
use super::examination::Doctor;
use super::guard::AdminToken;
use super::history::History;
use super::viewer_samples::ViewerSamples;
use crate::admission::Admission;
use crate::front_door::ServerInfo;
use crate::refusals::Refusals;

/// URLs at which others reach a gateway, up to the name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicAddresses {
    /// The pages of streams.
    pub watch: String,
    /// The WHEP endpoints.
    pub whep: String,
    /// The RTMP server.
    pub rtmp: String,
}

/// State of the handlers of the admin API.
#[derive(Clone)]
pub struct AdminDoor {
    /// The published streams.
    pub hub: Hub,
    /// The engine that sends streams to viewers.
    pub engine: Engine,
    /// Version, start and ports of this gateway.
    pub info: ServerInfo,
    /// The URLs at which others reach this gateway.
    pub addresses: Arc<PublicAddresses>,
    /// The switch that admits or refuses new viewers.
    pub admission: Admission,
    /// The stats of the last 15 minutes, which [`record`](super::record) records.
    pub history: History,
    /// The viewers and publishers that are blocked.
    pub blocks: Blocks,
    /// The certificates of all listeners.
    pub certificates: Vec<Arc<Certificate>>,
    /// Counts refused viewers; the same as that of the public listener.
    pub refusals: Refusals,
    /// Histograms of the viewers' paths, which somebody else observes.
    pub samples: ViewerSamples,
    /// The examination of this machine.
    pub doctor: Doctor,
    /// The cluster that this gateway belongs to, if it does.
    pub cluster: Option<ClusterView>,
    /// The bearer token that a request must have. Without one, everybody who reaches the listener
    /// may do everything, except pages of other origins: then the listener belongs on loopback.
    pub token: Option<AdminToken>,
}
