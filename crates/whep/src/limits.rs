//! How often somebody may ask.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use distributary_auth::rate::{RateLimit, RateLimiter};
use distributary_egress::session::SessionId;
use distributary_net::network;

use crate::access::PeerAddress;
use crate::cors;
use crate::problem::Problem;
use crate::router::FrontDoor;

/// ICE restarts of one session. A player restarts when its network changes; each restart is work for a shard,
/// and a line in the log.
const RESTARTS: RateLimit = RateLimit {
    burst: 10,
    per_minute: 30,
};

/// PATCHes of one session. A player sends its candidates one by one, some dozens each time it gathers them. They
/// change nothing and do not count against the address, from which hundreds of viewers may trickle at once.
const PATCHES: RateLimit = RateLimit {
    burst: 200,
    per_minute: 600,
};

/// Kinds of requests, each of which an address may make as often as the limit says.
#[derive(Clone, Copy)]
enum Kind {
    /// Opens a session or an event stream.
    Open,
    /// Changes a session, or asks for a change of one that is not there.
    Change,
    /// Ends one.
    End,
    /// Asks for the servers of a stream, of which some are for those who may watch.
    Ask,
}

impl Kind {
    /// Returns the kind of a request; `None` for those that only look, for browsers' preflights, and for PATCH, which
    /// is counted when it is known what it changes.
    fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD | Method::PATCH => None,
            Method::OPTIONS if cors::is_preflight(headers) => None,
            Method::OPTIONS => Some(Self::Ask),
            Method::DELETE => Some(Self::End),
            _ => Some(Self::Open),
        }
    }
}

/// Counts requests.
#[derive(Debug)]
pub(crate) struct Limits {
    by_address: Mutex<[RateLimiter<IpAddr>; 4]>,
    patches: Mutex<RateLimiter<SessionId>>,
    restarts: Mutex<RateLimiter<SessionId>>,
}

impl Limits {
    /// Each address may make so many requests of each kind.
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            by_address: Mutex::new([(); 4].map(|()| RateLimiter::new(limit))),
            patches: Mutex::new(RateLimiter::new(PATCHES)),
            restarts: Mutex::new(RateLimiter::new(RESTARTS)),
        }
    }

    /// Returns how often an address may make requests of the kind that opens sessions.
    pub(crate) fn limit(&self) -> RateLimit {
        locked(&self.by_address)[Kind::Open as usize].current()
    }

    /// Puts another limit into force.
    pub(crate) fn replace(&self, limit: RateLimit) {
        for limiter in &mut *locked(&self.by_address) {
            limiter.limit(limit);
        }
    }

    /// Counts a PATCH of a session, whatever it changes, or refuses it.
    pub(crate) fn patch(&self, id: SessionId) -> Result<(), Problem> {
        let pause = locked(&self.patches).check(id, now());
        pause.map_err(|pause| too_often("Too many requests for this session.", pause))
    }

    /// Counts a change against the address that [counts](counts) for it, or refuses it.
    pub(crate) fn change(&self, ip: Option<IpAddr>) -> Result<(), Problem> {
        ip.map_or(Ok(()), |ip| self.count(ip, Kind::Change))
    }

    /// Counts an ICE restart of a session, or refuses it.
    pub(crate) fn restart(&self, id: SessionId) -> Result<(), Problem> {
        let detail = "This session has restarted ICE too often.";
        let pause = locked(&self.restarts).check(id, now());
        pause.map_err(|pause| too_often(detail, pause))
    }

    fn count(&self, ip: IpAddr, kind: Kind) -> Result<(), Problem> {
        let limiter = &mut locked(&self.by_address)[kind as usize];
        let pause = limiter.check(network(ip), now());
        pause.map_err(|pause| too_often("Too many requests from this address.", pause))
    }
}

/// Refuses who asks more often than allowed.
pub(crate) async fn limit(
    State(front): State<FrontDoor>,
    peer: Option<Extension<PeerAddress>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(kind) = Kind::of(request.method(), request.headers()) {
        let peer = peer.as_ref().map(|Extension(peer)| peer);
        let ip = front.access.address(peer, request.headers());
        if counts(ip) {
            front.access.limits().count(ip, kind)?;
        }
    }
    Ok(next.run(request).await)
}

/// Whether there are limits for this address. What comes from this machine is a proxy that is not named
/// as one, or a test.
pub(crate) fn counts(ip: IpAddr) -> bool {
    !ip.is_loopback()
}

fn too_often(detail: &str, pause: Duration) -> Problem {
    let seconds = u32::try_from(pause.as_secs_f64().ceil() as u64).unwrap_or(u32::MAX);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(seconds)
}

fn locked<T>(limiter: &Mutex<T>) -> MutexGuard<'_, T> {
    limiter.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "requests are counted the moment they come"
)]
fn now() -> Instant {
    Instant::now()
}
