//! Who may watch.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use distributary_auth::rate::RateLimit;
use distributary_auth::{AccessRequest, Action, Authorizer, Denied, Grant};
use distributary_egress::engine::ViewerOptions;
use distributary_names::StreamName;
use distributary_net::{TrustedProxies, network};

use crate::expiry::Expiry;
use crate::limits::{Limits, counts};
use crate::problem::Problem;
use crate::router::FrontDoor;

/// Asks for the token or key as a password, beside `Bearer` (RFC 7617). It is for programs that send no password
/// before they are asked for one. Pages do not get it: their browser would ask its user, in a dialog of its own,
/// where the page has a field for the key.
const BASIC: &str = "Basic realm=\"Distributary\", charset=\"UTF-8\"";

/// Headers by which a browser tells that a page sends a request. Every browser sends `Origin` with POST, also to the
/// site of the page (Fetch standard, "append a request `Origin` header").
const OF_PAGES: [&str; 2] = ["origin", "sec-fetch-mode"];

/// Names the addresses that a request has come by.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What is asked before a viewer is let in. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Access {
    authorizer: Authorizer,
    limits: Arc<Limits>,
    proxies: Arc<RwLock<TrustedProxies>>,
    expiry: Expiry,
    /// Whether it was said that a proxy is not trusted.
    has_warned: Arc<AtomicBool>,
}

impl Access {
    /// Viewers are let in as `authorizer` says, and may ask as often as `limit` allows. Where they are is
    /// what `proxies` say, if they come through one.
    pub fn new(authorizer: Authorizer, limit: RateLimit, proxies: TrustedProxies) -> Self {
        Self {
            authorizer,
            limits: Arc::new(Limits::new(limit)),
            proxies: Arc::new(RwLock::new(proxies)),
            expiry: Expiry::default(),
            has_warned: Arc::default(),
        }
    }

    /// Puts another limit into force, and other proxies.
    pub fn replace(&self, limit: RateLimit, proxies: TrustedProxies) {
        self.limits.replace(limit);
        *self.proxies.write().unwrap_or_else(PoisonError::into_inner) = proxies;
        self.has_warned.store(false, Ordering::Relaxed);
    }

    /// Returns how often an address may ask.
    pub fn limit(&self) -> RateLimit {
        self.limits.limit()
    }

    /// Returns the proxies that are believed.
    pub fn proxies(&self) -> TrustedProxies {
        let proxies = self.proxies.read();
        proxies.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where a request comes from, by what trusted proxies say.
    pub(crate) fn address(&self, peer: Option<&PeerAddress>, headers: &HeaderMap) -> IpAddr {
        let peer = address_of(peer);
        // Each proxy adds to the list, some as a header of its own.
        let lines = headers.get_all(FORWARDED_FOR).iter();
        let list: Vec<_> = lines.filter_map(|value| value.to_str().ok()).collect();
        let proxies = self.proxies.read().unwrap_or_else(PoisonError::into_inner);
        if peer.is_loopback() && !list.is_empty() && !proxies.trusts(peer) {
            self.warn_of_proxy(peer);
        }
        proxies.client(peer, &list.join(","))
    }

    /// Whether a connection comes from a proxy that is believed.
    pub(crate) fn is_proxy(&self, peer: Option<&PeerAddress>) -> bool {
        let proxies = self.proxies.read().unwrap_or_else(PoisonError::into_inner);
        proxies.trusts(address_of(peer))
    }

    /// Says once that a proxy on this machine hides where viewers are. This machine itself has no limits, so
    /// none of its viewers has one. It is not believed by itself: any program on this machine could then
    /// come from everywhere.
    fn warn_of_proxy(&self, peer: IpAddr) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a proxy at {peer} sends X-Forwarded-For and is not trusted: no limit by address holds for its \
                 viewers; set trusted_proxies = [\"{peer}\"] under [requests]"
            );
        }
    }

    /// A limit on how often somebody may ask.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// When sessions end with their tokens.
    pub(crate) fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    /// Whether everybody may watch.
    pub(crate) fn is_open(&self) -> bool {
        self.authorizer.is_open(Action::Play)
    }

    /// Lets `viewer` watch `stream`, or says why not, to the log as well.
    pub(crate) async fn check(
        &self,
        viewer: &Viewer,
        stream: &StreamName,
    ) -> Result<Grant, Problem> {
        self.authorize(viewer, stream).await.map_err(|denied| {
            viewer.note_refusal(stream, &denied);
            let problem = Problem::from(denied).about(stream);
            match problem.status() {
                StatusCode::UNAUTHORIZED if !viewer.is_page => {
                    problem.with(header::WWW_AUTHENTICATE, HeaderValue::from_static(BASIC))
                }
                _ => problem,
            }
        })
    }

    /// Whether `viewer` may watch `stream`.
    pub(crate) async fn authorize(
        &self,
        viewer: &Viewer,
        stream: &StreamName,
    ) -> Result<Grant, Denied> {
        let request = AccessRequest {
            action: Action::Play,
            stream,
            ip: viewer.ip,
            bearer: viewer.bearer.as_deref(),
            query: &viewer.query,
            client: viewer.agent.as_deref(),
        };
        self.authorizer.authorize(&request).await
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
    /// Whether a page in a browser sends the request.
    is_page: bool,
}

impl Viewer {
    /// The query of the request, which may be empty.
    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    /// The address that limits count the viewer as; `None` for one on this machine.
    pub(crate) fn counts_as(&self) -> Option<IpAddr> {
        counts(self.ip).then(|| network(self.ip))
    }

    /// Writes into the log why the viewer is not let in.
    pub(crate) fn note_refusal(&self, stream: &StreamName, reason: &dyn Display) {
        tracing::info!(%stream, address = %self.ip, %reason, "viewer refused");
    }

    /// Adds where the viewer is to what is known of its player.
    pub(crate) fn tell(&self, options: ViewerOptions) -> ViewerOptions {
        ViewerOptions {
            address: Some(self.ip),
            counts_as: self.counts_as(),
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
        let bearer = text(header::AUTHORIZATION).and_then(shown);
        Ok(Self {
            ip: front.access.address(peer, &parts.headers),
            bearer,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            agent: text(header::USER_AGENT).map(str::to_owned),
            is_page: OF_PAGES
                .iter()
                .any(|name| parts.headers.contains_key(*name)),
        })
    }
}

/// Where a connection comes from. Only tests on the router have none.
fn address_of(peer: Option<&PeerAddress>) -> IpAddr {
    peer.map_or(Ipv4Addr::LOCALHOST.into(), |PeerAddress(peer)| {
        peer.ip().to_canonical()
    })
}

/// Returns the token or key in an `Authorization` header: a bearer token (RFC 6750 section 2.1), which some
/// players send alone, without the name of the scheme, or the password of Basic (RFC 7617). What a script
/// makes of a variable that is not set is none.
fn shown(value: &str) -> Option<String> {
    let value = value.trim();
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let token = if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (_, password) = pair.split_once(':')?;
        password.to_owned()
    } else if rest.is_empty() {
        value.to_owned()
    } else {
        return None;
    };
    Some(token).filter(|token| !["", "null", "undefined"].contains(&token.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_on_this_machine_that_is_not_trusted_is_warned_of() {
        let networks = ["127.0.0.1"].map(|text| distributary_net::parse_network(text).unwrap());
        let trusting = TrustedProxies(networks.to_vec());
        let limit = RateLimit {
            burst: 1,
            per_minute: 0,
        };
        for (proxies, peer, forwarded, warns) in [
            (TrustedProxies::default(), "127.0.0.1", "192.0.2.1", true),
            (trusting.clone(), "::1", "192.0.2.1", true),
            (trusting.clone(), "::ffff:127.0.0.1", "192.0.2.1", false),
            (TrustedProxies::default(), "127.0.0.1", "", false),
            // Anybody can write the header, and has limits all the same.
            (TrustedProxies::default(), "192.0.2.9", "192.0.2.1", false),
        ] {
            let access = Access::new(Authorizer::open(), limit, proxies);
            let mut headers = HeaderMap::new();
            if !forwarded.is_empty() {
                headers.insert(FORWARDED_FOR, HeaderValue::from_static(forwarded));
            }
            let peer = PeerAddress(SocketAddr::new(peer.parse().unwrap(), 4000));
            access.address(Some(&peer), &headers);
            assert_eq!(access.has_warned.load(Ordering::Relaxed), warns, "{peer:?}");
        }
    }

    #[test]
    fn the_header_has_a_token_a_password_or_nothing() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("abc", Some("abc")),
            // me:a:b, and :abc without a name
            ("Basic bWU6YTpi", Some("a:b")),
            ("basic OmFiYw==", Some("abc")),
            ("Basic bWU6", None),
            ("Basic bWU", None),
            ("Basic !", None),
            ("Bearer", None),
            ("Bearer null", None),
            ("Bearer undefined", None),
            ("null", None),
            ("Digest username=me", None),
            ("", None),
        ] {
            assert_eq!(shown(value).as_deref(), token, "{value}");
        }
    }
}
