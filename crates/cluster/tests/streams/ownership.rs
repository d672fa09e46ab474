//! Names: how nodes own them, lose them and give them back.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use async_nats::jetstream::kv::{self, Operation};
use distributary_cluster::test_util::{NatsCluster, NatsServer};
use distributary_hub::{AdmissionError, Dismissal, StreamEvent, WhenTaken};
use distributary_names::StreamName;
use tokio::time::timeout;

use crate::common::{LIMIT, Node, name, until, until_async};

/// The entry of another process with the name of the node a.
const FORMER: &str = r#"{"v":1,"node":"a","instance":1}"#;

/// Returns the bucket of the arbiter, once a node has created it.
async fn bucket(nats: &NatsServer) -> kv::Store {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let store = async {
        loop {
            if let Ok(store) = context.get_key_value("dist_distributary").await {
                return store;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let store = timeout(LIMIT, store).await;
    store.expect("a node creates the bucket")
}

/// Returns whether the bucket has an entry that is not removed.
async fn has_entry(bucket: &kv::Store, key: &str) -> bool {
    let entry = bucket.entry(key).await.unwrap();
    entry.is_some_and(|entry| entry.operation == Operation::Put)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_ends_gives_its_names_back() {
    let nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    let publishers = [
        a.publish(&name("live/one")).await.unwrap(),
        a.publish(&name("live/two")).await.unwrap(),
    ];
    a.confirmed().await;
    let bucket = bucket(&nats).await;
    assert!(has_entry(&bucket, "live/one").await);
    a.end().await;
    assert!(!has_entry(&bucket, "live/one").await);
    assert!(!has_entry(&bucket, "live/two").await);
    drop(publishers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_removes_what_a_former_process_has_left_and_nothing_else() {
    let nats = NatsServer::start();
    let b = Node::start(&nats, "b").await;
    let publisher = b.publish(&name("live/other")).await.unwrap();
    b.confirmed().await;
    let bucket = bucket(&nats).await;
    bucket.put("live/left", FORMER.into()).await.unwrap();
    let _a = Node::start(&nats, "a").await;
    until_async("the entry is removed", async || {
        !has_entry(&bucket, "live/left").await
    })
    .await;
    // It was written before, and entries are handled in this order.
    assert!(has_entry(&bucket, "live/other").await);
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_whose_entry_is_overwritten_is_dismissed() {
    let nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    let publisher = a.publish(&name("live/test")).await.unwrap();
    let dismissed = publisher.publisher.dismissed();
    a.confirmed().await;
    // Another node that cannot announce itself.
    let entry = FORMER.replace("\"a\"", "\"z\"");
    let bucket = bucket(&nats).await;
    bucket.put("live/test", entry.into()).await.unwrap();
    let dismissal = timeout(LIMIT, dismissed).await.unwrap();
    assert_eq!(dismissal, Dismissal::Replaced);
    assert_eq!(a.cluster.status().counters.fenced, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_goes_offline_on_other_nodes_while_its_name_is_still_held() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let mut publisher = a.publish(&test).await.unwrap();
    publisher.push(true, 1, 100);
    let mut viewer = b.watch(&test).await;
    // As a standby that sends nothing.
    let held = a.hub.admit(&test, WhenTaken::Refused).await.unwrap();
    drop(publisher);
    viewer.goes_offline().await;
    assert_eq!(a.cluster.status().owned, 1);
    let mut publisher = a.publish(&test).await.unwrap();
    publisher.push(true, 2, 100);
    while !matches!(viewer.next().await, StreamEvent::Online) {}
    viewer.sees(2).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_node_leaves_its_name_to_another_and_viewers_go_on() {
    let nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    let (b, c) = (Node::start(&nats, "b").await, Node::start(&nats, "c").await);
    let test = name("live/test");
    let first = a.publish(&test).await.unwrap().run(1);
    let mut viewer = c.watch(&test).await;
    viewer.sees(1).await;
    let refused = b.publish(&test).await.map(drop);
    assert_eq!(refused, Err(AdmissionError::Elsewhere("a".into())));
    a.cluster.set_draining(true);
    let second = b.publish(&test).await.unwrap().run(2);
    viewer.sees(2).await;
    first.abort();
    second.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_go_on_when_one_of_three_servers_is_killed() {
    let mut nats = NatsCluster::start();
    let urls = nats.urls();
    let start = async |node: &str, first: usize| {
        let mut urls = urls.clone();
        urls.rotate_left(first);
        let change = |config: &mut distributary_cluster::ClusterConfig| config.nats = urls;
        Node::start_with(&nats.servers[0], node, change).await
    };
    let (a, b) = (start("a", 0).await, start("b", 1).await);
    let test = name("live/test");
    let first = a.publish(&test).await.unwrap().run(1);
    let mut viewer = b.watch_soon(&test).await;
    viewer.sees(1).await;
    let server = b.cluster.status().server.unwrap();
    let number: usize = server.trim_start_matches("nats").parse().unwrap();
    let connections = || b.cluster.status().counters.connections;
    let before = connections();
    nats.servers[number - 1].kill();
    until("it connects to another server", || connections() > before).await;
    until("the stream arrives again", || {
        b.cluster.status().watched == 1
    })
    .await;
    let seen = b.cluster.status().counters.frames_in;
    until("frames arrive", || {
        b.cluster.status().counters.frames_in > seen
    })
    .await;
    first.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_stays_with_its_owner_while_that_connects_to_another_server() {
    let mut nats = NatsCluster::start();
    let urls = nats.urls();
    let start = async |node: &str, urls: Vec<String>| {
        let change = |config: &mut distributary_cluster::ClusterConfig| {
            config.nats = urls;
            config.without_arbiter = distributary_cluster::WithoutArbiter::Refuse;
        };
        Node::start_with(&nats.servers[0], node, change).await
    };
    let a = start("a", urls.clone()).await;
    let server = a.cluster.status().server.unwrap();
    let number: usize = server.trim_start_matches("nats").parse().unwrap();
    let mut others = urls;
    others.remove(number - 1);
    let b = start("b", others).await;
    let test = name("live/test");
    let publisher = a.publish_soon(&test).await;
    let refused = until_decided(&b, &test).await;
    assert_eq!(refused, AdmissionError::Elsewhere("a".into()));
    nats.servers[number - 1].kill();
    // A backup encoder that tries again and again.
    for _ in 0..3 {
        let refused = until_decided(&b, &test).await;
        assert_eq!(refused, AdmissionError::Elsewhere("a".into()));
    }
    a.connected().await;
    assert_eq!(a.cluster.status().counters.fenced, 0);
    drop(publisher);
}

/// Returns why a stream is refused, as soon as the arbiter answers.
async fn until_decided(node: &Node, name: &StreamName) -> AdmissionError {
    loop {
        match node.publish(name).await.map(drop) {
            Ok(()) => panic!("another node has the name"),
            Err(AdmissionError::NoArbiter) => {}
            Err(error) => return error,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoder_that_is_refused_does_not_keep_viewers_from_the_stream() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    for round in 0..20 {
        let test = name(&format!("live/{round}"));
        let mut publisher = a.publish(&test).await.unwrap();
        publisher.push(true, 1, 100);
        let (refused, viewer) = tokio::join!(b.publish(&test), b.watch(&test));
        let refused = refused.map(drop);
        assert_eq!(refused, Err(AdmissionError::Elsewhere("a".into())));
        drop(viewer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interest_in_a_stream_that_is_offline_ends() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let mut publisher = a.publish(&test).await.unwrap();
    publisher.push(true, 1, 100);
    let mut viewer = b.watch(&test).await;
    // As a standby that sends nothing.
    let held = a.hub.admit(&test, WhenTaken::Refused).await.unwrap();
    drop(publisher);
    viewer.goes_offline().await;
    drop(viewer);
    until("the feed ends", || a.hub.stream(&test).is_none()).await;
    assert_eq!(a.cluster.status().owned, 1);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arbiter_is_reported_with_the_names_that_it_has_not_confirmed() {
    let mut nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    nats.kill();
    a.disconnected().await;
    until("it does not answer", || {
        !a.cluster.status().arbiter.is_reachable
    })
    .await;
    let publisher = a.publish(&name("live/test")).await.unwrap();
    assert_eq!(a.cluster.status().arbiter.unconfirmed, 1);
    nats.restart();
    until("it confirms the name", || {
        let arbiter = a.cluster.status().arbiter;
        arbiter.is_reachable && arbiter.unconfirmed == 0
    })
    .await;
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_another_version_are_counted() {
    let nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let message = r#"{"v":2,"node":"b"}"#;
    let subject = "dist.distributary.beacon.default.b";
    client.publish(subject, message.into()).await.unwrap();
    client.flush().await.unwrap();
    until("it is counted", || {
        a.cluster.status().counters.other_version == 1
    })
    .await;
    assert_eq!(a.cluster.status().counters.malformed, 0);
}
