//! Who may watch, and how often an address may ask.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use distributary_auth::network::{TrustedProxies, network};
use distributary_auth::rate::{RateLimit, RateLimiter};
use distributary_auth::{AccessRequest, Action, Authorizer, Denied};
use distributary_hub::StreamName;
use distributary_webrtc::engine::ViewerOptions;

use crate::problem::Problem;
use crate::router::FrontDoor;

/// When somebody should ask again whom the webhook could not be asked about, in seconds.
const UNAVAILABLE_RETRY_SECONDS: u32 = 5;

/// What is asked before a viewer is let in. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Access {
    authorizer: Authorizer,
    limiter: Arc<Mutex<RateLimiter>>,
    proxies: Arc<RwLock<TrustedProxies>>,
}

impl Access {
    /// Viewers are let in as `authorizer` says, and may ask as often as `limit` allows. Where they are is
    /// what `proxies` say, if they come through one.
    pub fn new(authorizer: Authorizer, limit: RateLimit, proxies: TrustedProxies) -> Self {
        Self {
            authorizer,
            limiter: Arc::new(Mutex::new(RateLimiter::new(limit))),
            proxies: Arc::new(RwLock::new(proxies)),
        }
    }

    /// Puts another limit into force, and other proxies.
    pub fn replace(&self, limit: RateLimit, proxies: TrustedProxies) {
        let limiter = self.limiter.lock();
        limiter.unwrap_or_else(PoisonError::into_inner).limit(limit);
        *self.proxies.write().unwrap_or_else(PoisonError::into_inner) = proxies;
    }

    /// Where a request comes from, by what trusted proxies say.
    fn address(&self, peer: Option<&PeerAddress>, headers: &HeaderMap) -> IpAddr {
        // Only tests on the router have no connection.
        let peer = peer.map_or(Ipv4Addr::LOCALHOST.into(), |PeerAddress(peer)| peer.ip());
        // Each proxy adds to the list, some as a header of its own.
        let lines = headers.get_all("x-forwarded-for").iter();
        let list: Vec<_> = lines.filter_map(|value| value.to_str().ok()).collect();
        let proxies = self.proxies.read().unwrap_or_else(PoisonError::into_inner);
        proxies.client(peer, &list.join(","))
    }

    /// Whether everybody may watch.
    pub(crate) fn is_open(&self) -> bool {
        self.authorizer.is_open(Action::Play)
    }

    /// Lets `viewer` watch `stream`, or says why not.
    pub(crate) async fn check(&self, viewer: &Viewer, stream: &StreamName) -> Result<(), Problem> {
        let request = AccessRequest {
            action: Action::Play,
            stream,
            ip: viewer.ip,
            bearer: viewer.bearer.as_deref(),
            query: &viewer.query,
            client: viewer.agent.as_deref(),
        };
        self.authorizer.authorize(&request).await.map_err(|denied| {
            viewer.note_refusal(stream, &denied);
            refusal(&denied).about(stream)
        })
    }

    fn is_too_often(&self, ip: IpAddr, now: Instant) -> Option<Duration> {
        if !counts(ip) {
            return None;
        }
        let limiter = self.limiter.lock();
        limiter
            .unwrap_or_else(PoisonError::into_inner)
            .check(ip, now)
            .err()
    }
}

impl Default for Access {
    /// Everybody may watch, and ask as often as they like.
    fn default() -> Self {
        let limit = RateLimit {
            burst: 1,
            per_minute: 0,
        };
        Self::new(Authorizer::open(), limit, TrustedProxies::default())
    }
}

/// Where a connection comes from; the driver adds it to every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// Who sends a request, and what they show.
#[derive(Debug)]
pub(crate) struct Viewer {
    ip: IpAddr,
    bearer: Option<String>,
    query: String,
    agent: Option<String>,
}

impl Viewer {
    /// Writes into the log why the viewer is not let in.
    pub(crate) fn note_refusal(&self, stream: &StreamName, reason: &dyn Display) {
        tracing::info!(%stream, address = %self.ip, %reason, "viewer refused");
    }

    /// Adds where the viewer is to what is known of its player.
    pub(crate) fn tell(&self, options: ViewerOptions) -> ViewerOptions {
        ViewerOptions {
            address: Some(self.ip),
            counts_as: counts(self.ip).then(|| network(self.ip)),
            ..options
        }
    }
}

impl FromRequestParts<FrontDoor> for Viewer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        front: &FrontDoor,
    ) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<PeerAddress>();
        let text = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let bearer = text(header::AUTHORIZATION).and_then(bearer);
        Ok(Self {
            ip: front.access.address(peer, &parts.headers),
            bearer,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            agent: text(header::USER_AGENT).map(str::to_owned),
        })
    }
}

/// Refuses who asks for sessions more often than allowed.
pub(crate) async fn limit(
    State(front): State<FrontDoor>,
    peer: Option<Extension<PeerAddress>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() == Method::POST {
        #[expect(
            clippy::disallowed_methods,
            reason = "requests are counted the moment they come"
        )]
        let now = Instant::now();
        let peer = peer.as_ref().map(|Extension(peer)| peer);
        let ip = front.access.address(peer, request.headers());
        if let Some(pause) = front.access.is_too_often(ip, now) {
            let seconds = u32::try_from(pause.as_secs_f64().ceil() as u64).unwrap_or(u32::MAX);
            let detail = "Too many requests from this address.";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds));
        }
    }
    Ok(next.run(request).await)
}

/// The token in an `Authorization` header. Some players send it alone, without the name of the scheme.
fn bearer(value: &str) -> Option<String> {
    match value.trim().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Some(token.trim().to_owned())
        }
        Some(_) => None,
        None => Some(value.trim().to_owned()),
    }
}

/// Whether there are limits for this address. What comes from this machine is a proxy that is not named
/// as one, or a test.
fn counts(ip: IpAddr) -> bool {
    !ip.is_loopback()
}

/// The one place where a denial becomes a status (RFC 6750 section 3.1).
fn refusal(denied: &Denied) -> Problem {
    let (status, challenge) = match denied {
        Denied::Missing => (StatusCode::UNAUTHORIZED, Some("Bearer")),
        Denied::Invalid(_) => (
            StatusCode::UNAUTHORIZED,
            Some("Bearer error=\"invalid_token\""),
        ),
        Denied::Forbidden(_) => (StatusCode::FORBIDDEN, None),
        _ => (StatusCode::SERVICE_UNAVAILABLE, None),
    };
    let problem = Problem::new(status, format!("Watching is refused: {denied}."));
    match challenge {
        Some(challenge) => problem.with(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        ),
        None if status == StatusCode::SERVICE_UNAVAILABLE => {
            problem.retry_after(UNAVAILABLE_RETRY_SECONDS)
        }
        None => problem,
    }
}
