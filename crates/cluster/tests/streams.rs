//! Streams between nodes, over a real NATS server.

mod common;
#[path = "streams/forwarding.rs"]
mod forwarding;
#[path = "streams/ownership.rs"]
mod ownership;
#[path = "streams/renditions.rs"]
mod renditions;
#[path = "streams/rights.rs"]
mod rights;
#[path = "streams/standby.rs"]
mod standby;
#[path = "streams/versions.rs"]
mod versions;

use std::sync::Arc;

use common::{LIMIT, Mortal, Node, mark, name, until};
use distributary_cluster::test_util::{NatsCluster, NatsServer};
use distributary_hub::{AdmissionError, DemandError, Dismissal, StreamEvent, WhenTaken};
use distributary_media::Frame;
use tokio::time::timeout;

/// Returns the payload of a video frame.
fn units(frame: &Frame) -> Vec<bytes::Bytes> {
    match frame {
        Frame::Video(video) => video.units.clone(),
        Frame::Audio(audio) => vec![audio.data.clone()],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewer_on_one_node_watches_a_publisher_on_another() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test show");
    let mut publisher = a.publish(&test).await.unwrap();
    // A keyframe in several parts, and frames that follow.
    publisher.push(true, 1, 300_000);
    for mark in 2..10 {
        publisher.push(false, mark, 5_000);
    }
    let mut viewer = b.watch(&test).await;
    let published = publisher.publisher.stream().snapshot(common::now()).frames;
    let stream = viewer.subscription.stream().clone();
    assert_eq!(stream.node().as_deref(), Some("a"));
    assert_eq!(stream.tracks(), publisher.publisher.stream().tracks());
    let mut seen = viewer.cached.clone();
    for mark in 10..20 {
        publisher.push(mark == 15, mark, 5_000);
        if seen.len() + 1 < usize::from(mark) {
            seen.push(viewer.video().await);
        }
    }
    while seen.last().is_none_or(|last| mark(last) != 19) {
        seen.push(viewer.video().await);
    }
    let marks: Vec<_> = seen.iter().map(|frame| mark(frame)).collect();
    assert_eq!(
        marks,
        (1..20).collect::<Vec<_>>(),
        "each frame once, in order"
    );
    for (sent, received) in published.iter().zip(&seen) {
        assert_eq!(units(sent), units(received));
        assert_eq!(sent.is_keyframe(), received.is_keyframe());
    }
    let gaps: Vec<_> = seen
        .windows(2)
        .map(|pair| pair[1].dts().saturating_since(pair[0].dts()).as_millis())
        .collect();
    assert!(gaps.iter().all(|gap| *gap == 40), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_nobody_publishes_is_refused_and_one_that_ends_goes_offline() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let refused = timeout(LIMIT, b.hub.ensure_live(&test)).await.unwrap();
    assert_eq!(refused, Err(DemandError::NoProvider));
    let mut publisher = a.publish(&test).await.unwrap();
    publisher.push(true, 1, 100);
    let mut viewer = b.watch(&test).await;
    drop(publisher);
    viewer.goes_offline().await;
    // The viewer waits in its session, and sees the publisher come back, on any node.
    let mut publisher = a.publish(&test).await.unwrap();
    publisher.push(true, 2, 100);
    while !matches!(viewer.next().await, StreamEvent::Online) {}
    viewer.sees(2).await;
    drop(publisher);
    viewer.goes_offline().await;
    let c = Node::start(&nats, "c").await;
    let mut publisher = c.publish(&test).await.unwrap();
    publisher.push(true, 3, 100);
    while !matches!(viewer.next().await, StreamEvent::Online) {}
    viewer.sees(3).await;
    assert_eq!(viewer.subscription.stream().node().as_deref(), Some("c"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_in_use_on_one_node_is_refused_on_another() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let publisher = a.publish(&test).await.unwrap();
    let refused = b.publish(&test).await.map(drop);
    assert_eq!(refused, Err(AdmissionError::Elsewhere("a".into())));
    // Another publisher of the same node has the same permit: the hub decides between them.
    let second = a.hub.admit(&test, WhenTaken::Refused).await.unwrap();
    drop(publisher);
    let refused = b.publish(&test).await.map(drop);
    assert_eq!(refused, Err(AdmissionError::Elsewhere("a".into())));
    drop(second);
    until("the name is free again", || a.cluster.status().owned == 0).await;
    b.publish(&test).await.map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_claims_at_once_exactly_one_keeps_the_name() {
    let nats = NatsServer::start();
    let nodes = [
        Node::start(&nats, "a").await,
        Node::start(&nats, "b").await,
        Node::start(&nats, "c").await,
    ];
    let mut undisputed = 0;
    for round in 0..100 {
        let test = name(&format!("live/{}", round % 7));
        let [a, b, c] = &nodes;
        let (a, b, c) = tokio::join!(a.publish(&test), b.publish(&test), c.publish(&test));
        let granted = [&a, &b, &c].iter().filter(|claim| claim.is_ok()).count();
        assert!(granted >= 1, "round {round}: the name is free");
        undisputed += usize::from(granted == 1);
        // An owner on a machine that stands still for long counts as dead, and loses the name.
        until("at most one of them has the name", || {
            let owned: usize = nodes.iter().map(|node| node.cluster.status().owned).sum();
            owned == 1
        })
        .await;
        drop((a, b, c));
        until("the name is given back", || {
            nodes.iter().all(|node| node.cluster.status().owned == 0)
        })
        .await;
    }
    assert!(
        undisputed > 50,
        "only {undisputed} names had one owner at once"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_on_another_node_takes_over_without_an_offline_event() {
    let nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    let b = Node::start(&nats, "b").await;
    let c = Node::start(&nats, "c").await;
    let test = name("live/test");
    let first = a.publish(&test).await.unwrap();
    let dismissed = first.publisher.dismissed();
    let running = first.run(1);
    let mut viewer = c.watch(&test).await;
    viewer.sees(1).await;
    let mut local = a.watch(&test).await;
    local.sees(1).await;
    let second = b.take_over(&test).await.unwrap().run(2);
    viewer.sees(2).await;
    assert_eq!(viewer.subscription.stream().node().as_deref(), Some("b"));
    // The viewers of the replaced publisher's own node go on as well, and it is dismissed.
    local.sees(2).await;
    let dismissal = timeout(LIMIT, dismissed).await.unwrap();
    assert_eq!(dismissal, Dismissal::Replaced);
    // It goes on sending for a moment: nobody receives that.
    for _ in 0..50 {
        assert_eq!(mark(&*viewer.video().await), 2);
        assert_eq!(mark(&*local.video().await), 2);
    }
    assert_eq!(a.cluster.status().counters.fenced, 1);
    running.abort();
    second.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_a_dead_node_continues_with_a_publisher_on_another() {
    let nats = Arc::new(NatsServer::start());
    let (b, c) = (Node::start(&nats, "b").await, Node::start(&nats, "c").await);
    let test = name("live/test");
    let first = Mortal::publish(&nats, "a", &test, 1).await;
    let mut viewer = c.watch(&test).await;
    viewer.sees(1).await;
    first.kill();
    let second = b.take_over(&test).await;
    let second = second.expect("the dead node does not answer").run(2);
    viewer.sees(2).await;
    second.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_a_dead_node_goes_offline_if_nobody_takes_it_over() {
    let nats = Arc::new(NatsServer::start());
    let b = Node::start(&nats, "b").await;
    let test = name("live/test");
    let running = Mortal::publish(&nats, "a", &test, 1).await;
    let mut viewer = b.watch(&test).await;
    viewer.sees(1).await;
    running.kill();
    viewer.goes_offline().await;
    let refused = timeout(LIMIT, b.hub.ensure_live(&test)).await.unwrap();
    assert_eq!(refused, Err(DemandError::NoProvider));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_viewers_go_on_without_nats_and_others_come_back() {
    let mut nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let running = a.publish(&test).await.unwrap().run(1);
    let mut local = a.watch(&test).await;
    let mut remote = b.watch(&test).await;
    local.sees(1).await;
    remote.sees(1).await;
    nats.kill();
    a.disconnected().await;
    remote.goes_offline().await;
    for _ in 0..50 {
        local.video().await;
    }
    // A name that is published in the meantime is used provisionally.
    let other = name("live/other");
    let provisional = a.publish(&other).await.unwrap().run(2);
    assert!(a.cluster.status().arbiter.unconfirmed > 0);
    nats.restart();
    while !matches!(remote.next().await, StreamEvent::Online) {}
    remote.sees(1).await;
    b.watch(&other).await.sees(2).await;
    until("the nodes see each other again", || {
        b.cluster.status().nodes.len() == 2
    })
    .await;
    a.confirmed().await;
    let refused = b.publish(&other).await.map(drop);
    assert_eq!(refused, Err(AdmissionError::Elsewhere("a".into())));
    running.abort();
    provisional.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_are_accepted_while_nats_stands_still_under_load() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    // More than the buffers of the connection hold: the commands for it have to wait.
    let test = name("live/heavy");
    let running = a.publish(&test).await.unwrap().run_with(1, 1_200_000);
    let mut local = a.watch(&test).await;
    let mut remote = b.watch(&test).await;
    local.sees(1).await;
    remote.sees(1).await;
    nats.freeze();
    for round in 0..10 {
        let other = name(&format!("live/{round}"));
        a.publish(&other).await.map(drop).unwrap();
        local.video().await;
    }
    a.disconnected().await;
    let other = name("live/other");
    let publisher = a.publish(&other).await.unwrap().run(2);
    a.watch(&other).await.sees(2).await;
    nats.thaw();
    a.connected().await;
    b.connected().await;
    b.watch_soon(&other).await.sees(2).await;
    running.abort();
    publisher.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_that_disappears_is_created_again() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let publisher = a.publish(&test).await.unwrap();
    a.confirmed().await;
    let confirmed = || a.cluster.status().counters.claims_confirmed;
    let before = confirmed();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    context.delete_key_value("dist_distributary").await.unwrap();
    until("the name is claimed again", || confirmed() > before).await;
    let refused = b.publish(&test).await.map(drop);
    assert_eq!(refused, Err(AdmissionError::Elsewhere("a".into())));
    drop(publisher);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewer_waits_for_a_keyframe_after_a_frame_that_is_too_large() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let mut publisher = a.publish(&test).await.unwrap();
    publisher.push(true, 1, 100);
    let mut viewer = b.watch(&test).await;
    publisher.push(false, 2, 9 << 20);
    publisher.push(false, 3, 100);
    publisher.push(true, 4, 100);
    let mut seen = viewer
        .cached
        .iter()
        .map(|frame| mark(frame))
        .collect::<Vec<_>>();
    while seen.last() != Some(&4) {
        seen.push(mark(&*viewer.video().await));
    }
    assert_eq!(seen, [1, 4]);
    assert_eq!(a.cluster.status().counters.dropped_large, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_arbiter_publishers_can_be_refused() {
    let mut nats = NatsServer::start();
    let a = Node::start_with(&nats, "a", |config| {
        config.without_arbiter = distributary_cluster::WithoutArbiter::Refuse;
    })
    .await;
    a.publish_soon(&name("live/test")).await;
    nats.kill();
    a.disconnected().await;
    let refused = a.publish(&name("live/other")).await.map(drop);
    assert_eq!(refused, Err(AdmissionError::NoArbiter));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_no_other_node_watches_costs_no_message() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let mut publisher = a.publish(&test).await.unwrap();
    for mark in 0..10 {
        publisher.push(mark == 0, mark, 100);
    }
    let stream = Arc::clone(publisher.publisher.stream());
    // What sends a stream subscribes to it first.
    assert_eq!(*stream.subscribers().borrow(), 0);
    let viewer = b.watch(&test).await;
    assert_eq!(*stream.subscribers().borrow(), 1);
    drop(viewer);
    // The other node leaves, and its interest runs out.
    until("the feed ends", || *stream.subscribers().borrow() == 0).await;
    assert_eq!(b.cluster.status().watched, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_see_each_other() {
    let nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    let b = Node::start(&nats, "b").await;
    let names = |node: &Node| -> Vec<_> {
        let nodes = node.cluster.status().nodes.into_iter();
        nodes.map(|node| node.name).collect()
    };
    until("both are listed", || {
        names(&a) == ["a", "b"] && names(&b) == ["a", "b"]
    })
    .await;
    drop(b);
    until("one is left", || names(&a) == ["a"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arbiter_survives_the_loss_of_any_server_although_the_node_came_first() {
    let mut nats = NatsCluster::start();
    let urls = nats.urls();
    // The servers have only begun to find each other.
    let node = Node::start_with(&nats.servers[0], "a", |config| {
        config.nats.clone_from(&urls);
        config.without_arbiter = distributary_cluster::WithoutArbiter::Refuse;
    })
    .await;
    node.publish_soon(&name("live/first")).await;
    let client = async_nats::connect(&urls).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let arbiter = context.get_stream("KV_dist_distributary").await.unwrap();
    assert_eq!(arbiter.cached_info().config.num_replicas, 3);
    nats.servers[0].kill();
    node.publish_soon(&name("live/second")).await;
}
