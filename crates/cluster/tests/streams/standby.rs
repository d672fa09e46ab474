//! Publishers on one node that stand by for a stream of another.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use distributary_cluster::test_util::NatsServer;
use distributary_hub::{AdmissionError, Standing, Successor};
use distributary_names::StreamName;
use tokio::task::JoinHandle;

use crate::common::{Mortal, Node, TestPublisher, name, now, until};

/// Waits until a node knows by its standbys' keyframes that they could take over.
async fn ready(node: &Node, stream: &StreamName) {
    until("the standby is ready", || {
        let stream = node.hub.stream(stream);
        stream.is_some_and(|stream| stream.readiness(now()).is_some())
    })
    .await;
}

/// Waits until the owner knows that these other nodes have a standby that is ready.
async fn succeeded_by(node: &Node, stream: &StreamName, nodes: &[&str]) {
    let expected = nodes.iter().map(|node| Successor {
        node: (*node).into(),
        standbys: 1,
        is_ready: true,
    });
    let expected: Vec<_> = expected.collect();
    until("the owner knows the standbys", || {
        let stream = node.hub.stream(stream);
        stream.is_some_and(|stream| stream.report(now()).successors == expected)
    })
    .await;
}

fn standing(publisher: &TestPublisher) -> Standing {
    publisher.publisher.standings().current()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_takes_over_when_the_node_of_the_publisher_is_killed() {
    let nats = Arc::new(NatsServer::start());
    let test = name("live/test");
    let a = Mortal::publish(&nats, "a", &test, 1).await;
    let (b, c) = (Node::start(&nats, "b").await, Node::start(&nats, "c").await);
    let mut viewers = [b.watch(&test).await, c.watch(&test).await];
    let standby = b.stand_by(&test).await.unwrap();
    assert_eq!(standing(&standby), Standing::Standby);
    let running = standby.clone().run(2);
    ready(&b, &test).await;
    for viewer in &mut viewers {
        viewer.sees(1).await;
    }
    assert_eq!(b.cluster.status().owned, 0);
    // Whoever does not stand by is refused all the same.
    let refused = b.publish(&test).await.map(drop);
    assert_eq!(refused, Err(AdmissionError::Elsewhere("a".into())));
    a.kill();
    for viewer in &mut viewers {
        viewer.sees(2).await;
    }
    assert_eq!(standing(&standby), Standing::Active);
    assert_eq!(b.cluster.status().owned, 1);
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_that_stands_by_is_taken_over_by_one_that_does_not() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let c = Node::start(&nats, "c").await;
    let test = name("live/test");
    let first = a.stand_by(&test).await.unwrap();
    let sending = first.clone().run(1);
    let waits = b.stand_by(&test).await.unwrap();
    let waiting = waits.clone().run(2);
    let mut viewers = [a.subscribe(&test), b.watch_soon(&test).await];
    succeeded_by(&a, &test, &["b"]).await;
    for viewer in &mut viewers {
        viewer.sees(1).await;
    }
    // The policy of this node is another one.
    let third = c.take_over(&test).await.unwrap();
    let running = third.clone().run(3);
    for viewer in &mut viewers {
        viewer.sees(3).await;
    }
    a.watch(&test).await.sees(3).await;
    assert_eq!(standing(&third), Standing::Active);
    for publisher in [&first, &waits] {
        assert_eq!(standing(publisher), Standing::Standby);
    }
    succeeded_by(&c, &test, &["a", "b"]).await;
    for task in [sending, waiting, running] {
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_that_leaves_passes_its_stream_to_a_standby_of_another_node() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let c = Node::start(&nats, "c").await;
    let test = name("live/test");
    let first = a.stand_by(&test).await.unwrap().run(1);
    let second = b.stand_by(&test).await.unwrap().run(2);
    let mut viewers = [
        a.subscribe(&test),
        b.watch_soon(&test).await,
        c.watch_soon(&test).await,
    ];
    succeeded_by(&a, &test, &["b"]).await;
    first.abort();
    for viewer in &mut viewers {
        viewer.sees(2).await;
    }
    // The encoder is back, and stands by.
    let back = a.stand_by(&test).await.unwrap();
    assert_eq!(standing(&back), Standing::Standby);
    let back = back.run(3);
    succeeded_by(&b, &test, &["a"]).await;
    second.abort();
    for viewer in &mut viewers {
        viewer.sees(3).await;
    }
    back.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_whose_video_is_frozen_stands_by_for_one_of_another_node() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let first = a.stand_by(&test).await.unwrap();
    let sending = first.clone().run(1);
    let mut viewers = [a.subscribe(&test), b.watch_soon(&test).await];
    let second = b.stand_by(&test).await.unwrap();
    let running = second.clone().run(2);
    succeeded_by(&a, &test, &["b"]).await;
    viewers[1].sees(1).await;
    sending.abort();
    for viewer in &mut viewers {
        viewer.sees(2).await;
    }
    assert_eq!(standing(&first), Standing::Standby);
    assert_eq!(standing(&second), Standing::Active);
    // It has sent no keyframe since then, so it is of no use yet.
    let known = b.hub.stream(&test).unwrap().report(now()).successors;
    assert!(
        known.iter().all(|successor| !successor.is_ready),
        "{known:?}"
    );
    let again = first.clone().run(3);
    succeeded_by(&b, &test, &["a"]).await;
    running.abort();
    drop(second);
    for viewer in &mut viewers {
        viewer.sees(3).await;
    }
    again.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_switches_to_another_node_from_either_of_them() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let first = a.stand_by(&test).await.unwrap();
    let mut viewer = a.subscribe(&test);
    let second = b.stand_by(&test).await.unwrap();
    let running = [first.clone().run(1), second.clone().run(2)];
    succeeded_by(&a, &test, &["b"]).await;
    let stream = a.hub.stream(&test).unwrap();
    // The node of the active publisher.
    assert_eq!(stream.request_takeover(None, now()), Ok(None));
    viewer.sees(2).await;
    succeeded_by(&b, &test, &["a"]).await;
    // The node of the standby.
    assert!(stream.request_takeover(None, now()).unwrap().is_some());
    viewer.sees(1).await;
    succeeded_by(&a, &test, &["b"]).await;
    assert_eq!(standing(&first), Standing::Active);
    assert_eq!(standing(&second), Standing::Standby);
    running.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_two_standbys_on_two_nodes_takes_over_each_time() {
    const ROUNDS: u8 = 8;
    let nats = NatsServer::start();
    let names = ["a", "b", "c"];
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(Node::start(&nats, name).await);
    }
    let viewers = Node::start(&nats, "d").await;
    let test = name("live/test");
    let mut publishers: Vec<(TestPublisher, JoinHandle<()>)> = Vec::new();
    for (node, mark) in nodes.iter().zip(1..) {
        let publisher = node.stand_by(&test).await.unwrap();
        publishers.push((publisher.clone(), publisher.run(mark)));
    }
    let mut viewer = viewers.watch_soon(&test).await;
    let mut owner = 0;
    for round in 0..ROUNDS {
        let others = (0..names.len()).filter(|other| *other != owner);
        let others: Vec<_> = others.map(|other| names[other]).collect();
        succeeded_by(&nodes[owner], &test, &others).await;
        publishers[owner].1.abort();
        let left = owner;
        // The last handle of its publisher is dropped with this one.
        let back = {
            let (publisher, task) = publishers.remove(left);
            drop(publisher);
            let _ = task.await;
            let active =
                |(publisher, _): &(TestPublisher, _)| standing(publisher) == Standing::Active;
            until("one takes over", || publishers.iter().any(active)).await;
            let active = publishers.iter().filter(|one| active(one)).count();
            assert_eq!(active, 1, "round {round}");
            nodes[left].stand_by(&test).await.unwrap()
        };
        assert_eq!(standing(&back), Standing::Standby, "round {round}");
        let mark = u8::try_from(left).unwrap() + 1 + 10 * (round + 1);
        publishers.insert(left, (back.clone(), back.run(mark)));
        let is_active = |at: &usize| standing(&publishers[*at].0) == Standing::Active;
        let active: Vec<_> = (0..names.len()).filter(is_active).collect();
        assert_eq!(active.len(), 1, "round {round}");
        owner = active[0];
        let owned: usize = nodes.iter().map(|node| node.cluster.status().owned).sum();
        assert_eq!(owned, 1, "round {round}");
        // Its frames arrive, and the stream was never offline.
        let number = u8::try_from(owner).unwrap() + 1;
        while crate::common::mark(&*viewer.video().await) % 10 != number {}
    }
    publishers.iter().for_each(|(_, task)| task.abort());
}
