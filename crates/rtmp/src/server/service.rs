//! The server without its listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use distributary_hub::Hub;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::config::RtmpConfig;
use super::connection::ServerConnection;
use super::context::ServerContext;

/// The server without its listeners: it serves connections that others have accepted. Such a
/// connection can be a pipe, and the clock of its runtime a simulated one.
#[derive(Clone, Debug)]
pub struct RtmpService {
    context: Arc<ServerContext>,
}

impl RtmpService {
    /// Creates the service. Publishers are fed into `hub`. Addresses, pulls and Flash programs of
    /// the configuration are ignored.
    #[must_use]
    pub fn new(config: RtmpConfig, hub: Hub) -> Self {
        let context = Arc::new(ServerContext::new(config, hub, None));
        Self { context }
    }

    /// Serves a client at `peer` until one side closes, or `stopped` is true.
    pub async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) {
        ServerConnection::serve(stream, peer, Arc::clone(&self.context), stopped).await;
    }
}
