//! All parts, started and ended together.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use distributary_auth::Authorizer;
use distributary_egress::engine::{Engine, EngineConfig};
use distributary_hub::Hub;
use distributary_net::ListenAddress;
use distributary_rtmp::{PublishersConfig, PullsConfig, RtmpConfig, RtmpServer, TlsConfig};
use distributary_tls::{TlsIdentity, TlsListener};
use distributary_transcode::TranscodeConfig;
use distributary_whep::admin::{AdminDoor, AdminToken, admin_router};
use distributary_whep::{
    Access, Admission, Drain, FrontDoor, HttpConfig, HttpServer, RequestsConfig, Router,
    ServerInfo, Settings,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::banner::Addresses;
use crate::candidates::{Announce, Reach, candidates, reach};
use crate::config::Config;
use crate::demo;
use crate::error::{Listener, RunError, StartError};
use crate::limits::{self, Connections};
use crate::memory;
use crate::reload::Live;

/// How long all parts together may take to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);

/// How often it is looked whether the last viewer has left while the gateway drains.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// How the gateway is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Viewers and publishers are asked to go elsewhere, and given time to.
    Drain,
    /// At once.
    Now,
}

/// A gateway whose sockets are bound.
pub struct Gateway {
    hub: Hub,
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
    /// Tells RTMP that the gateway drains.
    rtmp_draining: watch::Sender<bool>,
    admin_token: Option<AdminToken>,
    started: Instant,
}

impl Gateway {
    /// Binds all sockets, within a tokio runtime. Nothing is served before [`Gateway::run`].
    ///
    /// # Errors
    /// When an address cannot be listened on, or there is none to tell viewers.
    pub fn start(config: &Config, demo: bool) -> Result<Self, StartError> {
        let hub = Hub::new(config.hub());
        let mut front = config.front();
        let auth = Authorizer::new(config.auth.clone())?;
        let (rtmp_draining, draining) = watch::channel(false);
        let most = Connections::within(limits::raise_open_files(), config);
        front.whep.max_event_streams = most.event_streams;
        front.max_event_streams_per_ip = most.event_streams_per_ip;
        let rtmp = bind_rtmp(config, most, &hub, auth.clone(), draining)?;
        let http = bind_http(config, most)?;
        let https = bind_https(config, most)?;
        let admin = bind_admin(config, most)?;
        let admin_https = bind_admin_https(config, most)?;
        let (engine, announced) = start_engine(config, most, &hub)?;
        // Said only once all ports are had: an error is one line.
        most.tell();
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
        };
        Ok(Self {
            hub,
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
            ),
            authorizer: auth,
            drain_timeout: config.drain_timeout,
            rtmp_draining,
            admin_token: AdminToken::new(config.admin_token.as_str()),
            started: now(),
        })
    }

    /// Where everything is, with the real ports.
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// What can be changed while the gateway runs.
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

    /// Serves until `ending` says how to end. Then viewers and publishers get some time to go elsewhere, if
    /// they are to have any, and every session is closed, within two seconds.
    ///
    /// # Errors
    /// When a part ended before it was told to.
    pub async fn run(self, mut ending: watch::Receiver<Option<Ending>>) -> Result<(), RunError> {
        let (stop, stopped) = watch::channel(());
        let stopped = || {
            let mut stopped = stopped.clone();
            // Ready once the sender is dropped.
            async move { while stopped.changed().await.is_ok() {} }
        };
        let (public, admin_router) = self.routers();
        let mut parts = JoinSet::new();
        self.hub.seek_renditions();
        parts.spawn(distributary_transcode::run(
            self.transcode,
            self.hub.clone(),
            stopped(),
        ));
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
        let tell_rtmp = tokio::spawn(forward(self.admission.watch(), self.rtmp_draining));
        let give_back = tokio::spawn(memory::give_back(self.hub.clone(), self.engine.clone()));
        #[cfg(all(unix, debug_assertions))]
        let fault = tokio::spawn(crate::fault::fail_at_signal(self.engine.clone()));
        let result = tokio::select! {
            () = serve(&mut ending, &self.admission, &self.hub, self.drain_timeout) => Ok(()),
            Some(ended) = parts.join_next() => Err(RunError::Ended(ended.err())),
            failure = self.engine.failed() => Err(RunError::Engine(failure)),
        };
        if result.is_err() {
            // Who asks meanwhile is told that it is not ready.
            self.admission.drain(Drain::default());
        }
        tell_rtmp.abort();
        give_back.abort();
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
            tracing::warn!("what did not end in time is cut");
        }
        result
    }

    /// What the public listener answers, and what that for the admin does.
    fn routers(&self) -> (Router, Router) {
        let info = ServerInfo {
            version: env!("CARGO_PKG_VERSION"),
            rtmp: self.addresses.rtmp,
            started: self.started,
        };
        let public = distributary_whep::router(FrontDoor {
            hub: self.hub.clone(),
            engine: self.engine.clone(),
            info,
            config: self.settings.clone(),
            admission: self.admission.clone(),
            access: self.access.clone(),
        });
        let admin = admin_router(AdminDoor {
            hub: self.hub.clone(),
            engine: self.engine.clone(),
            info,
            admission: self.admission.clone(),
            token: self.admin_token.clone(),
        });
        (public, admin)
    }
}

/// Completes when the gateway is to end and has drained, if it was to.
async fn serve(
    ending: &mut watch::Receiver<Option<Ending>>,
    admission: &Admission,
    hub: &Hub,
    limit: Duration,
) {
    // Without anybody who could say how, it ends at once.
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
            tracing::info!(viewers = viewers.count(), "viewers that are still there are closed");
        }
        _ = ending.wait_for(|ending| *ending != Some(Ending::Drain)) => {}
    }
}

/// Tells RTMP whether the gateway drains.
async fn forward(mut drain: watch::Receiver<Option<Drain>>, rtmp: watch::Sender<bool>) {
    while drain.changed().await.is_ok() {
        rtmp.send_replace(drain.borrow_and_update().is_some());
    }
}

/// The moment of the start.
#[expect(
    clippy::disallowed_methods,
    reason = "the gateway is started by its driver"
)]
fn now() -> Instant {
    Instant::now()
}

fn bind_rtmp(
    config: &Config,
    most: Connections,
    hub: &Hub,
    auth: Authorizer,
    draining: watch::Receiver<bool>,
) -> Result<RtmpServer, StartError> {
    let rtmp = RtmpConfig {
        listen: resolve(Listener::Rtmp, &config.rtmp)?,
        tls: rtmps(&config.rtmps)?,
        publishers: PublishersConfig {
            max_connections: most.rtmp,
            max_connections_per_ip: most.rtmp_per_ip,
            ..config.publishers.clone()
        },
        auth,
        draining,
        pull: config.pull.clone(),
        pulls: PullsConfig {
            max: most.pulls,
            max_per_origin: most.pulls_per_origin,
            ..config.pulls
        },
    };
    let tls = rtmp.tls.as_ref().map(|tls| tls.listen);
    RtmpServer::bind(rtmp, hub.clone()).map_err(|error| StartError::rtmp(error, tls))
}

/// Whether the certificates can be used.
pub(crate) fn check_certificates(config: &Config) -> Result<(), StartError> {
    for (listener, tls) in [
        (Listener::Rtmps, &config.rtmps),
        (Listener::Https, &config.https),
        (Listener::AdminHttps, &config.admin_https),
    ] {
        if tls.listen.0.is_some() {
            let checked = identity(listener, tls)?.check();
            checked.map_err(|source| StartError::Tls { listener, source })?;
        }
    }
    Ok(())
}

/// The certificate of a listener with TLS.
fn identity(listener: Listener, tls: &TlsListener) -> Result<TlsIdentity, StartError> {
    tls.identity()
        .map_err(|source| StartError::Tls { listener, source })
}

/// The settings of RTMPS, if it is on.
fn rtmps(config: &TlsListener) -> Result<Option<TlsConfig>, StartError> {
    let Some(listen) = &config.listen.0 else {
        return Ok(None);
    };
    let identity = identity(Listener::Rtmps, config)?;
    let listen = resolve(Listener::Rtmps, listen)?;
    Ok(Some(TlsConfig { listen, identity }))
}

fn bind_http(config: &Config, most: Connections) -> Result<HttpServer, StartError> {
    let listen = resolve(Listener::Http, &config.http)?;
    bind_http_on(Listener::Http, listen, None, config, most)
}

/// The listener of HTTPS, if it is wanted.
fn bind_https(config: &Config, most: Connections) -> Result<Option<HttpServer>, StartError> {
    let Some(address) = &config.https.listen.0 else {
        return Ok(None);
    };
    let listen = resolve(Listener::Https, address)?;
    let identity = identity(Listener::Https, &config.https)?;
    bind_http_on(Listener::Https, listen, Some(identity), config, most).map(Some)
}

/// The listener of the admin API, if it is wanted.
fn bind_admin(config: &Config, most: Connections) -> Result<Option<HttpServer>, StartError> {
    let Some(address) = &config.admin.0 else {
        return Ok(None);
    };
    let listen = resolve(Listener::Admin, address)?;
    check_admin(listen, config)?;
    bind_http_on(Listener::Admin, listen, None, config, most).map(Some)
}

/// The listener of the admin API with TLS, if it is wanted.
fn bind_admin_https(config: &Config, most: Connections) -> Result<Option<HttpServer>, StartError> {
    let Some(address) = &config.admin_https.listen.0 else {
        return Ok(None);
    };
    let listen = resolve(Listener::AdminHttps, address)?;
    check_admin(listen, config)?;
    let identity = identity(Listener::AdminHttps, &config.admin_https)?;
    bind_http_on(Listener::AdminHttps, listen, Some(identity), config, most).map(Some)
}

/// Whoever reaches the admin API may do everything, unless a token is wanted.
fn check_admin(listen: SocketAddr, config: &Config) -> Result<(), StartError> {
    match config.admin_token.is_empty() && !listen.ip().is_loopback() {
        true => Err(StartError::OpenAdmin(listen)),
        false => Ok(()),
    }
}

fn bind_http_on(
    listener: Listener,
    listen: SocketAddr,
    tls: Option<TlsIdentity>,
    config: &Config,
    most: Connections,
) -> Result<HttpServer, StartError> {
    let http = HttpConfig {
        listen,
        tls,
        requests: RequestsConfig {
            max_connections: most.http,
            max_connections_per_ip: most.http_per_ip,
            ..config.requests.clone()
        },
    };
    HttpServer::bind(http).map_err(|error| StartError::http(listener, error))
}

fn start_engine(
    config: &Config,
    most: Connections,
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
        max_tcp_connections: most.ice_tcp,
        max_tcp_connections_per_address: most.ice_tcp_per_ip,
        offline_grace: config.offline_grace(),
        viewers: config.viewers.clone(),
    };
    let engine = Engine::start(engine, hub.clone()).map_err(StartError::engine)?;
    // Said only once the port is had: an error is one line.
    match reach(&announced) {
        Reach::Machine => {
            tracing::info!(
                "only viewers on this machine can be served: no other address is announced"
            );
        }
        Reach::Private => tracing::warn!(
            ?announced,
            "only private addresses are announced: viewers in other networks see no picture; if there \
             are any, tell the public address with --advertise"
        ),
        Reach::Public => {}
    }
    Ok((engine, announced))
}

fn resolve(listener: Listener, address: &ListenAddress) -> Result<SocketAddr, StartError> {
    address.resolve().map_err(|source| StartError::Resolve {
        listener,
        address: address.clone(),
        source,
    })
}
