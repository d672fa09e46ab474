//! The HTTP routes without a socket, and requests to them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use bytes::Bytes;
use distributary_egress::engine::{Engine, EngineConfig};
use distributary_hub::{Hub, HubConfig, Publisher, ViewerLimits};
use distributary_media::test_util::h264_track;
use distributary_media::{AudioCodec, AudioTrack};
use distributary_names::StreamName;
use distributary_whep::admin::{
    AdminDoor, AdminToken, Doctor, Finding, History, PublicAddresses, ViewerSamples, admin_router,
};
use distributary_whep::{
    Access, Admission, FrontConfig, FrontDoor, Nodes, OtherNodes, Refusals, ServerInfo, Settings,
    router,
};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// The full offer of a browser.
pub(crate) const OFFER: &str =
    include_str!("../../../webrtc/tests/fixtures/offers/chromium-offer.sdp");

/// The HTTP side of a gateway on which `live/test` is published.
pub(crate) struct Front {
    pub(crate) hub: Hub,
    pub(crate) engine: Engine,
    pub(crate) admission: Admission,
    /// The state of the admin listener.
    pub(crate) door: AdminDoor,
    router: Router,
    publisher: Option<Publisher>,
}

/// A response with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Front {
    pub(crate) fn new() -> Self {
        Self::with(FrontConfig::default(), EngineConfig::default())
    }

    /// Creates one with these settings.
    pub(crate) fn with(whep: FrontConfig, engine: EngineConfig) -> Self {
        Self::build(whep, engine, Access::default())
    }

    /// Creates one with this authorization.
    pub(crate) fn guarded(access: Access) -> Self {
        Self::build(FrontConfig::default(), EngineConfig::default(), access)
    }

    /// Creates one with these limits for viewers.
    pub(crate) fn limited(viewers: ViewerLimits, access: Access) -> Self {
        let hub = Hub::new(HubConfig {
            viewers,
            ..HubConfig::default()
        });
        let (whep, engine) = (FrontConfig::default(), EngineConfig::default());
        Self::over(hub, whep, engine, access, Nodes::default())
    }

    /// Creates one with these other gateways in its cluster.
    pub(crate) fn beside(nodes: impl OtherNodes + 'static) -> Self {
        Self::configured_beside(nodes, FrontConfig::default())
    }

    /// Creates one with these other gateways in its cluster, and this configuration.
    pub(crate) fn configured_beside(nodes: impl OtherNodes + 'static, whep: FrontConfig) -> Self {
        Self::guarded_beside(nodes, whep, Access::default())
    }

    /// The same with this authorization.
    pub(crate) fn guarded_beside(
        nodes: impl OtherNodes + 'static,
        whep: FrontConfig,
        access: Access,
    ) -> Self {
        let hub = Hub::new(HubConfig::default());
        Self::over(
            hub,
            whep,
            EngineConfig::default(),
            access,
            Nodes::new(nodes),
        )
    }

    pub(crate) fn build(whep: FrontConfig, engine: EngineConfig, access: Access) -> Self {
        let hub = Hub::new(HubConfig::default());
        Self::over(hub, whep, engine, access, Nodes::default())
    }

    fn over(
        hub: Hub,
        whep: FrontConfig,
        mut engine: EngineConfig,
        access: Access,
        nodes: Nodes,
    ) -> Self {
        engine.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        engine.viewers.shards = 1;
        engine.candidates = vec![Ipv4Addr::LOCALHOST.into()];
        let engine = Engine::start(engine, hub.clone()).expect("a port is free");
        #[allow(
            clippy::disallowed_methods,
            reason = "a gateway is started at some time"
        )]
        let info = ServerInfo {
            version: "1.2.3",
            rtmp: SocketAddr::from((Ipv4Addr::LOCALHOST, 19350)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 18080)),
            started: Instant::now(),
        };
        let admission = Admission::default();
        let access = access.with_journal(hub.journal().clone());
        let door = AdminDoor {
            hub: hub.clone(),
            engine: engine.clone(),
            info,
            addresses: Arc::new(PublicAddresses {
                watch: "http://192.0.2.7:18080/".into(),
                whep: "http://192.0.2.7:18080/whep/".into(),
                rtmp: "rtmp://192.0.2.7:19350/".into(),
            }),
            admission: admission.clone(),
            history: History::default(),
            blocks: access.blocks().clone(),
            certificates: Vec::new(),
            refusals: Refusals::default(),
            samples: ViewerSamples::default(),
            doctor: Doctor::new(|| vec![Finding::error("ports", "taken").advise("Free it.")]),
            cluster: None,
            token: None,
        };
        let router = router(FrontDoor {
            hub: hub.clone(),
            engine: engine.clone(),
            info,
            config: Settings::new(whep),
            admission: admission.clone(),
            access,
            refusals: door.refusals.clone(),
            nodes,
        });
        let publisher = Some(publish(&hub, "live/test"));
        Self {
            hub,
            engine,
            admission,
            door,
            router,
            publisher,
        }
    }

    /// Returns the admin listener of the same gateway, with or without a token.
    pub(crate) fn admin(&self, token: &str) -> Admin {
        Admin(admin_router(AdminDoor {
            token: AdminToken::new(token),
            ..self.door.clone()
        }))
    }

    /// Returns the public routes.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns the publisher of `live/test`.
    pub(crate) fn publisher(&self) -> &Publisher {
        self.publisher.as_ref().expect("it has not left")
    }

    /// Ends the publisher of `live/test`.
    pub(crate) fn unpublish(&mut self) {
        self.publisher = None;
    }

    /// Returns the response, whose body may be endless.
    pub(crate) async fn response(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        Answer::read(self.response(request).await).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, content_type);
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Opens a session of `live/test` and returns its path.
    pub(crate) async fn open(&self) -> String {
        let answer = self.post("/whep/live/test", "application/sdp", OFFER).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.header("location").to_owned()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // It blocks, which the test's own runtime thread must not.
        let engine = self.engine.clone();
        std::thread::spawn(move || engine.shutdown())
            .join()
            .expect("the engine ends");
    }
}

/// Returns a body that never ends.
pub(crate) fn endless() -> Body {
    Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>())
}

/// The admin listener without a socket.
pub(crate) struct Admin(pub(crate) Router);

impl Admin {
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        Answer::read(self.0.clone().oneshot(request).await.unwrap()).await
    }

    /// Sends a request like a program on this machine.
    pub(crate) async fn request(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1:8180");
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Returns a header that must exist once, as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert_eq!(values.len(), 1, "{name} in {:?}", self.headers);
        values[0].to_str().unwrap()
    }

    /// Returns the `Link` header of an extension of WHEP, which must exist once.
    pub(crate) fn link(&self, extension: &str) -> &str {
        let relation = format!("rel=\"urn:ietf:params:whep:ext:core:{extension}\"");
        let links = self.headers.get_all("link").iter();
        let links = links.map(|link| link.to_str().unwrap());
        let links: Vec<_> = links.filter(|link| link.contains(&relation)).collect();
        assert_eq!(links.len(), 1, "{extension} in {:?}", self.headers);
        links[0]
    }

    /// Returns the words of a comma-separated header, sorted.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let mut words: Vec<_> = self.header(name).split(',').map(str::trim).collect();
        words.sort_unstable();
        words
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the problem document, which must agree with the status line.
    pub(crate) fn problem(&self, status: StatusCode) -> serde_json::Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status.as_u16());
        assert_eq!(problem["title"], status.canonical_reason().unwrap());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    }
}

#[allow(clippy::disallowed_methods, reason = "a publisher comes at some time")]
pub(crate) fn publish(hub: &Hub, name: &str) -> Publisher {
    let publisher = publish_without_tracks(hub, name);
    publisher.set_video_track(h264_track());
    publisher.set_audio_track(AudioTrack {
        codec: AudioCodec::Aac,
        sample_rate: 48_000,
        channels: 2,
        config: Bytes::from_static(&[0x11, 0x90]),
    });
    publisher
}

#[allow(clippy::disallowed_methods, reason = "a publisher comes at some time")]
pub(crate) fn publish_without_tracks(hub: &Hub, name: &str) -> Publisher {
    let name = StreamName::parse(name).unwrap();
    hub.publish(&name, Instant::now()).unwrap()
}
