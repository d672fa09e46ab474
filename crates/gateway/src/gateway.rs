//! All parts, started and ended together.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_hub::Hub;
use distributary_rtmp::{OnDuplicate, RtmpConfig, RtmpServer, TlsConfig, TlsIdentity};
use distributary_webrtc::engine::{Engine, EngineConfig};
use distributary_webrtc::log::LogLimits;
use distributary_whep::admin::{AdminDoor, AdminToken, admin_router};
use distributary_whep::{
    Admission, FrontDoor, HttpConfig, HttpServer, Router, ServerInfo, WhepConfig,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::banner::Addresses;
use crate::candidates::{candidates, only_loopback};
use crate::config::{Config, Duplicate, Pull, Rtmps};
use crate::demo;
use crate::error::{Listener, RunError, StartError};
use crate::listen::ListenAddress;

/// How long all parts together may take to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(1500);

/// A gateway whose sockets are bound.
pub struct Gateway {
    hub: Hub,
    rtmp: RtmpServer,
    http: HttpServer,
    admin: Option<HttpServer>,
    engine: Engine,
    whep: WhepConfig,
    addresses: Addresses,
    admission: Admission,
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
        let whep = config.whep()?;
        let rtmp = bind_rtmp(config, &hub)?;
        let http = bind_http(config)?;
        let admin = bind_admin(config)?;
        let (engine, announced) = start_engine(config, &hub)?;
        let addresses = Addresses {
            rtmp: rtmp.local_addr().map_err(StartError::Addresses)?,
            rtmps: rtmp.tls_addr().map_err(StartError::Addresses)?,
            http: http.local_addr(),
            admin: admin.as_ref().map(HttpServer::local_addr),
            webrtc: engine.local_addr(),
            webrtc_tcp: engine.has_tcp(),
            candidates: announced,
            demo,
        };
        Ok(Self {
            hub,
            rtmp,
            http,
            admin,
            engine,
            whep,
            addresses,
            admission: Admission::default(),
            admin_token: AdminToken::new(config.admin_token.as_str()),
            started: now(),
        })
    }

    /// Where everything is, with the real ports.
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Serves until `shutdown` is ready, then closes every session and ends, within two seconds.
    ///
    /// # Errors
    /// When a part ended before it was told to.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let (stop, stopped) = watch::channel(());
        let stopped = || {
            let mut stopped = stopped.clone();
            // Ready once the sender is dropped.
            async move { while stopped.changed().await.is_ok() {} }
        };
        let (public, admin_router) = self.routers();
        let mut parts = JoinSet::new();
        parts.spawn(self.rtmp.run(stopped()));
        parts.spawn(self.http.run(public, stopped()));
        if let Some(admin) = self.admin {
            parts.spawn(admin.run(admin_router, stopped()));
        }
        let demo = self
            .addresses
            .demo
            .then(|| tokio::spawn(demo::run(self.addresses.rtmp)));

        let result = tokio::select! {
            () = shutdown => Ok(()),
            Some(ended) = parts.join_next() => Err(RunError::Ended(ended.err())),
        };
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
            config: Arc::new(self.whep.clone()),
            admission: self.admission.clone(),
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

/// The moment of the start.
#[expect(
    clippy::disallowed_methods,
    reason = "the gateway is started by its driver"
)]
fn now() -> Instant {
    Instant::now()
}

fn bind_rtmp(config: &Config, hub: &Hub) -> Result<RtmpServer, StartError> {
    let limits = &config.publishers;
    let rtmp = RtmpConfig {
        listen: resolve(Listener::Rtmp, &config.rtmp)?,
        tls: rtmps(&config.rtmps)?,
        max_connections: limits.max_connections,
        max_connections_per_ip: limits.max_connections_per_ip,
        max_publishers: limits.max,
        on_duplicate: match limits.on_duplicate {
            Duplicate::Refuse => OnDuplicate::Refuse,
            Duplicate::Takeover => OnDuplicate::Takeover,
        },
        pull: config
            .pull
            .iter()
            .map(Pull::rule)
            .collect::<Result<_, _>>()?,
        session: limits.session(),
    };
    let tls = rtmp.tls.as_ref().map(|tls| tls.listen);
    RtmpServer::bind(rtmp, hub.clone()).map_err(|error| StartError::rtmp(error, tls))
}

/// The settings of RTMPS, if it is on.
fn rtmps(config: &Rtmps) -> Result<Option<TlsConfig>, StartError> {
    let Some(listen) = &config.listen.0 else {
        return Ok(None);
    };
    let given = |path: &Path| !path.as_os_str().is_empty();
    let identity = match (given(&config.certificate), given(&config.key)) {
        (true, true) => TlsIdentity::Files {
            certificate: config.certificate.clone(),
            key: config.key.clone(),
        },
        (false, false) => TlsIdentity::SelfSigned,
        _ => return Err(StartError::HalfIdentity),
    };
    let listen = resolve(Listener::Rtmps, listen)?;
    Ok(Some(TlsConfig { listen, identity }))
}

fn bind_http(config: &Config) -> Result<HttpServer, StartError> {
    let listen = resolve(Listener::Http, &config.http)?;
    bind_http_on(Listener::Http, listen, config)
}

/// The listener of the admin API, if it is wanted.
fn bind_admin(config: &Config) -> Result<Option<HttpServer>, StartError> {
    let Some(address) = &config.admin.0 else {
        return Ok(None);
    };
    let listen = resolve(Listener::Admin, address)?;
    if config.admin_token.is_empty() && !listen.ip().is_loopback() {
        return Err(StartError::OpenAdmin(listen));
    }
    bind_http_on(Listener::Admin, listen, config).map(Some)
}

fn bind_http_on(
    listener: Listener,
    listen: SocketAddr,
    config: &Config,
) -> Result<HttpServer, StartError> {
    let http = HttpConfig {
        listen,
        max_connections: config.requests.max_connections,
        header_timeout: config.requests.header_timeout.0,
    };
    HttpServer::bind(http).map_err(|error| StartError::listen(listener, listen, error.source))
}

fn start_engine(config: &Config, hub: &Hub) -> Result<(Engine, Vec<IpAddr>), StartError> {
    let listen = resolve(Listener::WebRtc, &config.webrtc)?;
    let announced = candidates(listen, &config.advertise)?;
    let engine = EngineConfig {
        listen,
        shards: config.viewers.shards,
        bundle_sound_from: config.viewers.bundle_sound_from,
        start_pacing: config.viewers.start_pacing,
        pace_pictures: config.viewers.pacing,
        tcp: config.viewers.tcp,
        candidates: announced.clone(),
        max_sessions: config.viewers.max,
        max_sessions_per_stream: config.viewers.max_per_stream,
        offline_grace: config.offline_grace(),
        transport_feedback: config.viewers.transport_feedback,
        playout_delay: config.viewers.playout_delay.playout_delay(),
        audio_red: config.viewers.audio_red,
        log: LogLimits {
            history: config.viewers.history.0,
            max_group: config.streams.cache_duration.0,
            max_bytes: config.streams.cache_size.0,
        },
    };
    let engine = Engine::start(engine, hub.clone()).map_err(StartError::engine)?;
    // Said only once the port is had: an error is one line.
    if only_loopback(&announced) {
        tracing::info!("only viewers on this machine can be served: no other address is announced");
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
