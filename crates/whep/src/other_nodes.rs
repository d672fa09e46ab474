//! The other gateways of a cluster: where else viewers can go.

use std::sync::Arc;

use axum::response::Response;
use distributary_names::StreamName;

use crate::front_door::FrontDoor;
use crate::path::escaped;
use crate::redirect::temporary_redirect;

/// Query parameter of a request that another gateway has redirected, so that it is not redirected
/// again.
const REDIRECTED: &str = "redirected=1";

/// The other gateways of a cluster, which have the same streams. URLs are those at which players
/// reach their HTTP listeners, without a slash at the end.
pub trait OtherNodes: Send + Sync {
    /// Returns where viewers of this gateway should go if it fails or ends, the best first.
    fn alternates(&self) -> Vec<String>;

    /// Returns where a new viewer of a stream has to go instead of this gateway, because this one
    /// has too much load.
    fn less_loaded(&self, stream: &StreamName) -> Option<String>;

    /// Returns whether players reach all of them over HTTPS.
    fn are_secure(&self) -> bool;
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

    /// Returns whether a new viewer of a stream would be redirected because of too much load.
    pub(crate) fn takes_over(&self, stream: &StreamName) -> bool {
        self.less_loaded(stream).is_some()
    }

    /// Returns the sources that a page may have to connect to, for its content security policy. Nodes
    /// come and go while a page is open, so it names no hosts.
    pub(crate) fn sources(&self) -> &'static str {
        match &self.0 {
            None => "",
            Some(nodes) if nodes.are_secure() => " https:",
            Some(_) => " https: http:",
        }
    }

    fn less_loaded(&self, stream: &StreamName) -> Option<String> {
        self.0.as_ref()?.less_loaded(stream)
    }
}

/// Redirects a new viewer of a stream to another gateway, if this one drains or has too much load.
/// One that was redirected here stays.
pub(crate) fn redirect(front: &FrontDoor, stream: &StreamName, query: &str) -> Option<Response> {
    if query.split('&').any(|part| part == REDIRECTED) {
        return None;
    }
    let endpoint = if front.admission.is_draining() {
        front.nodes.alternates(stream).into_iter().next()?
    } else {
        endpoint(&front.nodes.less_loaded(stream)?, stream)
    };
    let separator = if query.is_empty() { "" } else { "&" };
    Some(temporary_redirect(&format!(
        "{endpoint}?{query}{separator}{REDIRECTED}"
    )))
}

/// Returns the WHEP endpoint of a stream at a gateway.
fn endpoint(url: &str, stream: &StreamName) -> String {
    format!("{url}/whep/{}", escaped(stream.as_str()))
}
