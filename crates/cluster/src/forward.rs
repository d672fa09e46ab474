//! Requests for sessions that reach the wrong node, on their way to the node of the session. Their
//! content is opaque here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::config::Label;
use crate::link::Reply;
use crate::slots::Slots;
use crate::subscription::{next, reply_to};

/// Maximum bytes of a request and of its answer; the NATS servers take 128 KB.
const MAX_LEN: usize = 96 << 10;

/// Timeout of an answer, at both ends.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of requests that are in progress with one node and with all, in each direction.
/// Further ones are refused, or get no answer.
const MAX_REQUESTS: (usize, usize) = (32, 256);

/// Returns slots for requests in one direction.
pub(crate) fn slots() -> Slots {
    Slots::new(MAX_REQUESTS.0, MAX_REQUESTS.1)
}

/// A request was not answered by its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// The cluster has no such node.
    #[error("the cluster has no such node")]
    Unknown,
    /// The node does not answer.
    #[error("the node does not answer")]
    Silent,
    /// Too many requests wait for answers of this node, or of all.
    #[error("too many requests wait for answers")]
    Busy,
    /// The request is too large.
    #[error("the request is too large")]
    Large,
}

impl Cluster {
    /// Returns the name of this node.
    pub fn node(&self) -> &str {
        self.context().node.as_str()
    }

    /// Returns the public URL of a node; `None` if there is no such node or it has none.
    pub fn url_of(&self, node: &str) -> Option<String> {
        self.context().nodes().url_of(node)
    }

    /// Sends a request to another node, and returns the answer, which comes within three seconds.
    ///
    /// # Errors
    /// Returns [`ForwardError`] if there is none.
    pub async fn forward(&self, node: &str, request: Bytes) -> Result<Bytes, ForwardError> {
        let context = self.context();
        // Only a name can stand in a subject.
        let node: Label = node.parse().map_err(|_| ForwardError::Unknown)?;
        if !context.nodes().contains(&node) {
            return Err(ForwardError::Unknown);
        }
        if request.len() > MAX_LEN {
            return Err(ForwardError::Large);
        }
        let slot = context.forwarded.take(node.as_str());
        let _slot = slot.ok_or(ForwardError::Busy)?;
        let subject = context.subjects.session(&node);
        match context.link.ask(&subject, request, TIMEOUT).await {
            Reply::Answer(answer) => Ok(answer),
            Reply::Nobody | Reply::Silent | Reply::Away => Err(ForwardError::Silent),
        }
    }

    /// Answers requests that other nodes forward to this one, until it is dropped. `answer` returns
    /// `None` for a malformed request. A node that has too many in progress gets no answer to further
    /// ones.
    pub async fn answer_forwarded<F>(&self, answer: impl Fn(Bytes) -> F)
    where
        F: Future<Output = Option<Bytes>> + Send + 'static,
    {
        let context = self.context();
        let subject = context.subjects.session(&context.node);
        let mut requests = context.link.subscribe_at_start(&subject).await;
        let slots = slots();
        loop {
            let request = next(&mut requests).await;
            let Some(reply) = reply_to(&request).map(ToOwned::to_owned) else {
                continue;
            };
            let Some(slot) = slots.take(&context.asking_node(&reply)) else {
                continue;
            };
            if request.payload.len() > MAX_LEN {
                context.counters.malformed.note();
                continue;
            }
            let answer = timeout(TIMEOUT, answer(request.payload.clone()));
            let context = Arc::clone(context);
            tokio::spawn(async move {
                match answer.await {
                    Ok(Some(answer)) => {
                        context.link.publish(&reply, answer).await;
                    }
                    Ok(None) => context.note_unreadable(&request.payload),
                    // The other node does not wait any longer.
                    Err(_) => {}
                }
                drop(slot);
            });
        }
    }
}
