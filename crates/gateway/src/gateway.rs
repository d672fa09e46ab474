//! Starts and ends all parts together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_auth::Authorizer;
use distributary_cluster::{Cluster, ClusterSetup};
use distributary_egress::engine::{Engine, EngineConfig};
use distributary_hub::Hub;
use distributary_net::ListenAddress;
use distributary_rtmp::{PublishersConfig, PullsConfig, RtmpConfig, RtmpServer, TlsConfig};
use distributary_tls::{Certificate, TlsIdentity};
use distributary_transcode::TranscodeConfig;
use distributary_whep::admin::{
    self, AdminDoor, AdminToken, Doctor, History, ViewerSamples, admin_router,
};
use distributary_whep::{
    Access, Admission, Drain, FrontDoor, HttpConfig, HttpServer, Refusals, RequestsConfig, Router,
    ServerInfo, Settings,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::banner::{AccessMethods, Addresses};
use crate::candidates::{Announce, Reach, candidates, reach};
use crate::certificates::identity;
use crate::cluster;
use crate::config::Config;
use crate::demo;
use crate::doctor::{Running, examine_running};
use crate::error::{Failures, Listener, RunError, StartError};
use crate::limits::{self, Connections};
use crate::memory;
use crate::reload::Live;

/// Maximum time for the end of all parts together.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);

/// Interval between two checks for remaining viewers while the gateway drains.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// The way in which the gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Viewers and publishers are asked to reconnect elsewhere, and get time for it.
    Drain,
    /// At once.
    Now,
}

/// A gateway whose sockets are bound.
pub struct Gateway {
    hub: Hub,
    /// The node of the cluster, before it is connected.
    cluster: Option<ClusterSetup>,
    rtmp: RtmpServer,
    http: HttpServer,
    https: Option<HttpServer>,
    admin: Option<HttpServer>,
    admin_https: Option<HttpServer>,
    engine: Engine,
    settings: Settings,
    transcode: TranscodeConfig,
    addresses: Addresses,
    admission: Admission,
    access: Access,
    authorizer: Authorizer,
    drain_timeout: Duration,
    /// Informs RTMP that the gateway drains.
    rtmp_draining: watch::Sender<bool>,
    admin_token: Option<AdminToken>,
    /// The configuration of the start.
    config: Config,
    started: Instant,
}

impl Gateway {
    /// Binds all sockets, within a tokio runtime. Nothing is served before [`Gateway::run`].
    ///
    /// # Errors
    /// Fails when an address cannot be bound, or there is none to announce to viewers.
    pub fn start(config: &Config, demo: bool) -> Result<Self, StartError> {
        let hub = Hub::new(config.hub());
        let mut front = config.front();
        let auth = Authorizer::new(config.auth.clone())?;
        let (rtmp_draining, draining) = watch::channel(false);
        let limits = Connections::within(limits::raise_open_files(), config);
        front.whep.max_event_streams = limits.event_streams;
        front.max_event_streams_per_ip = limits.event_streams_per_ip;
        // Registered first: other nodes are asked for a stream before it is pulled.
        let cluster = join_cluster(config, &hub)?;
        let mut failures = Failures::default();
        let rtmp = bind_rtmp(config, limits, &hub, auth.clone(), draining);
        let rtmp = failures.keep(rtmp);
        let http = failures.keep(bind_http(config, limits));
        let https = failures.keep(bind_https(config, limits));
        let admin = failures.keep(bind_admin(config, limits));
        let admin_https = failures.keep(bind_admin_https(config, limits));
        let engine = failures.keep(start_engine(config, limits, &hub));
        let (Some(rtmp), Some(http), Some(https), Some(admin), Some(admin_https), Some(engine)) =
            (rtmp, http, https, admin, admin_https, engine)
        else {
            return Err(failures.into());
        };
        let (engine, announced) = engine;
        // Logged only after all ports are bound: errors stay alone.
        log_start(config, limits, &announced);
        let addresses = Addresses {
            rtmp: rtmp.local_addr(),
            rtmps: rtmp.tls_addr(),
            http: http.local_addr(),
            https: https.as_ref().map(HttpServer::local_addr),
            admin: admin.as_ref().map(HttpServer::local_addr),
            admin_https: admin_https.as_ref().map(HttpServer::local_addr),
            webrtc: engine.local_addr(),
            webrtc_tcp: engine.has_tcp(),
            candidates: announced,
            demo,
            access: AccessMethods {
                publish: config.auth.publish,
                play: config.auth.play,
            },
        };
        let journal = hub.journal().clone();
        Ok(Self {
            hub,
            cluster,
            rtmp,
            http,
            https,
            admin,
            admin_https,
            engine,
            settings: Settings::new(front),
            transcode: config.transcode.clone(),
            addresses,
            admission: Admission::default(),
            access: Access::new(
                auth.clone(),
                config.requests.rate_limit(),
                config.requests.trusted_proxies.clone(),
            )
            .with_journal(journal),
            authorizer: auth,
            drain_timeout: config.drain_timeout,
            rtmp_draining,
            admin_token: AdminToken::new(config.admin_token.as_str()),
            config: config.clone(),
            started: now(),
        })
    }

    /// Returns the addresses, with the real ports.
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Returns the parts that a reload can change.
    pub fn live(&self) -> Live {
        Live {
            authorizer: self.authorizer.clone(),
            hub: self.hub.clone(),
            settings: self.settings.clone(),
            access: self.access.clone(),
        }
    }

    /// Returns the engine that serves WebRTC viewers.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Serves until `ending` says how to end. If it drains, viewers and publishers get time to
    /// reconnect elsewhere. Then all sessions are closed, within two seconds.
    ///
    /// # Errors
    /// Fails when a part ends unexpectedly.
    pub async fn run(
        mut self,
        mut ending: watch::Receiver<Option<Ending>>,
    ) -> Result<(), RunError> {
        let (stop, stopped) = watch::channel(());
        let stopped = || {
            let mut stopped = stopped.clone();
            // Ready once the sender is dropped.
            async move { while stopped.changed().await.is_ok() {} }
        };
        let mut parts = JoinSet::new();
        let cluster = match self.cluster.take() {
            Some(setup) => {
                let (cluster, driver) = setup.connect().await?;
                parts.spawn(driver.run(stopped()));
                Some(cluster)
            }
            None => None,
        };
        let (public, admin_door) = self.doors(cluster.as_ref());
        let admin_router = admin_router(admin_door.clone());
        let samples = admin_door.samples.clone();
        self.hub.seek_renditions();
        parts.spawn(distributary_transcode::run(
            self.transcode,
            self.hub.clone(),
            stopped(),
        ));
        parts.spawn(distributary_hub::join_renditions(
            self.hub.clone(),
            stopped(),
        ));
        let sessions = public.clone();
        let swf = self.rtmp.swf();
        parts.spawn(self.rtmp.run(stopped()));
        if let Some(https) = self.https {
            parts.spawn(https.run(public.clone(), stopped()));
        }
        parts.spawn(self.http.run(public, stopped()));
        for admin in [self.admin, self.admin_https].into_iter().flatten() {
            parts.spawn(admin.run(admin_router.clone(), stopped()));
        }
        let demo = self.addresses.demo.then(|| {
            let key = self.authorizer.own_key().to_owned();
            tokio::spawn(demo::run(self.addresses.rtmp, key, swf))
        });

        let authorizer = self.authorizer.clone();
        tokio::spawn(async move { authorizer.prepare().await });
        let follow_cluster = cluster.map(|cluster| {
            let load = cluster::measure_load(cluster.clone());
            let answer = cluster::answer(cluster.clone(), sessions);
            let follow = cluster::follow(cluster, self.admission.clone());
            tokio::spawn(async { tokio::join!(load, answer, follow) })
        });
        let tell_rtmp = tokio::spawn(forward(self.admission.watch(), self.rtmp_draining));
        let has_admin = self
            .addresses
            .admin
            .or(self.addresses.admin_https)
            .is_some();
        let record = has_admin.then(|| tokio::spawn(admin::record(admin_door)));
        let observe = tokio::spawn(samples.observe_all(self.engine.clone()));
        let keep_memory = tokio::spawn(memory::keep(self.hub.clone(), self.engine.clone()));
        #[cfg(all(unix, debug_assertions))]
        let fault = tokio::spawn(crate::fault::fail_at_signal(self.engine.clone()));
        let result = tokio::select! {
            () = serve(&mut ending, &self.admission, &self.hub, self.drain_timeout) => Ok(()),
            Some(ended) = parts.join_next() => Err(RunError::Ended(ended.err())),
            failure = self.engine.failed() => Err(RunError::Engine(failure)),
        };
        if !self.admission.is_draining() {
            // `/readyz` fails from now on, and players learn that the gateway goes, not the stream.
            self.admission.drain(Drain::default());
        }
        tell_rtmp.abort();
        if let Some(follow) = follow_cluster {
            follow.abort();
        }
        keep_memory.abort();
        observe.abort();
        if let Some(record) = record {
            record.abort();
        }
        #[cfg(all(unix, debug_assertions))]
        fault.abort();
        tracing::info!("shutting down");
        if let Some(demo) = demo {
            demo.abort();
        }
        drop(stop);
        let engine = self.engine;
        parts.spawn_blocking(move || engine.shutdown());
        let all = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_LIMIT, all).await.is_err() {
            tracing::warn!("parts that did not end in time are aborted");
        }
        result
    }

    /// Returns the certificates of all listeners.
    fn certificates(&self) -> Vec<Arc<Certificate>> {
        let http = [&self.https, &self.admin_https].into_iter().flatten();
        let http = http.filter_map(HttpServer::certificate);
        self.rtmp.certificate().into_iter().chain(http).collect()
    }

    /// Returns the examination of this machine.
    fn doctor(&self) -> Doctor {
        let running = Running {
            addresses: self.addresses.clone(),
            engine: self.engine.clone(),
        };
        let config = self.config.clone();
        Doctor::new(move || examine_running(&config, &running))
    }

    /// Returns the routes of the public listener, and the state of the admin listener.
    fn doors(&self, cluster: Option<&Cluster>) -> (Router, AdminDoor) {
        let info = ServerInfo {
            version: env!("CARGO_PKG_VERSION"),
            rtmp: self.addresses.rtmp,
            http: self.addresses.http,
            started: self.started,
        };
        let refusals = Refusals::default();
        let public = distributary_whep::router(FrontDoor {
            hub: self.hub.clone(),
            engine: self.engine.clone(),
            info,
            config: self.settings.clone(),
            admission: self.admission.clone(),
            access: self.access.clone(),
            refusals: refusals.clone(),
            nodes: cluster.map(cluster::nodes).unwrap_or_default(),
        });
        let admin = AdminDoor {
            hub: self.hub.clone(),
            engine: self.engine.clone(),
            info,
            addresses: Arc::new(self.addresses.public()),
            admission: self.admission.clone(),
            history: History::default(),
            blocks: self.authorizer.blocks().clone(),
            certificates: self.certificates(),
            refusals,
            samples: ViewerSamples::default(),
            doctor: self.doctor(),
            cluster: cluster.map(cluster::view),
            token: self.admin_token.clone(),
        };
        (public, admin)
    }
}

/// Completes when the gateway has to end, after draining if requested.
async fn serve(
    ending: &mut watch::Receiver<Option<Ending>>,
    admission: &Admission,
    hub: &Hub,
    limit: Duration,
) {
    // Without a sender, it ends at once.
    let asked = ending.wait_for(Option::is_some).await;
    if asked.map_or(Some(Ending::Now), |ending| *ending) != Some(Ending::Drain) {
        return;
    }
    admission.drain(Drain::default());
    let viewers = hub.viewers();
    tracing::info!(viewers = viewers.count(), ?limit, "draining");
    let empty = async {
        while viewers.count() > 0 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
    };
    tokio::select! {
        () = empty => {}
        () = tokio::time::sleep(limit) => {
            tracing::info!(viewers = viewers.count(), "closing the remaining viewers");
        }
        _ = ending.wait_for(|ending| *ending != Some(Ending::Drain)) => {}
    }
}

/// Forwards the state of the drain to RTMP.
async fn forward(mut drain: watch::Receiver<Option<Drain>>, rtmp: watch::Sender<bool>) {
    while drain.changed().await.is_ok() {
        rtmp.send_replace(drain.borrow_and_update().is_some());
    }
}

/// Returns the time of the start.
#[expect(
    clippy::disallowed_methods,
    reason = "the gateway is started by its driver"
)]
fn now() -> Instant {
    Instant::now()
}

/// Makes the gateway a node of a cluster, if one is configured.
fn join_cluster(config: &Config, hub: &Hub) -> Result<Option<ClusterSetup>, StartError> {
    if !config.cluster.is_enabled() {
        return Ok(None);
    }
    Ok(Some(ClusterSetup::new(&config.cluster, hub.clone())?))
}

fn bind_rtmp(
    config: &Config,
    limits: Connections,
    hub: &Hub,
    auth: Authorizer,
    draining: watch::Receiver<bool>,
) -> Result<RtmpServer, StartError> {
    let rtmp = RtmpConfig {
        listen: resolve(Listener::Rtmp, &config.rtmp)?,
        tls: rtmps(config)?,
        publishers: PublishersConfig {
            max_connections: limits.rtmp,
            max_connections_per_ip: limits.rtmp_per_ip,
            ..config.publishers.clone()
        },
        auth,
        draining,
        pull: config.pull.clone(),
        pulls: PullsConfig {
            max: limits.pulls,
            max_per_origin: limits.pulls_per_origin,
            ..config.pulls
        },
    };
    let tls = rtmp.tls.as_ref().map(|tls| tls.listen);
    RtmpServer::bind(rtmp, hub.clone()).map_err(|error| StartError::rtmp(error, tls))
}

/// Returns the settings of RTMPS, if it is enabled.
fn rtmps(config: &Config) -> Result<Option<TlsConfig>, StartError> {
    let tls = &config.rtmps;
    let Some(listen) = &tls.listen.0 else {
        return Ok(None);
    };
    let identity = identity(Listener::Rtmps, tls, config)?;
    let listen = resolve(Listener::Rtmps, listen)?;
    Ok(Some(TlsConfig { listen, identity }))
}

fn bind_http(config: &Config, limits: Connections) -> Result<HttpServer, StartError> {
    let listen = resolve(Listener::Http, &config.http)?;
    bind_http_on(Listener::Http, listen, None, config, limits)
}

/// Binds HTTPS, if it is enabled.
fn bind_https(config: &Config, limits: Connections) -> Result<Option<HttpServer>, StartError> {
    let Some(address) = &config.https.listen.0 else {
        return Ok(None);
    };
    let listen = resolve(Listener::Https, address)?;
    let identity = identity(Listener::Https, &config.https, config)?;
    bind_http_on(Listener::Https, listen, Some(identity), config, limits).map(Some)
}

/// Binds the admin API, if it is enabled.
fn bind_admin(config: &Config, limits: Connections) -> Result<Option<HttpServer>, StartError> {
    let Some(address) = &config.admin.0 else {
        return Ok(None);
    };
    let listen = resolve(Listener::Admin, address)?;
    check_admin(Listener::Admin, listen, config)?;
    bind_http_on(Listener::Admin, listen, None, config, limits).map(Some)
}

/// Binds the admin API over TLS, if it is enabled.
fn bind_admin_https(
    config: &Config,
    limits: Connections,
) -> Result<Option<HttpServer>, StartError> {
    let Some(address) = &config.admin_https.listen.0 else {
        return Ok(None);
    };
    let listen = resolve(Listener::AdminHttps, address)?;
    check_admin(Listener::AdminHttps, listen, config)?;
    let identity = identity(Listener::AdminHttps, &config.admin_https, config)?;
    bind_http_on(Listener::AdminHttps, listen, Some(identity), config, limits).map(Some)
}

/// Refuses an admin API without a token that other machines can reach: it has full control.
fn check_admin(listener: Listener, listen: SocketAddr, config: &Config) -> Result<(), StartError> {
    if config.admin_token.is_empty() && !listen.ip().is_loopback() {
        let address = listen.into();
        return Err(StartError::OpenAdmin { listener, address });
    }
    Ok(())
}

fn bind_http_on(
    listener: Listener,
    listen: SocketAddr,
    tls: Option<TlsIdentity>,
    config: &Config,
    limits: Connections,
) -> Result<HttpServer, StartError> {
    let http = HttpConfig {
        listen,
        tls,
        requests: RequestsConfig {
            max_connections: limits.http,
            max_connections_per_ip: limits.http_per_ip,
            ..config.requests.clone()
        },
    };
    HttpServer::bind(http).map_err(|error| StartError::http(listener, error))
}

fn start_engine(
    config: &Config,
    limits: Connections,
    hub: &Hub,
) -> Result<(Engine, Vec<IpAddr>), StartError> {
    let listen = resolve(Listener::WebRtc, &config.webrtc)?;
    let announce = Announce {
        hosts: &config.advertise,
        interfaces: &config.interfaces,
        exclude: &config.exclude_interfaces,
    };
    let announced = candidates(listen, &announce)?;
    let engine = EngineConfig {
        listen,
        candidates: announced.clone(),
        max_tcp_connections: limits.ice_tcp,
        max_tcp_connections_per_address: limits.ice_tcp_per_ip,
        offline_grace: config.offline_grace(),
        reports_silence: config.cluster.is_enabled(),
        viewers: config.viewers.clone(),
    };
    let engine = Engine::start(engine, hub.clone()).map_err(StartError::engine)?;
    Ok((engine, announced))
}

/// Logs what the operator of a gateway that starts should know.
fn log_start(config: &Config, limits: Connections, announced: &[IpAddr]) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Distributary starts");
    limits.log();
    for warning in config.auth.warnings() {
        tracing::warn!("{warning}");
    }
    match reach(announced) {
        Reach::Machine => {
            tracing::info!(
                "only viewers on this machine can be served: no other address is announced"
            );
        }
        Reach::Private => tracing::warn!(
            ?announced,
            "only private addresses are announced: viewers in other networks cannot connect; to serve \
             them, set the public address with --advertise"
        ),
        Reach::Public => {}
    }
}

fn resolve(listener: Listener, address: &ListenAddress) -> Result<SocketAddr, StartError> {
    address.resolve().map_err(|source| StartError::Resolve {
        listener,
        address: address.clone(),
        source,
    })
}
