//! The RTMP server: accepts connections and gives each a task of its own.

use std::future::Future;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use distributary_auth::Authorizer;
use distributary_hub::Hub;
use distributary_net::{BindError, Full, Listener, Permit, QuickAck, Quota, limited};
use distributary_tls::TlsError;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::client::programs::Programs;
use crate::proto::session::SessionConfig;
use crate::proto::swf::{Swf, SwfError};
use crate::server::config::PublishersConfig;
use crate::server::connection::Connection;
use crate::server::holders::Holders;
use crate::server::pull::{LoadedRule, PullRule, Puller, PullsConfig};
use crate::server::swf_source::SwfSource;
use crate::server::tls::{Tls, TlsConfig};

/// Timeout for connections to end at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Refused connections are reported once in this time: they must not fill the log.
const REFUSAL_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The configuration of the server.
#[derive(Clone, Debug)]
pub struct RtmpConfig {
    /// The address; `[::]` takes IPv4 too.
    pub listen: SocketAddr,
    /// RTMPS, if it is wanted.
    pub tls: Option<TlsConfig>,
    /// Limits for publishers and connections.
    pub publishers: PublishersConfig,
    /// The access control of publishers and players.
    pub auth: Authorizer,
    /// True while the server is shutting down: it refuses new streams, and asks clients to
    /// reconnect.
    pub draining: watch::Receiver<bool>,
    /// Streams that are pulled from other servers when somebody asks for them.
    pub pull: Vec<PullRule>,
    /// Their limits.
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
}

/// A server that listens.
#[derive(Debug)]
pub struct RtmpServer {
    listener: Listener,
    tls: Option<(Listener, Arc<Tls>)>,
    puller: Option<Puller>,
    shared: Arc<Shared>,
}

/// The state that all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
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

impl Shared {
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

impl RtmpServer {
    /// Begins to listen. Publishers are fed into `hub`.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the certificate of RTMPS cannot be used.
    pub fn bind(config: RtmpConfig, hub: Hub) -> Result<Self, StartError> {
        let listener = Listener::bind("RTMP", config.listen)?;
        let tls = match &config.tls {
            Some(tls) => Some((
                Listener::bind("RTMPS", tls.listen)?,
                Arc::new(Tls::new(tls.identity.clone())?),
            )),
            None => None,
        };
        let (swf, rules) = load(&config.publishers, &config.pull)?;
        let shared = Arc::new(Shared::new(config, hub, swf));
        Ok(Self {
            listener,
            tls,
            puller: (!rules.is_empty()).then(|| Puller::new(Arc::clone(&shared), rules)),
            shared,
        })
    }

    /// Checks that the files can be read which these sections name.
    ///
    /// # Errors
    /// [`StartError::Swf`] for the first that cannot.
    pub fn check(publishers: &PublishersConfig, pull: &[PullRule]) -> Result<(), StartError> {
        load(publishers, pull).map(drop)
    }

    /// Returns the address listened on, with the port that the system chose where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Returns the Flash program that clients have to prove they play.
    pub fn swf(&self) -> Option<Swf> {
        self.shared.session.swf
    }

    /// Returns the address listened on for RTMPS; `None` when it is off.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().map(|(listener, _)| listener.local_addr())
    }

    /// Serves until `shutdown` completes, then ends all connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut gate = Gate::new(&self.shared.config.publishers);
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
                let shared = Arc::clone(&self.shared);
                let stopped = stopped.clone();
                connections.spawn(async move {
                    let _pass = pass;
                    serve(socket, peer, tls, shared, stopped).await;
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

/// Reads the Flash programs that the configuration names.
fn load(
    publishers: &PublishersConfig,
    pull: &[PullRule],
) -> Result<(Option<Swf>, Vec<LoadedRule>), StartError> {
    let failed = |table: String, swf: &SwfSource, source| StartError::Swf {
        table,
        swf: swf.clone(),
        source,
    };
    let swf = publishers.swf.load();
    let swf = swf.map_err(|error| failed("[publishers]".to_owned(), &publishers.swf, error))?;
    let rules = pull.iter().map(|rule| {
        let table = || format!("[[pull]] match = \"{}\":", rule.streams);
        let flash = rule.flash();
        let flash = flash.map_err(|error| failed(table(), &rule.swf, error))?;
        let rule = rule.clone();
        Ok::<_, StartError>(LoadedRule { rule, flash })
    });
    Ok((swf, rules.collect::<Result<_, _>>()?))
}

/// Serves one client, over TLS if it came to that port.
async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    // Answers are small and the client waits for them.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return Connection::serve(QuickAck(socket), peer, shared, stopped).await;
    };
    match timeout(shared.session.handshake_timeout, tls.accept(socket)).await {
        Ok(Ok(stream)) => Connection::serve(stream, peer, shared, stopped).await,
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

/// Decides who may come in.
struct Gate {
    quota: Quota,
    refused: u64,
    reported: Option<Instant>,
}

impl Gate {
    fn new(config: &PublishersConfig) -> Self {
        Self {
            quota: Quota::new(config.max_connections, config.max_connections_per_ip),
            refused: 0,
            reported: None,
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
            .reported
            .is_none_or(|reported| now - reported >= REFUSAL_REPORT_INTERVAL)
        {
            self.reported = Some(now);
            warn!(%peer, refused = self.refused, "RTMP connection refused: {full}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_share_of_the_connections_and_this_machine_may_have_all() {
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
