//! Rate limits of requests, by address and by session.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method, StatusCode};
use distributary_auth::rate::{RateLimit, RateLimiter};
use distributary_egress::session::SessionId;
use distributary_net::network;

use crate::cors;
use crate::problem::Problem;

/// ICE restarts of one session. A player restarts ICE when its network changes; each restart is
/// work for a shard and a line in the log.
const RESTARTS: RateLimit = RateLimit {
    burst: 10,
    per_minute: 30,
};

/// PATCH requests of one session. A player trickles its candidates, some dozens each time it
/// gathers them. They change nothing and do not count against the address, because hundreds of
/// viewers behind one address may trickle at once.
const PATCHES: RateLimit = RateLimit {
    burst: 200,
    per_minute: 600,
};

/// Keyframes of one address: a page shows one, and may be reloaded. A keyframe is much larger than
/// the request for it.
const KEYFRAMES: RateLimit = RateLimit {
    burst: 60,
    per_minute: 120,
};

/// Requests of one address for sessions of other gateways. Each costs as much there as here, and hundreds
/// of viewers behind one address may trickle their candidates at once.
const FORWARDED: RateLimit = RateLimit {
    burst: 1000,
    per_minute: 3000,
};

/// Kinds of requests. An address has a separate limit for each kind.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Opens a session or an event stream.
    Open,
    /// Changes a session, or refers to one that does not exist.
    Change,
    /// Ends a session.
    End,
    /// Requests the ICE servers of a stream, some of which are only for authorized viewers.
    Ask,
}

impl Kind {
    /// Returns the kind of a request; `None` for requests that only read, for preflights, and for
    /// PATCH, which is counted when its content is known.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD | Method::PATCH => None,
            Method::OPTIONS if cors::is_preflight(headers) => None,
            Method::OPTIONS => Some(Self::Ask),
            Method::DELETE => Some(Self::End),
            _ => Some(Self::Open),
        }
    }
}

/// Rate limiters of requests.
#[derive(Debug)]
pub(crate) struct Limits {
    by_address: Mutex<[RateLimiter<IpAddr>; 4]>,
    keyframes: Mutex<RateLimiter<IpAddr>>,
    forwarded: Mutex<RateLimiter<IpAddr>>,
    patches: Mutex<RateLimiter<SessionId>>,
    restarts: Mutex<RateLimiter<SessionId>>,
}

impl Limits {
    /// Creates the limiters. `limit` applies to each address and kind of request.
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            by_address: Mutex::new([(); 4].map(|()| RateLimiter::new(limit))),
            keyframes: Mutex::new(RateLimiter::new(KEYFRAMES)),
            forwarded: Mutex::new(RateLimiter::new(FORWARDED)),
            patches: Mutex::new(RateLimiter::new(PATCHES)),
            restarts: Mutex::new(RateLimiter::new(RESTARTS)),
        }
    }

    /// Returns the rate limit of one address for opening sessions.
    pub(crate) fn limit(&self) -> RateLimit {
        locked(&self.by_address)[Kind::Open as usize].current()
    }

    /// Replaces the rate limit.
    pub(crate) fn replace(&self, limit: RateLimit) {
        for limiter in &mut *locked(&self.by_address) {
            limiter.limit(limit);
        }
    }

    /// Counts a PATCH of a session, or refuses it.
    pub(crate) fn patch(&self, id: SessionId) -> Result<(), Problem> {
        let pause = locked(&self.patches).check(id, now());
        pause.map_err(|pause| too_often("Too many requests for this session.", pause))
    }

    /// Counts a request for a keyframe, or refuses it.
    pub(crate) fn keyframe(&self, ip: IpAddr) -> Result<(), Problem> {
        let pause = locked(&self.keyframes).check(network(ip), now());
        pause.map_err(|pause| too_often("Too many keyframes for this address.", pause))
    }

    /// Counts a request for a session of another gateway, or refuses it.
    pub(crate) fn forwarded(&self, ip: IpAddr) -> Result<(), Problem> {
        let pause = locked(&self.forwarded).check(network(ip), now());
        pause.map_err(|pause| too_often("Too many requests from this address.", pause))
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

    /// Counts a request of this kind against an address, or refuses it.
    pub(crate) fn count(&self, ip: IpAddr, kind: Kind) -> Result<(), Problem> {
        let limiter = &mut locked(&self.by_address)[kind as usize];
        let pause = limiter.check(network(ip), now());
        pause.map_err(|pause| too_often("Too many requests from this address.", pause))
    }
}

/// Returns whether limits apply to this address. Requests from loopback come from a proxy that is
/// not configured as one, or from a test.
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
