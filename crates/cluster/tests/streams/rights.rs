//! The certificates and the rights of nodes, as `config/nats/secure.conf` gives them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, push};
use async_nats::{Client, ConnectOptions, Event, jetstream};
use distributary_cluster::ClusterConfig;
use distributary_cluster::test_util::{Authority, Issued, NatsServer};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::common::{LIMIT, Node, name, now, until, until_async};

/// Starts a node with a certificate of its own.
async fn start(nats: &NatsServer, authority: &Authority, name: &str) -> Node {
    let Issued { certificate, key } = authority.issue(name);
    let ca = authority.certificate();
    Node::start_with(nats, name, |config| {
        *config = ClusterConfig {
            ca,
            certificate,
            key,
            ..config.clone()
        };
    })
    .await
}

/// A program with the certificate of a node that does as it likes.
struct Intruder {
    client: Client,
    refusals: mpsc::UnboundedReceiver<String>,
}

impl Intruder {
    async fn connect(nats: &NatsServer, authority: &Authority, name: &str) -> Self {
        let (refused, refusals) = mpsc::unbounded_channel();
        let Issued { certificate, key } = authority.issue(name);
        let options = ConnectOptions::new()
            .custom_inbox_prefix(format!("_INBOX.{name}"))
            .require_tls(true)
            .add_root_certificates(authority.certificate())
            .add_client_certificate(certificate, key)
            .event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    let _ = refused.send(error.to_string());
                }
                std::future::ready(())
            });
        let client = timeout(LIMIT, options.connect(nats.url())).await;
        Self {
            client: client
                .expect("it connects in time")
                .expect("its certificate is accepted"),
            refusals,
        }
    }

    /// Waits until the server has refused something that is about a subject.
    async fn is_refused(&mut self, subject: &str) {
        let refusal = timeout(LIMIT, self.refusals.recv()).await;
        let refusal = refusal.unwrap_or_else(|_| panic!("{subject} is allowed"));
        let refusal = refusal.expect("the client runs");
        assert!(refusal.contains(subject), "{refusal}");
    }

    async fn publish(&self, subject: &str) {
        let published = self.client.publish(subject.to_owned(), "x".into());
        published.await.expect("the client runs");
        self.client.flush().await.expect("the client runs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_streams_with_the_rights_that_ship() {
    let authority = Authority::new();
    let nats = NatsServer::start_secured(&authority);
    let a = start(&nats, &authority, "node1").await;
    let b = start(&nats, &authority, "node2").await;
    until("both know each other", || {
        [&a, &b].map(|node| node.cluster.status().nodes.len()) == [2, 2]
    })
    .await;
    // A stream is joined between keyframes, and passes to a standby of another node.
    let test = name("live/test");
    let mut first = a.publish(&test).await.unwrap();
    first.push(true, 1, 300_000);
    for _ in 0..50 {
        first.push(false, 1, 1000);
    }
    let running = first.run(1);
    let mut viewer = b.watch(&test).await;
    viewer.sees(1).await;
    let second = b.stand_by(&test).await.unwrap().run(2);
    until("the owner knows who waits", || {
        let stream = a.hub.stream(&test).expect("a has the stream");
        let successors = stream.report(now()).successors;
        successors.iter().any(|successor| successor.is_ready)
    })
    .await;
    running.abort();
    viewer.sees(2).await;
    let _third = a.take_over(&test).await.unwrap().run(3);
    second.abort();
    // A name is taken over.
    let other = name("live/other");
    let first = a.publish(&other).await.unwrap().run(1);
    let mut viewer = b.watch(&other).await;
    viewer.sees(1).await;
    let second = b.take_over(&other).await.unwrap().run(2);
    viewer.sees(2).await;
    first.abort();
    second.abort();
    // A request for a session.
    let cluster = b.cluster.clone();
    let answering = tokio::spawn(async move {
        let answer = |request| async move { Some(request) };
        cluster.answer_forwarded(answer).await;
    });
    until_async("node2 answers", async || {
        a.cluster.forward("node2", "x".into()).await == Ok("x".into())
    })
    .await;
    answering.abort();
    // Entries are removed, and the watches of the bucket end.
    b.end().await;
    a.end().await;
    let log = nats.log();
    let refused: Vec<_> = log
        .lines()
        .filter(|line| line.contains("iolation"))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_cannot_speak_or_listen_in_the_name_of_another_one() {
    let authority = Authority::new();
    let nats = NatsServer::start_secured(&authority);
    let node = start(&nats, &authority, "node1").await;
    let _publisher = node.publish(&name("live/test")).await.unwrap().run(1);
    let mut intruder = Intruder::connect(&nats, &authority, "node3").await;
    for own in [
        "dist.distributary.beacon.default.node3",
        "dist.distributary.m.node3.7.live/test.o",
        "dist.distributary.n.node1.session",
    ] {
        intruder.publish(own).await;
    }
    for foreign in [
        "dist.distributary.beacon.default.node1",
        "dist.distributary.has.node1",
        "dist.distributary.owned.node1",
        "dist.distributary.m.node1.1.live/test.o",
        "_INBOX.node1.x",
        "$JS.API.STREAM.DELETE.KV_dist_distributary",
        "$JS.API.STREAM.PURGE.KV_dist_distributary",
        "$JS.API.STREAM.CREATE.other",
        "anything",
    ] {
        intruder.publish(foreign).await;
        intruder.is_refused(foreign).await;
    }
    for foreign in [
        "_INBOX.>",
        "_INBOX.node1.>",
        "dist.distributary.n.node1.join",
        "dist.distributary.n.*.session",
        ">",
    ] {
        let _subscriber = intruder.client.subscribe(foreign).await.unwrap();
        intruder.client.flush().await.unwrap();
        intruder.is_refused(foreign).await;
    }
    let nodes = node.cluster.status().nodes;
    let urls: Vec<_> = nodes.iter().map(|node| node.url.as_str()).collect();
    assert_eq!(urls, [""], "{nodes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arbiter_does_not_speak_for_a_node() {
    let authority = Authority::new();
    let nats = NatsServer::start_secured(&authority);
    let node = start(&nats, &authority, "node1").await;
    let _publisher = node.publish(&name("live/test")).await.unwrap();
    // A watch of the bucket is delivered to any subject, also where the node that asked cannot speak.
    let intruder = Intruder::connect(&nats, &authority, "node3").await;
    let roster = |node: &str| {
        let streams = r#"[{"stream":"live/forged","owner":true}]"#;
        format!(r#"{{"v":1,"node":"{node}","streams":{streams}}}"#)
    };
    let bucket = jetstream::new(intruder.client.clone());
    let bucket = bucket.get_key_value("dist_distributary").await.unwrap();
    bucket.put("x.node2", roster("node2").into()).await.unwrap();
    let subject = "dist.distributary.has.node2";
    let mut forged = intruder.client.subscribe(subject).await.unwrap();
    let watch = push::Config {
        deliver_subject: subject.to_owned(),
        filter_subject: "$KV.dist_distributary.x.node2".to_owned(),
        ack_policy: AckPolicy::None,
        ..push::Config::default()
    };
    bucket.stream.create_consumer(watch).await.unwrap();
    let message = timeout(LIMIT, forged.next()).await;
    let message = message.expect("the server delivers it").unwrap();
    assert_eq!(message.payload, roster("node2"));
    // It came before what the intruder may say.
    let own = "dist.distributary.has.node3";
    let said = intruder.client.publish(own, roster("node3").into());
    said.await.unwrap();
    until("the node hears the intruder", || {
        let streams = node.cluster.remote_streams(10);
        assert!(
            streams.iter().all(|stream| stream.node == "node3"),
            "{streams:?}"
        );
        !streams.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_to_change_the_bucket_is_needed_until_it_is_there() {
    let authority = Authority::new();
    let mut nats = NatsServer::start_secured(&authority);
    let node = start(&nats, &authority, "node1").await;
    let _first = node.publish(&name("live/first")).await.unwrap();
    node.confirmed().await;
    // The documentation says what another node can do with it.
    let intruder = Intruder::connect(&nats, &authority, "node3").await;
    let bucket = "KV_dist_distributary";
    let mut config = jetstream::new(intruder.client.clone())
        .get_stream(bucket)
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    let session = "dist.distributary.n.node1.session";
    config.subjects.push(session.to_owned());
    let jetstream = jetstream::new(intruder.client.clone());
    jetstream.update_stream(&config).await.unwrap();
    config.subjects.pop();
    jetstream.update_stream(&config).await.unwrap();

    nats.kill();
    node.disconnected().await;
    nats.withdraw(&["STREAM.CREATE", "STREAM.UPDATE"]);
    nats.restart();
    node.connected().await;
    let mut intruder = Intruder::connect(&nats, &authority, "node3").await;
    let update = format!("$JS.API.STREAM.UPDATE.{bucket}");
    intruder.publish(&update).await;
    intruder.is_refused(&update).await;
    until("the arbiter answers", || {
        node.cluster.status().arbiter.is_reachable
    })
    .await;
    let _second = node.publish(&name("live/second")).await.unwrap();
    node.confirmed().await;
    assert_eq!(node.cluster.status().owned, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_of_another_authority_or_without_rights_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nats = NatsServer::start_secured(&authority);
    // A proper one is accepted.
    let _node = start(&nats, &authority, "node1").await;
    for Issued { certificate, key } in [other.issue("node1"), authority.issue("node9")] {
        let options = ConnectOptions::new()
            .require_tls(true)
            .connection_timeout(Duration::from_secs(30))
            .add_root_certificates(authority.certificate())
            .add_client_certificate(certificate, key);
        let connected = timeout(LIMIT, options.connect(nats.url())).await;
        assert!(connected.expect("it is decided").is_err());
    }
}
