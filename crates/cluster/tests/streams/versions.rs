//! Nodes of earlier versions.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use distributary_cluster::message::{Header, Kind, encode};
use distributary_cluster::test_util::NatsServer;
use distributary_names::{RenditionId, StreamName};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::common::{LIMIT, Node, handled, name};

/// The epoch in which the node of an earlier version has the stream.
const EPOCH: u64 = 7;

/// The node "a" as the first version, which knows no strands but the main one: it ignores the field
/// that says which rendition is meant.
struct EarlierOwner {
    client: Client,
    questions: Subscriber,
    joins: Subscriber,
    media: String,
    /// The number of the next sign of life.
    next: u64,
}

impl EarlierOwner {
    /// Starts the owner of a stream. It panics if it is asked for a rendition.
    async fn start(nats: &NatsServer, stream: &StreamName) -> JoinHandle<()> {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let subscribe = async |subject: String| client.subscribe(subject).await.unwrap();
        let owner = Self {
            questions: subscribe(format!("dist.distributary.own.{stream}")).await,
            joins: subscribe("dist.distributary.n.a.join".to_owned()).await,
            media: format!("dist.distributary.m.a.{EPOCH}.{stream}.o"),
            client: client.clone(),
            next: 0,
        };
        handled(&client).await;
        tokio::spawn(owner.run())
    }

    async fn run(mut self) {
        let mut ticks = interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                Some(question) = self.questions.next() => {
                    let holds = json!({"v": 1, "node": "a", "epoch": EPOCH}).to_string();
                    self.publish(question.reply.unwrap().as_str(), holds.into()).await;
                }
                Some(join) = self.joins.next() => {
                    let request: Value = serde_json::from_slice(&join.payload).unwrap();
                    assert!(request.get("rendition").is_none(), "{request}");
                    self.answer(join.reply.unwrap().as_str()).await;
                }
                _ = ticks.tick() => {
                    let tick = encode(&Header::new(Kind::Tick, EPOCH), &[], self.next, 0);
                    self.next += 1;
                    self.publish(&self.media, tick[0].clone()).await;
                }
            }
        }
    }

    async fn answer(&self, reply: &str) {
        let audio = json!({"codec": "opus", "rate": 48_000, "channels": 2, "config": ""});
        let tracks = json!({ "audio": audio }).to_string();
        let tracks = encode(
            &Header::new(Kind::Tracks, EPOCH),
            &[tracks.as_bytes()],
            0,
            0,
        );
        self.publish(reply, tracks[0].clone()).await;
        let next = self.next.to_be_bytes();
        let joined = encode(&Header::new(Kind::Joined, EPOCH), &[&next], 1, 0);
        self.publish(reply, joined[0].clone()).await;
    }

    async fn publish(&self, subject: &str, message: Bytes) {
        let published = self.client.publish(subject.to_owned(), message);
        published.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_that_knows_no_renditions_is_asked_for_none() {
    let nats = NatsServer::start();
    let test = name("live/test");
    let owner = EarlierOwner::start(&nats, &test).await;
    let b = Node::start(&nats, "b").await;
    let _viewer = b.watch(&test).await;
    let rendition = test.rendition(&RenditionId::H264);
    let refused = timeout(LIMIT, b.hub.ensure_live(&rendition)).await;
    assert!(refused.expect("it is decided").is_err());
    assert!(!owner.is_finished(), "it was asked");
    owner.abort();
}
