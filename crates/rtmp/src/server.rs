//! The RTMP server: accepts connections and gives each a task of its own.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use distributary_auth::Authorizer;
use distributary_auth::network::network;
use distributary_hub::Hub;
use distributary_tls::TlsError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, warn};

use crate::connection::Connection;
use crate::listener::{BindError, listen};
use crate::pull::{PullRule, Puller};
use crate::quick_ack::QuickAck;
use crate::session::SessionConfig;
use crate::tls::{Tls, TlsConfig};

/// Pauses after a failed accept: at first, and at most.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long connections may take to end at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Refused connections are reported once in this time: they must not fill the log.
const REFUSAL_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What the server listens on and what it allows.
#[derive(Clone, Debug)]
pub struct RtmpConfig {
    /// The address; `[::]` takes IPv4 too.
    pub listen: SocketAddr,
    /// RTMPS, if it is wanted.
    pub tls: Option<TlsConfig>,
    /// Most connections, publishing or not.
    pub max_connections: usize,
    /// Most connections from one IPv4 address or one IPv6 /64 network.
    pub max_connections_per_ip: usize,
    /// Most publishers.
    pub max_publishers: usize,
    /// What happens when a name is published that is live already.
    pub on_duplicate: OnDuplicate,
    /// Who may publish and who may play.
    pub auth: Authorizer,
    /// Whether the server is about to end: nobody may begin then, and clients are asked to connect anew.
    pub draining: watch::Receiver<bool>,
    /// Streams that are pulled from other servers when somebody asks for them.
    pub pull: Vec<PullRule>,
    /// Limits and times of each connection.
    pub session: SessionConfig,
}

/// What happens when a name is published that is live already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The newcomer is refused.
    #[default]
    Refuse,
    /// The newcomer takes the place of the first; viewers go on in their sessions.
    Takeover,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            listen: (Ipv6Addr::UNSPECIFIED, 1935).into(),
            tls: None,
            max_connections: 4096,
            max_connections_per_ip: 1024,
            max_publishers: 2048,
            on_duplicate: OnDuplicate::default(),
            auth: Authorizer::open(),
            draining: watch::channel(false).1,
            pull: Vec::new(),
            session: SessionConfig::default(),
        }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate of RTMPS cannot be used.
    #[error("RTMPS: {0}")]
    Tls(#[from] TlsError),
}

/// A server that listens.
#[derive(Debug)]
pub struct RtmpServer {
    listener: TcpListener,
    tls: Option<(TcpListener, Arc<Tls>)>,
    puller: Option<Puller>,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) config: RtmpConfig,
    /// One permit per publisher.
    pub(crate) publishers: Arc<Semaphore>,
}

impl RtmpServer {
    /// Begins to listen. Publishers are fed into `hub`.
    ///
    /// # Errors
    /// When an address cannot be listened on, or the certificate of RTMPS cannot be used.
    pub fn bind(config: RtmpConfig, hub: Hub) -> Result<Self, StartError> {
        let listener = listen(config.listen)?;
        let tls = match &config.tls {
            Some(tls) => Some((
                listen(tls.listen)?,
                Arc::new(Tls::new(tls.identity.clone())?),
            )),
            None => None,
        };
        let publishers = Arc::new(Semaphore::new(config.max_publishers));
        let shared = Arc::new(Shared {
            hub,
            config,
            publishers,
        });
        let pulls = !shared.config.pull.is_empty();
        Ok(Self {
            listener,
            tls,
            puller: pulls.then(|| Puller::new(Arc::clone(&shared))),
            shared,
        })
    }

    /// The address listened on, with the port the system chose where 0 was asked for.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address listened on for RTMPS; `None` when it is off.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn tls_addr(&self) -> std::io::Result<Option<SocketAddr>> {
        self.tls
            .as_ref()
            .map(|(listener, _)| listener.local_addr())
            .transpose()
    }

    /// Serves until `shutdown` completes, then ends all connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut gate = Gate::new(&self.shared.config);
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
                accepted = accept(&self.listener) => (accepted, None),
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
    match timeout(shared.config.session.handshake_timeout, tls.accept(socket)).await {
        Ok(Ok(stream)) => Connection::serve(stream, peer, shared, stopped).await,
        Ok(Err(error)) => warn!(%peer, %error, "connection ended"),
        Err(_) => warn!(%peer, "connection ended: no complete TLS handshake in time"),
    }
}

/// Accepts one RTMPS connection; waits forever where RTMPS is off.
async fn accept_tls(
    tls: Option<&(TcpListener, Arc<Tls>)>,
) -> ((TcpStream, SocketAddr), Option<Arc<Tls>>) {
    match tls {
        Some((listener, tls)) => (accept(listener).await, Some(Arc::clone(tls))),
        None => std::future::pending().await,
    }
}

/// Accepts one connection, however often that fails before: out of file descriptors, for instance.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (mut pause, longest) = ACCEPT_BACKOFF;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                return (
                    socket,
                    SocketAddr::new(peer.ip().to_canonical(), peer.port()),
                );
            }
            Err(error) => {
                error!(%error, "cannot accept an RTMP connection");
                sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

/// Decides who may come in.
struct Gate {
    total: Arc<Semaphore>,
    per_ip: Arc<PerIp>,
    refused: u64,
    reported: Option<Instant>,
}

/// Connections by address.
#[derive(Debug)]
struct PerIp {
    limit: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The right to be connected, given back when it is dropped.
#[derive(Debug)]
struct Pass {
    _total: OwnedSemaphorePermit,
    per_ip: Arc<PerIp>,
    network: IpAddr,
}

impl Gate {
    fn new(config: &RtmpConfig) -> Self {
        Self {
            total: Arc::new(Semaphore::new(config.max_connections)),
            per_ip: Arc::new(PerIp {
                limit: config.max_connections_per_ip,
                counts: Mutex::default(),
            }),
            refused: 0,
            reported: None,
        }
    }

    fn admit(&mut self, peer: SocketAddr) -> Option<Pass> {
        let Ok(total) = Arc::clone(&self.total).try_acquire_owned() else {
            self.refuse(peer, "the limit of connections is reached");
            return None;
        };
        let network = network(peer.ip());
        if !self.per_ip.enter(network) {
            self.refuse(peer, "the limit of connections from one address is reached");
            return None;
        }
        Some(Pass {
            _total: total,
            per_ip: Arc::clone(&self.per_ip),
            network,
        })
    }

    fn refuse(&mut self, peer: SocketAddr, reason: &str) {
        self.refused += 1;
        let now = Instant::now();
        if self
            .reported
            .is_none_or(|reported| now - reported >= REFUSAL_REPORT_INTERVAL)
        {
            self.reported = Some(now);
            warn!(%peer, refused = self.refused, "RTMP connection refused: {reason}");
        }
    }
}

impl PerIp {
    fn enter(&self, network: IpAddr) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if *count >= self.limit {
            return false;
        }
        *count += 1;
        true
    }

    fn leave(&self, network: IpAddr) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.per_ip.leave(self.network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(total: usize, per_ip: usize) -> Gate {
        Gate::new(&RtmpConfig {
            max_connections: total,
            max_connections_per_ip: per_ip,
            ..RtmpConfig::default()
        })
    }

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 1)
    }

    #[test]
    fn one_address_cannot_take_all_connections() {
        let mut gate = gate(10, 2);
        let first = gate.admit(peer("192.0.2.1"));
        let second = gate.admit(peer("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(gate.admit(peer("192.0.2.1")).is_none());
        assert!(gate.admit(peer("192.0.2.2")).is_some());
        drop(first);
        assert!(gate.admit(peer("192.0.2.1")).is_some());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let mut gate = gate(10, 1);
        let _first = gate.admit(peer("2001:db8::1")).unwrap();
        assert!(gate.admit(peer("2001:db8::2")).is_none());
        assert!(gate.admit(peer("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn connections_are_bounded_in_total_and_nothing_is_kept_of_those_that_left() {
        let mut gate = gate(2, 2);
        let passes: Vec<_> = ["192.0.2.1", "192.0.2.2"]
            .iter()
            .map(|ip| gate.admit(peer(ip)).unwrap())
            .collect();
        assert!(gate.admit(peer("192.0.2.3")).is_none());
        drop(passes);
        assert!(gate.per_ip.counts.lock().unwrap().is_empty());
        assert!(gate.admit(peer("192.0.2.3")).is_some());
    }
}
