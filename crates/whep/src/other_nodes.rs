//! The other gateways of a cluster: where else viewers can go.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use distributary_names::StreamName;
use futures_util::future::BoxFuture;

use crate::allowed_origins::AllowedOrigins;
use crate::front_door::FrontDoor;
use crate::links::to_alternate;
use crate::path::escaped;
use crate::problem::Problem;
use crate::redirect::temporary_redirect;

/// Query parameter of a request that another gateway has redirected, so that it is not redirected
/// again.
const REDIRECTED: &str = "redirected=1";

/// Seconds after which a player that does not know the links should retry.
const RETRY_SECONDS: u32 = 5;

/// The other gateways of a cluster, which have the same streams. URLs are those at which players
/// reach their HTTP listeners, without a slash at the end.
pub trait OtherNodes: Send + Sync {
    /// Returns where viewers of this gateway should go if it fails or ends, the best first.
    fn alternates(&self) -> Vec<String>;

    /// Returns where a new viewer of a stream has to go instead of this gateway, because this one
    /// has too much load.
    fn less_loaded(&self, stream: &StreamName) -> Option<String>;

    /// Notes that a new viewer is redirected to another gateway.
    fn note_redirect(&self, reason: RedirectReason);

    /// Returns the name of this gateway, which its sessions carry.
    fn this_name(&self) -> &str;

    /// Returns where players reach this gateway and no other; `None` if that is not known.
    fn this_url(&self) -> Option<String>;

    /// Returns whether players reach all of them over HTTPS.
    fn are_secure(&self) -> bool;

    /// Returns the URL of the gateway of this name; `None` if there is none or it has no URL.
    fn url_of(&self, node: &str) -> Option<String>;

    /// Sends a request to the gateway of this name, which answers it with
    /// [`answer_forwarded`](crate::answer_forwarded).
    fn forward(&self, node: &str, request: Bytes) -> BoxFuture<'_, Result<Bytes, NotForwarded>>;
}

/// The reason why a new viewer is redirected to another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectReason {
    /// This one has too much load.
    Load,
    /// This one drains.
    Drain,
}

/// A request was not answered by another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForwarded {
    /// There is no gateway of this name.
    Unknown,
    /// It does not answer.
    Silent,
    /// Too many requests wait for answers.
    Busy,
    /// The request is too large.
    Large,
}

/// The other gateways of a cluster; none for a gateway on its own. A clone is a handle to the same.
#[derive(Clone, Default)]
pub struct Nodes(Option<Arc<dyn OtherNodes>>);

impl Nodes {
    /// Returns these gateways.
    pub fn new(nodes: impl OtherNodes + 'static) -> Self {
        Self(Some(Arc::new(nodes)))
    }

    /// Returns the WHEP endpoints of a stream at other gateways, the best first.
    pub(crate) fn alternates(&self, stream: &StreamName) -> Vec<String> {
        let urls = self.0.iter().flat_map(|nodes| nodes.alternates());
        urls.map(|url| endpoint(&url, stream)).collect()
    }

    fn note_redirect(&self, reason: RedirectReason) {
        if let Some(nodes) = &self.0 {
            nodes.note_redirect(reason);
        }
    }

    /// Returns whether a new viewer of a stream would be redirected because of too much load.
    pub(crate) fn takes_over(&self, stream: &StreamName) -> bool {
        self.less_loaded(stream).is_some()
    }

    /// Returns where players reach this gateway and no other, if that is known.
    pub(crate) fn this_url(&self) -> Option<String> {
        self.0.as_ref()?.this_url()
    }

    /// Returns the sources that a page may have to connect to, for its content security policy. Nodes
    /// come and go while a page is open, so it names no hosts. A page over HTTPS connects to nothing
    /// else.
    pub(crate) fn sources(&self) -> &'static str {
        let Some(nodes) = &self.0 else { return "" };
        let is_secure = nodes
            .this_url()
            .is_some_and(|url| url.starts_with("https:"));
        if is_secure || nodes.are_secure() {
            " https:"
        } else {
            " https: http:"
        }
    }

    /// Returns the name of this gateway; `None` for one on its own.
    pub(crate) fn this_name(&self) -> Option<&str> {
        Some(self.0.as_ref()?.this_name())
    }

    /// Returns the URL of the gateway of this name.
    pub(crate) fn url_of(&self, node: &str) -> Option<String> {
        self.0.as_ref()?.url_of(node)
    }

    /// Sends a request to the gateway of this name.
    pub(crate) async fn forward(&self, node: &str, request: Bytes) -> Result<Bytes, NotForwarded> {
        match &self.0 {
            Some(nodes) => nodes.forward(node, request).await,
            None => Err(NotForwarded::Unknown),
        }
    }

    fn less_loaded(&self, stream: &StreamName) -> Option<String> {
        self.0.as_ref()?.less_loaded(stream)
    }
}

/// Sends a new viewer of a stream to another gateway, if this one drains or has too much load. One that
/// was redirected here stays.
///
/// # Errors
/// Names the other gateways in an error if the player is in a page that may not be redirected.
pub(crate) fn redirect(
    front: &FrontDoor,
    stream: &StreamName,
    query: &str,
    headers: &HeaderMap,
) -> Result<Option<Response>, Problem> {
    if query.split('&').any(|part| part == REDIRECTED) {
        return Ok(None);
    }
    let (endpoints, reason) = if front.admission.is_draining() {
        (front.nodes.alternates(stream), RedirectReason::Drain)
    } else {
        let url = front.nodes.less_loaded(stream);
        let endpoints: Vec<_> = url.iter().map(|url| endpoint(url, stream)).collect();
        (endpoints, RedirectReason::Load)
    };
    let Some(first) = endpoints.first() else {
        return Ok(None);
    };
    let allowed = &front.config.current().whep.allowed_origins;
    if *allowed != AllowedOrigins::Any && is_of_other_site(headers) {
        return Err(elsewhere(&endpoints));
    }
    front.nodes.note_redirect(reason);
    let separator = if query.is_empty() { "" } else { "&" };
    let target = format!("{first}?{query}{separator}{REDIRECTED}");
    Ok(Some(temporary_redirect(&target)))
}

/// Returns whether a request comes from a page of another origin. When a browser follows a redirect
/// from there to a third origin, it sends `Origin: null`, which no list of origins allows (Fetch
/// standard, "HTTP-redirect fetch").
fn is_of_other_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
    origin.map(|(_, host)| host) != host
}

/// Refuses a viewer, and names the endpoints of the stream at other gateways.
fn elsewhere(endpoints: &[String]) -> Problem {
    let detail =
        "This gateway has no place for this viewer. Others have the stream: see the links.";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    let links = endpoints.iter().filter_map(|url| to_alternate(url));
    links.fold(problem.retry_after(RETRY_SECONDS), |problem, link| {
        problem.with(header::LINK, link)
    })
}

/// Returns the WHEP endpoint of a stream at a gateway.
fn endpoint(url: &str, stream: &StreamName) -> String {
    format!("{url}/whep/{}", escaped(stream.as_str()))
}
