//! The RTMP server: accepts connections and gives each a task of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_hub::Hub;
use distributary_names::StreamPattern;
use distributary_net::{BindError, Full, Listener, Permit, QuickAck, Quota, limited};
use distributary_tls::{AuthorityError, Certificate, TlsError};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::proto::swf::{Swf, SwfError};
use crate::server::config::{PublishersConfig, RtmpConfig};
use crate::server::connection::ServerConnection;
use crate::server::context::ServerContext;
use crate::server::pull::Puller;
use crate::server::pull::rule::{LoadedRule, PullRule};
use crate::server::swf_source::SwfSource;
use crate::server::tls::Tls;

/// Timeout for connections to end at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Minimum time between two log lines about refused connections, which must not fill the log.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The reason why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate of RTMPS cannot be used.
    #[error("RTMPS: {0}")]
    Tls(#[from] TlsError),
    /// A Flash program of the configuration cannot be read.
    #[error("{table} swf = {swf}: {source}")]
    Swf {
        /// The table that names it.
        table: String,
        /// The program.
        swf: SwfSource,
        /// The error.
        source: SwfError,
    },
    /// The authorities of a pull cannot be read.
    #[error("[[pull]] match = \"{streams}\": ca = {source}")]
    Authorities {
        /// The pattern of the pull.
        streams: StreamPattern,
        /// The error.
        source: AuthorityError,
    },
}

/// A server that is bound to its addresses.
#[derive(Debug)]
pub struct RtmpServer {
    listener: Listener,
    tls: Option<(Listener, Arc<Tls>)>,
    puller: Option<Puller>,
    context: Arc<ServerContext>,
}

impl RtmpServer {
    /// Binds the addresses. Publishers are fed into `hub`.
    ///
    /// # Errors
    /// Returns [`StartError`] if an address cannot be bound, or a certificate or a Flash program
    /// cannot be read.
    pub fn bind(config: RtmpConfig, hub: Hub) -> Result<Self, StartError> {
        let listener = Listener::bind("RTMP", config.listen)?;
        let tls = match &config.tls {
            Some(tls) => Some((
                Listener::bind("RTMPS", tls.listen)?,
                Arc::new(Tls::new(tls.identity.clone())?),
            )),
            None => None,
        };
        let swf = load_swf(&config.publishers)?;
        let rules = config.pull.iter().map(load_rule);
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let context = Arc::new(ServerContext::new(config, hub, swf));
        Ok(Self {
            listener,
            tls,
            puller: (!rules.is_empty()).then(|| Puller::new(Arc::clone(&context), rules)),
            context,
        })
    }

    /// Returns an error for each file of these sections that cannot be read.
    pub fn check(publishers: &PublishersConfig, pull: &[PullRule]) -> Vec<StartError> {
        let rules = pull.iter().filter_map(|rule| load_rule(rule).err());
        load_swf(publishers)
            .err()
            .into_iter()
            .chain(rules)
            .collect()
    }

    /// Returns the address listened on, with the port that the system chose where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Returns the Flash program that clients have to prove they play; `None` for none.
    pub fn swf(&self) -> Option<Swf> {
        self.context.session.swf
    }

    /// Returns the address listened on for RTMPS; `None` when it is off.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(listener, _)| listener.local_addr())
    }

    /// Returns the certificates of RTMPS; `None` when it is off.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.tls.as_ref().map(|(_, tls)| tls.certificate())
    }

    /// Serves until `shutdown` completes, then ends all connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut gate = Gate::new(&self.context.config.publishers);
        let puller = self.puller.map(|puller| {
            let mut stopped = stopped.clone();
            tokio::spawn(puller.run(async move {
                // An error means that the server is gone: a stop, too.
                let _ = stopped.wait_for(|stopped| *stopped).await;
            }))
        });
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => (accepted, None),
                accepted = accept_tls(self.tls.as_ref()) => accepted,
                // Keeps the set from growing with tasks that are done.
                Some(_) = connections.join_next() => continue,
            };
            let ((socket, peer), tls) = accepted;
            if let Some(pass) = gate.admit(peer) {
                let context = Arc::clone(&self.context);
                let stopped = stopped.clone();
                connections.spawn(async move {
                    let _pass = pass;
                    serve(socket, peer, tls, context, stopped).await;
                });
            }
        }
        drop((self.listener, self.tls));
        let _ = stop.send(true);
        let ended = timeout(SHUTDOWN_GRACE, async {
            while connections.join_next().await.is_some() {}
            if let Some(puller) = puller {
                let _ = puller.await;
            }
        });
        if ended.await.is_err() {
            debug!("connections that did not end in time are cut");
        }
    }
}

/// Reads the Flash program of publishers.
fn load_swf(publishers: &PublishersConfig) -> Result<Option<Swf>, StartError> {
    publishers.swf.load().map_err(|source| StartError::Swf {
        table: "[publishers]".to_owned(),
        swf: publishers.swf.clone(),
        source,
    })
}

/// Reads the files of a rule.
fn load_rule(rule: &PullRule) -> Result<LoadedRule, StartError> {
    let flash = rule.flash().map_err(|source| StartError::Swf {
        table: format!("[[pull]] match = \"{}\":", rule.streams),
        swf: rule.swf.clone(),
        source,
    })?;
    let tls = rule.tls().map_err(|source| StartError::Authorities {
        streams: rule.streams.clone(),
        source,
    })?;
    let rule = rule.clone();
    Ok(LoadedRule { rule, flash, tls })
}

/// Serves one client, over TLS if it came to that port.
async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    context: Arc<ServerContext>,
    stopped: watch::Receiver<bool>,
) {
    // Answers are small and the client waits for them.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return ServerConnection::serve(QuickAck(socket), peer, context, stopped).await;
    };
    match timeout(context.session.handshake_timeout, tls.accept(socket)).await {
        Ok(Ok(stream)) => ServerConnection::serve(stream, peer, context, stopped).await,
        Ok(Err(error)) => warn!(%peer, %error, "connection ended"),
        Err(_) => warn!(%peer, "connection ended: no complete TLS handshake in time"),
    }
}

/// Accepts one RTMPS connection; waits forever where RTMPS is off.
async fn accept_tls(
    tls: Option<&(Listener, Arc<Tls>)>,
) -> ((TcpStream, SocketAddr), Option<Arc<Tls>>) {
    match tls {
        Some((listener, tls)) => (listener.accept().await, Some(Arc::clone(tls))),
        None => std::future::pending().await,
    }
}

/// Limits the number of connections.
struct Gate {
    quota: Quota,
    /// Number of refused connections.
    refused: u64,
    /// Time of the last log line.
    logged: Option<Instant>,
}

impl Gate {
    fn new(config: &PublishersConfig) -> Self {
        Self {
            quota: Quota::new(config.max_connections, config.max_connections_per_ip),
            refused: 0,
            logged: None,
        }
    }

    fn admit(&mut self, peer: SocketAddr) -> Option<Permit> {
        match self.quota.take(limited(peer.ip())) {
            Ok(permit) => Some(permit),
            Err(full) => {
                self.refuse(peer, full);
                None
            }
        }
    }

    fn refuse(&mut self, peer: SocketAddr, full: Full) {
        self.refused += 1;
        let now = Instant::now();
        if self
            .logged
            .is_none_or(|logged| now - logged >= REFUSAL_LOG_INTERVAL)
        {
            self.logged = Some(now);
            warn!(%peer, refused = self.refused, "RTMP connection refused: {full}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_per_address_except_on_loopback() {
        let mut gate = Gate::new(&PublishersConfig {
            max_connections: 4,
            max_connections_per_ip: 1,
            ..PublishersConfig::default()
        });
        let mut admit = |peer: &str| gate.admit(peer.parse().unwrap());
        let first = admit("192.0.2.1:1");
        assert!(first.is_some() && admit("192.0.2.1:2").is_none());
        let local = ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:2"].map(&mut admit);
        assert!(local.iter().all(Option::is_some));
        assert!(admit("127.0.0.1:3").is_none(), "the total holds");
        drop(first);
        assert!(admit("192.0.2.1:3").is_some());
    }
}
