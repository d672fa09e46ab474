//! Requests for sessions that reach the wrong node, on their way to the node of the session. Their
//! content is opaque here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::config::Label;
use crate::context::Context;
use crate::link::Reply;
use crate::slots::Slots;
use crate::subscription::{asker, next, reply_to};

/// Maximum bytes of a request and of its answer; the NATS servers take 128 KB.
const MAX_LEN: usize = 96 << 10;

/// Timeout of an answer, at both ends.
const TIMEOUT: Duration = Duration::from_secs(3);

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
        let slots = Slots::default();
        loop {
            let request = next(&mut requests).await;
            let slot = slots.take(&asking_node(context, &request));
            let reply = reply_to(&request).map(ToOwned::to_owned);
            let (Some(slot), Some(reply)) = (slot, reply) else {
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

/// Returns the name of the node that sends a request: that in the subject of the answer, which only
/// this node may have the right to receive. Whoever uses the name of another node gets no answer, and
/// takes the slots of that node alone. Unknown nodes share one name.
fn asking_node(context: &Context, request: &Message) -> String {
    let node: Option<Label> = asker(request).and_then(|node| node.parse().ok());
    let node = node.filter(|node| context.nodes().contains(node));
    node.map_or_else(String::new, |node| node.to_string())
}
