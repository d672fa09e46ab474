//! The messages of other nodes on a subject.

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt;

use crate::config::Label;

/// The start of the subjects on which answers arrive. The name of the node follows, so that only it may
/// have the right to receive them.
pub(crate) const INBOX: &str = "_INBOX.";

/// The start of the subjects on which JetStream expects acknowledgements.
const JETSTREAM: &str = "$JS.";

/// The messages of other nodes on a subject.
#[derive(Debug)]
pub(crate) struct Subscription(Subscriber);

impl Subscription {
    pub(crate) fn new(subscriber: Subscriber) -> Self {
        Self(subscriber)
    }

    /// Returns the next message; `None` when the connection has ended for good.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let message = self.0.next().await?;
            if !is_of_jetstream(&message) {
                return Some(message);
            }
        }
    }
}

/// Returns the next message; never if there is no subscription.
pub(crate) async fn next(subscription: &mut Option<Subscription>) -> Message {
    if let Some(subscription) = subscription
        && let Some(message) = subscription.next().await
    {
        return message;
    }
    std::future::pending().await
}

/// Returns the subject on which the sender of a message expects the answer. `None` if it is not made
/// for answers: a node must not send to subjects that others choose.
pub(crate) fn reply_to(message: &Message) -> Option<&str> {
    let reply = message.reply.as_deref();
    reply.filter(|reply| reply.starts_with(INBOX))
}

/// Returns the name of the node that expects an answer, as the subject of the answer has it.
pub(crate) fn asker(reply: &str) -> Option<&str> {
    reply.strip_prefix(INBOX)?.split('.').next()
}

/// Returns whether a message came on the subject of the node that it names: only this node may have
/// the right to send there.
pub(crate) fn is_from(message: &Message, node: &Label) -> bool {
    message.subject.rsplit('.').next() == Some(node.as_str())
}

/// Returns whether JetStream has sent a message, and no node. Whoever may follow the arbiter's bucket
/// can have its entries delivered to any subject, also where only another node has the right to send.
/// Such messages expect an acknowledgement, or have headers; those of nodes have neither. Only the answer
/// of a server that nobody listens on a subject has headers as well.
fn is_of_jetstream(message: &Message) -> bool {
    let reply = message.reply.as_deref();
    let headers = message.headers.as_ref();
    reply.is_some_and(|reply| reply.starts_with(JETSTREAM))
        || headers.is_some_and(|headers| !headers.is_empty()) && !is_of_nobody(message)
}

/// Returns whether a server has answered that nobody listens on the subject of a request.
fn is_of_nobody(message: &Message) -> bool {
    message.status == Some(StatusCode::NO_RESPONDERS) && message.payload.is_empty()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::HeaderMap;
    use bytes::Bytes;
    use tokio::time::timeout;

    use super::*;
    use crate::test_util::NatsServer;

    fn message(reply: Option<&'static str>) -> Message {
        Message {
            subject: "dist.c.n.a.join".into(),
            reply: reply.map(Into::into),
            payload: Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn answers_go_to_inboxes_alone() {
        assert_eq!(reply_to(&message(Some("_INBOX.x.1"))), Some("_INBOX.x.1"));
        assert_eq!(reply_to(&message(Some("dist.c.owned.b"))), None);
        assert_eq!(reply_to(&message(Some("$JS.API.STREAM.DELETE.KV_x"))), None);
        assert_eq!(reply_to(&message(None)), None);
    }

    #[test]
    fn answers_name_the_node_that_asks() {
        assert_eq!(asker("_INBOX.x.1"), Some("x"));
        assert_eq!(asker("dist.c.owned.b"), None);
    }

    #[test]
    fn deliveries_of_jetstream_are_told_from_messages_of_nodes() {
        assert!(!is_of_jetstream(&message(None)));
        assert!(!is_of_jetstream(&message(Some("_INBOX.x.1"))));
        assert!(is_of_jetstream(&message(Some("$JS.ACK.KV_x.c.1.2.3.4.5"))));
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Stream", "KV_x");
        let republished = Message {
            headers: Some(headers),
            ..message(None)
        };
        assert!(is_of_jetstream(&republished));
    }

    #[tokio::test]
    async fn server_answers_that_nobody_listens() {
        let nats = NatsServer::start();
        let client = async_nats::connect(nats.url()).await.unwrap();
        let inbox = client.subscribe("_INBOX.x.1").await.unwrap();
        let request = client.publish_with_reply("nobody", "_INBOX.x.1", "join".into());
        request.await.unwrap();
        let answer = timeout(Duration::from_secs(60), Subscription::new(inbox).next()).await;
        let answer = answer.expect("it comes").unwrap();
        assert!(answer.payload.is_empty());
        let stored = Message {
            payload: Bytes::from_static(b"a frame"),
            ..answer
        };
        assert!(is_of_jetstream(&stored));
    }
}
