//! Requests for sessions that reach the wrong node.

use std::sync::Arc;

use bytes::Bytes;
use distributary_cluster::ForwardError;
use distributary_cluster::test_util::NatsServer;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::common::{LIMIT, Mortal, Node, handled, name, until, until_async};

/// A request that is never answered.
const UNANSWERED: &[u8] = b"unanswered";

/// More requests than a node has in progress with all others.
const MANY: usize = 300;

/// Lets a node answer requests with themselves and its name. Malformed ones are empty.
fn serve(node: &Node) -> JoinHandle<()> {
    let (cluster, name) = (node.cluster.clone(), node.cluster.node().to_owned());
    tokio::spawn(async move {
        let answer = |request: Bytes| {
            let answer = [request.as_ref(), name.as_bytes()].concat();
            async move {
                if request == UNANSWERED {
                    std::future::pending::<()>().await;
                }
                (!request.is_empty()).then(|| answer.into())
            }
        };
        cluster.answer_forwarded(answer).await;
    })
}

/// Waits until a node knows another one.
async fn knows(node: &Node, other: &str) {
    until("the node knows the other", || {
        let status = node.cluster.status();
        status.nodes.iter().any(|node| node.name == other)
    })
    .await;
}

/// Forwards a request within the limit of the test.
async fn forward(from: &Node, to: &str, request: &'static [u8]) -> Result<Bytes, ForwardError> {
    let answer = from.cluster.forward(to, request.into());
    timeout(LIMIT, answer).await.expect("it comes to an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_reaches_the_node_that_it_is_for_and_no_other() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let (_a, _b) = (serve(&a), serve(&b));
    knows(&a, "b").await;
    until_async("b answers", async || {
        forward(&a, "b", b"x").await == Ok("xb".into())
    })
    .await;
    for unknown in ["c", "b.session", "*", ">", ""] {
        let answer = forward(&a, unknown, b"x").await;
        assert_eq!(answer, Err(ForwardError::Unknown), "{unknown}");
    }
    static LARGE: [u8; 100_000] = [b'x'; 100_000];
    let answer = forward(&a, "b", &LARGE).await;
    assert_eq!(answer, Err(ForwardError::Large));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_is_dead_or_cannot_read_a_request_costs_a_bounded_time() {
    let nats = Arc::new(NatsServer::start());
    let a = Node::start(&nats, "a").await;
    let mortal = Mortal::publish(&nats, "b", &name("live/test"), 1).await;
    knows(&a, "b").await;
    mortal.kill();
    // Its beacons are missed later: until then nobody listens.
    let answer = forward(&a, "b", b"x").await;
    assert!(
        matches!(answer, Err(ForwardError::Silent | ForwardError::Unknown)),
        "{answer:?}"
    );
    until_async("the node has left", async || {
        forward(&a, "b", b"x").await == Err(ForwardError::Unknown)
    })
    .await;

    let c = Node::start(&nats, "c").await;
    let _c = serve(&c);
    knows(&a, "c").await;
    until_async("c answers", async || forward(&a, "c", b"x").await.is_ok()).await;
    let before = c.cluster.status().counters.malformed;
    assert_eq!(forward(&a, "c", b"").await, Err(ForwardError::Silent));
    assert_eq!(c.cluster.status().counters.malformed, before + 1);
}

/// Waits until a node answers another one.
async fn answers(from: &Node, to: &str) {
    knows(from, to).await;
    until_async("the node answers", async || {
        forward(from, to, b"x").await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_node_does_not_hold_up_requests_for_another_one() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let c = Node::start(&nats, "c").await;
    let (_b, _c) = (serve(&b), serve(&c));
    answers(&a, "b").await;
    answers(&a, "c").await;
    let mut requests = JoinSet::new();
    for _ in 0..MANY {
        let cluster = a.cluster.clone();
        requests.spawn(async move { cluster.forward("b", UNANSWERED.into()).await });
    }
    let first = timeout(LIMIT, requests.join_next()).await;
    let first = first.expect("it comes to an end").unwrap().unwrap();
    assert_eq!(first, Err(ForwardError::Busy));
    assert_eq!(forward(&a, "c", b"x").await, Ok("xc".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_with_many_requests_does_not_hold_up_those_of_another_one() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let c = Node::start(&nats, "c").await;
    let _b = serve(&b);
    answers(&a, "b").await;
    answers(&c, "b").await;
    // The node has more in progress than it should.
    let client = async_nats::connect(nats.url()).await.unwrap();
    for number in 0..MANY {
        let (subject, reply) = (
            "dist.distributary.n.b.session",
            format!("_INBOX.a.{number}"),
        );
        let request = client.publish_with_reply(subject, reply, UNANSWERED.into());
        request.await.unwrap();
    }
    handled(&client).await;
    assert_eq!(forward(&c, "b", b"x").await, Ok("xb".into()));
}
