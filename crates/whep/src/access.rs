//! Checks who may watch: authorization, rate limits and the client's address behind trusted
//! proxies.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use distributary_auth::rate::RateLimit;
use distributary_auth::{AccessRequest, Action, Authorizer, Blocks, Denied, Grant};
use distributary_egress::engine::{ViewerClient, ViewerOptions};
use distributary_hub::{Journal, JournalKind};
use distributary_names::StreamName;
use distributary_net::{TrustedProxies, network};

use crate::expiry::Expiry;
use crate::limits::{Limits, counts};
use crate::problem::Problem;
use crate::viewer_client;

/// Asks for the token or key as a password, beside `Bearer` (RFC 7617), for programs that send a
/// password only after a challenge. Pages do not get it: the browser would open its own password
/// dialog, although the page has a field for the key.
const BASIC: &str = "Basic realm=\"Distributary\", charset=\"UTF-8\"";

/// Request headers that only browsers send for a page. Every browser sends `Origin` with POST, also
/// to the page's own site (Fetch standard, "append a request `Origin` header").
const OF_PAGES: [&str; 2] = ["origin", "sec-fetch-mode"];

/// Header that lists the addresses a request has passed through.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Authorization and rate limits of viewers. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Access {
    authorizer: Authorizer,
    limits: Arc<Limits>,
    proxies: Arc<RwLock<TrustedProxies>>,
    expiry: Expiry,
    /// A warning about an untrusted proxy was logged.
    has_warned: Arc<AtomicBool>,
    journal: Journal,
}

impl Access {
    /// Creates the checks: `authorizer` admits viewers, `limit` is the request rate of one address,
    /// and `proxies` are believed about the address of a client.
    pub fn new(authorizer: Authorizer, limit: RateLimit, proxies: TrustedProxies) -> Self {
        Self {
            authorizer,
            limits: Arc::new(Limits::new(limit)),
            proxies: Arc::new(RwLock::new(proxies)),
            expiry: Expiry::default(),
            has_warned: Arc::default(),
            journal: Journal::default(),
        }
    }

    /// Returns the same checks, which record refusals in `journal`.
    #[must_use]
    pub fn with_journal(self, journal: Journal) -> Self {
        Self { journal, ..self }
    }

    /// Replaces the rate limit and the trusted proxies.
    pub fn replace(&self, limit: RateLimit, proxies: TrustedProxies) {
        self.limits.replace(limit);
        *self.proxies.write().unwrap_or_else(PoisonError::into_inner) = proxies;
        self.has_warned.store(false, Ordering::Relaxed);
    }

    /// Returns the table of blocked viewers and publishers.
    pub fn blocks(&self) -> &Blocks {
        self.authorizer.blocks()
    }

    /// Returns the request rate that one address may have.
    pub fn limit(&self) -> RateLimit {
        self.limits.limit()
    }

    /// Returns the trusted proxies.
    pub fn proxies(&self) -> TrustedProxies {
        let proxies = self.proxies.read();
        proxies.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the address of the client, as trusted proxies report it.
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

    /// Returns whether a connection comes from a trusted proxy.
    pub(crate) fn is_proxy(&self, peer: Option<&PeerAddress>) -> bool {
        let proxies = self.proxies.read().unwrap_or_else(PoisonError::into_inner);
        proxies.trusts(address_of(peer))
    }

    /// Warns once that an untrusted proxy on this machine hides the viewers' addresses. Loopback
    /// has no limits, so none of these viewers has one. The proxy is not trusted by default: any
    /// program on this machine could then claim any address.
    fn warn_of_proxy(&self, peer: IpAddr) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a proxy at {peer} sends X-Forwarded-For and is not trusted: no limit by address applies to its \
                 viewers; set trusted_proxies = [\"{peer}\"] under [requests]"
            );
        }
    }

    /// Returns the rate limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the expiry of sessions whose token expires.
    pub(crate) fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    /// Returns whether everybody may watch.
    pub(crate) fn is_open(&self) -> bool {
        self.authorizer.is_open(Action::Play)
    }

    /// Returns whether a webhook is asked about each viewer.
    pub(crate) fn asks_others(&self) -> bool {
        self.authorizer.asks_others(Action::Play)
    }

    /// Authorizes `viewer` to watch `stream`. Logs a refusal.
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

    /// Checks whether `viewer` has been blocked, after a wait.
    pub(crate) fn check_block(&self, viewer: &Viewer) -> Result<(), Denied> {
        self.blocks().check_viewer(viewer.ip, clock())
    }

    /// Authorizes `viewer` to watch `stream`.
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
    /// Lets everybody watch, without a rate limit.
    fn default() -> Self {
        let limit = RateLimit {
            burst: 1,
            per_minute: 0,
        };
        Self::new(Authorizer::open(), limit, TrustedProxies::default())
    }
}

/// Address of the other end of a connection. The server adds it to every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// The client that sends a request, with its credentials.
#[derive(Debug)]
pub(crate) struct Viewer {
    ip: IpAddr,
    bearer: Option<String>,
    query: String,
    agent: Option<String>,
    /// The request comes from a page in a browser.
    is_page: bool,
    client: Arc<ViewerClient>,
    journal: Journal,
}

impl Viewer {
    /// Returns the query string of the request, which may be empty.
    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    /// Returns the address that limits count the viewer under; `None` for one on this machine.
    pub(crate) fn counts_as(&self) -> Option<IpAddr> {
        counts(self.ip).then(|| network(self.ip))
    }

    /// Logs why the viewer is refused, and records it in the journal.
    pub(crate) fn note_refusal(&self, stream: &StreamName, reason: &dyn Display) {
        let (kind, address) = (JournalKind::Refused, Some(self.ip));
        let journal = &self.journal;
        journal.record(kind, Some(stream), address, reason, clock());
        tracing::info!(%stream, address = %self.ip, %reason, "viewer refused");
    }

    /// Adds the viewer's address, client and the expiry of its access to the options of its player.
    pub(crate) fn complete(&self, options: &ViewerOptions, grant: Grant) -> ViewerOptions {
        ViewerOptions {
            address: Some(self.ip),
            client: Some(Arc::clone(&self.client)),
            counts_as: self.counts_as(),
            token_expires: grant.expires,
            ..*options
        }
    }
}

impl<S> FromRequestParts<S> for Viewer
where
    S: Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let access = Access::from_ref(state);
        let peer = parts.extensions.get::<PeerAddress>();
        let text = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let bearer = text(header::AUTHORIZATION).and_then(credential);
        Ok(Self {
            ip: access.address(peer, &parts.headers),
            bearer,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            agent: text(header::USER_AGENT).map(str::to_owned),
            is_page: OF_PAGES
                .iter()
                .any(|name| parts.headers.contains_key(*name)),
            client: Arc::new(viewer_client::describe(
                &parts.method,
                &parts.uri,
                &parts.headers,
            )),
            journal: access.journal.clone(),
        })
    }
}

/// Returns the time of a request.
fn clock() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Returns the address of the other end. Only unit tests of the router have none.
fn address_of(peer: Option<&PeerAddress>) -> IpAddr {
    peer.map_or(Ipv4Addr::LOCALHOST.into(), |PeerAddress(peer)| {
        peer.ip().to_canonical()
    })
}

/// Returns the token or key in an `Authorization` header: a bearer token (RFC 6750 section 2.1),
/// which some players send without the name of the scheme, or the password of Basic (RFC 7617).
/// `null` and `undefined`, as scripts print a variable that is not set, count as no token.
fn credential(value: &str) -> Option<String> {
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
    fn untrusted_proxy_on_this_machine_is_warned_about() {
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
            // Anybody can send the header, and has limits all the same.
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
    fn authorization_header_gives_a_token_or_a_password() {
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
            assert_eq!(credential(value).as_deref(), token, "{value}");
        }
    }
}
