//! The requests of nodes to join renditions that are about to be made.

use std::time::Duration;

use distributary_hub::Hub;
use distributary_names::{RenditionId, StreamName};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::control::Join;

/// Maximum time for which a request waits for its rendition.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Maximum number of requests.
const MAX_REQUESTS: usize = 256;

/// A request to join a rendition.
pub(super) struct Awaited {
    pub(super) id: RenditionId,
    pub(super) join: Join,
    pub(super) reply: String,
}

/// The requests of nodes to join renditions that are about to be made.
pub(super) struct AwaitedJoins {
    hub: Hub,
    name: StreamName,
    requests: Vec<Awaited>,
    /// One for each rendition that is waited for.
    renditions: JoinSet<RenditionId>,
}

impl AwaitedJoins {
    pub(super) fn new(hub: Hub, name: StreamName) -> Self {
        Self {
            hub,
            name,
            requests: Vec::new(),
            renditions: JoinSet::new(),
        }
    }

    /// Returns whether no more can wait.
    pub(super) fn are_full(&self) -> bool {
        self.requests.len() >= MAX_REQUESTS
    }

    /// Requests the rendition of a request, which waits for it.
    pub(super) fn add(&mut self, request: Awaited) {
        let id = request.id;
        if !self.requests.iter().any(|one| one.id == id) {
            let (hub, rendition) = (self.hub.clone(), self.name.rendition(&id));
            self.renditions.spawn(async move {
                // Whether it is live is looked up afterwards.
                let _ = timeout(TIMEOUT, hub.ensure_live(&rendition)).await;
                id
            });
        }
        self.requests.push(request);
    }

    /// Returns the next requests whose rendition has been waited for; `None` if there are none. It may
    /// be dropped and called again.
    pub(super) async fn next(&mut self) -> Option<Vec<Awaited>> {
        let id = self.renditions.join_next().await?.ok()?;
        let made = self.requests.extract_if(.., |request| request.id == id);
        Some(made.collect())
    }

    /// Ends the waiting. Returns the requests.
    pub(super) fn end(&mut self) -> Vec<Awaited> {
        self.renditions = JoinSet::new();
        std::mem::take(&mut self.requests)
    }
}
