//! Targets for what viewers send by HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use distributary_egress::engine::{Engine, EngineConfig};
use distributary_hub::{Hub, HubConfig, Publisher};
use distributary_media::{AudioCodec, AudioTrack, VideoCodec, VideoTrack};
use distributary_names::StreamName;
use distributary_whep::{
    Access, Admission, FrontConfig, FrontDoor, Nodes, Refusals, ServerInfo, Settings, router,
};
use http_body_util::BodyExt as _;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

use crate::{ORIGIN, pieces};

/// Most requests of one input.
const MAX_REQUESTS: usize = 16;

/// Most bytes of an answer: the player with its script and style.
const MAX_ANSWER: usize = 1 << 20;

/// A gateway without HTTP sockets, on which `live/test` is published.
struct Gateway {
    runtime: Runtime,
    router: Router,
    _publisher: Publisher,
}

static GATEWAY: LazyLock<Gateway> = LazyLock::new(Gateway::start);

/// Requests, each with its length in two bytes before it: the kind in one byte, the headers in
/// another one, then the body or the path. No answer is an error of the gateway.
pub fn http_requests(data: &[u8]) {
    let gateway = &*GATEWAY;
    gateway.runtime.block_on(async {
        let mut viewer = Viewer::default();
        viewer.requests(gateway, data).await;
        for session in std::mem::take(&mut viewer.sessions) {
            let request = Request::delete(session).body(Body::empty());
            let request = request.expect("the gateway gives sessions valid paths");
            viewer.send(gateway, request).await;
        }
    });
}

/// What a viewer knows of its sessions.
#[derive(Default)]
struct Viewer {
    sessions: Vec<String>,
    etag: Option<String>,
    /// Path of the newest subscription to events.
    events: Option<String>,
}

impl Viewer {
    /// Sends the requests of an input, and returns the statuses of the answers.
    async fn requests(&mut self, gateway: &Gateway, data: &[u8]) -> Vec<StatusCode> {
        let mut statuses = Vec::new();
        for piece in pieces(data).take(MAX_REQUESTS) {
            if let [kind, headers, body @ ..] = piece {
                statuses.extend(self.request(gateway, *kind, *headers, body).await);
            }
        }
        statuses
    }

    /// Sends a request of an input. Returns the status of the answer; `None` if HTTP does not allow the
    /// request, so that it reaches no handler.
    async fn request(
        &mut self,
        gateway: &Gateway,
        kind: u8,
        headers: u8,
        body: &[u8],
    ) -> Option<StatusCode> {
        let session = self.sessions.last().cloned();
        let session = session.unwrap_or_else(|| "/session/none".to_owned());
        let text = || String::from_utf8_lossy(body).into_owned();
        let (method, path, content_type) = match kind % 12 {
            0 => ("POST", "/whep/live/test".to_owned(), "application/sdp"),
            1 => ("PATCH", session, "application/trickle-ice-sdpfrag"),
            2 => ("POST", format!("{session}/layer"), "application/json"),
            3 => ("POST", format!("{session}/events"), "application/json"),
            4 => ("POST", format!("{session}/failure"), "text/plain"),
            5 => ("POST", "/rtc/v1/play".to_owned(), "application/json"),
            6 => (
                "POST",
                "/index/api/webrtc?app=live&stream=test&type=play".to_owned(),
                "text/plain",
            ),
            7 => ("POST", "/whep/live/test".to_owned(), "application/json"),
            8 => ("PATCH", session, "application/sdp"),
            9 => ("GET", format!("/{}", text()), ""),
            10 => ("POST", format!("/whep/{}", text()), "application/sdp"),
            _ => (
                "GET",
                self.events.clone().unwrap_or_else(|| "/".to_owned()),
                "",
            ),
        };
        let mut request = Request::builder().method(method).uri(path);
        if headers & 1 == 0 && !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        request = match (headers >> 1 & 3, &self.etag) {
            (0, Some(etag)) => request.header(header::IF_MATCH, etag),
            (1, _) => request.header(header::IF_MATCH, "*"),
            (2, _) => request.header(header::IF_MATCH, &body[..body.len().min(40)]),
            _ => request,
        };
        if headers & 8 != 0 {
            request = request.header(header::ORIGIN, "https://example.org");
        }
        if headers & 16 != 0 {
            request = request.header(header::USER_AGENT, &body[..body.len().min(200)]);
        }
        let request = request.body(Body::from(body.to_vec())).ok()?;
        Some(self.send(gateway, request).await)
    }

    /// Sends a request, and returns the status of the answer.
    async fn send(&mut self, gateway: &Gateway, request: Request<Body>) -> StatusCode {
        let response = gateway.router.clone().oneshot(request).await;
        let response = response.expect("the router answers");
        let status = response.status();
        // Also 503: the sessions of earlier inputs have been deleted.
        assert!(!status.is_server_error() || status == StatusCode::NOT_IMPLEMENTED);
        self.learn(status, response.headers());
        let content_type = response.headers().get(header::CONTENT_TYPE);
        if content_type.is_some_and(|kind| kind == "text/event-stream") {
            // It has no end.
            return status;
        }
        let body = response.into_body().collect().await;
        let body = body.expect("the answer is complete").to_bytes();
        assert!(body.len() <= MAX_ANSWER, "{} bytes", body.len());
        status
    }

    fn learn(&mut self, status: StatusCode, headers: &HeaderMap) {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(etag) = text(header::ETAG) {
            self.etag = Some(etag.to_owned());
        }
        let location = text(header::LOCATION).filter(|_| status == StatusCode::CREATED);
        if let Some(location) = location {
            if location.contains("/events/") {
                self.events = Some(location.to_owned());
            } else {
                self.sessions.push(location.to_owned());
            }
        }
    }
}

impl Gateway {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("there is a thread for a clock");
        let entered = runtime.enter();
        let hub = Hub::new(HubConfig::default());
        let mut engine = EngineConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            candidates: vec![Ipv4Addr::LOCALHOST.into()],
            ..EngineConfig::default()
        };
        engine.viewers.shards = 1;
        let engine = Engine::start(engine, hub.clone()).expect("a port is free");
        let publisher = publish(&hub);
        let router = router(FrontDoor {
            hub,
            engine,
            info: ServerInfo {
                version: "0.0.0",
                rtmp: SocketAddr::from((Ipv4Addr::LOCALHOST, 1935)),
                http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
                started: *ORIGIN,
            },
            config: Settings::new(FrontConfig::default()),
            admission: Admission::default(),
            access: Access::default(),
            refusals: Refusals::default(),
            nodes: Nodes::default(),
        });
        drop(entered);
        Self {
            runtime,
            router,
            _publisher: publisher,
        }
    }
}

fn publish(hub: &Hub) -> Publisher {
    let name = StreamName::parse("live/test").expect("a valid name");
    let publisher = hub.publish(&name, *ORIGIN).expect("the name is free");
    publisher.set_video_track(VideoTrack {
        codec: VideoCodec::H264,
        width: 1280,
        height: 720,
        profile_level_id: [0x42, 0xc0, 0x1f],
        config: bytes::Bytes::new(),
    });
    publisher.set_audio_track(AudioTrack {
        codec: AudioCodec::Opus,
        sample_rate: 48_000,
        channels: 2,
        config: bytes::Bytes::new(),
    });
    publisher
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the requests of the seeds reach their handlers, without which little is fuzzed.
    #[test]
    fn requests_of_the_seed_are_accepted() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds/http_requests/");
        let data = std::fs::read(format!("{folder}session")).expect("the seed is there");
        let gateway = &*GATEWAY;
        let statuses = gateway
            .runtime
            .block_on(Viewer::default().requests(gateway, &data));
        let statuses: Vec<_> = statuses.iter().map(StatusCode::as_u16).collect();
        // An offer, a candidate, a restart of ICE, two selections of a layer, a subscription to events,
        // the events, a report.
        assert_eq!(statuses, [201, 204, 200, 400, 200, 201, 200, 204]);
    }
}
