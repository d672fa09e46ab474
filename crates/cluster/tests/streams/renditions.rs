//! Renditions, and the audio as published, between nodes.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use distributary_cluster::content::{Content, EndReason};
use distributary_cluster::message::Part;
use distributary_cluster::test_util::NatsServer;
use distributary_hub::{
    AudioForm, Demand, Publisher, RenditionOffer, RenditionOrigin, Sink, StreamEvent,
};
use distributary_media::test_util::video_frame;
use distributary_media::{AudioCodec, AudioFrame, AudioTrack, Frame, MediaTime, VideoTrack};
use distributary_names::{RenditionId, StreamName};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::common::{LIMIT, Node, TestViewer, handled, mark, name, now, until, until_async};

/// The mark of frames of the rendition, with which those of the stream are not.
const SMALL: u8 = 36;

fn rung() -> RenditionId {
    RenditionId::rung(180)
}

fn offer() -> RenditionOffer {
    RenditionOffer::transcode(rung(), 320, 180, 100_000)
}

/// Makes the rendition on a node when it is asked for, as a transcoder does: for each frame of the
/// stream one with the same time.
struct Maker {
    task: JoinHandle<()>,
    /// The keyframes that were requested.
    keyframes: mpsc::UnboundedReceiver<MediaTime>,
}

impl Maker {
    fn start(node: &Node) -> Self {
        let demands = node.hub.provide_renditions(|_| vec![offer()]);
        let (requested, keyframes) = mpsc::unbounded_channel();
        let task = tokio::spawn(make(node.hub.clone(), demands, requested));
        Self { task, keyframes }
    }

    async fn requested_keyframe(&mut self) -> MediaTime {
        let requested = timeout(LIMIT, self.keyframes.recv()).await;
        requested
            .expect("it is requested")
            .expect("the encoder runs")
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn make(
    hub: distributary_hub::Hub,
    mut demands: mpsc::Receiver<Demand>,
    requested: mpsc::UnboundedSender<MediaTime>,
) {
    let mut made: Option<Arc<Publisher>> = None;
    // Ends with this.
    let mut encoders = JoinSet::new();
    while let Some(demand) = demands.recv().await {
        if let Some(after) = demand.keyframe_after() {
            let _ = requested.send(after);
        }
        if made.as_ref().is_none_or(|one| !one.is_active()) {
            let source = demand.name().published();
            let (sink, mut queue) = Sink::channel(1024);
            let sink = sink.with_audio(AudioForm::Without);
            let (subscription, cached) = hub.subscribe(&source, sink, 0).expect("it is live");
            let origin = RenditionOrigin::Transcoded;
            let publisher = hub.publish_rendition(subscription.stream(), &rung(), origin, now());
            let publisher = Arc::new(publisher.expect("nobody else makes it"));
            publisher.set_video_track(VideoTrack {
                width: 320,
                height: 180,
                ..super::common::video_track()
            });
            let copy = Arc::clone(&publisher);
            encoders.spawn(async move {
                let _subscription = subscription;
                for frame in cached {
                    publish_small(&copy, &frame);
                }
                while let Some(delivery) = queue.recv().await {
                    if let StreamEvent::Frame(frame) = delivery.event {
                        publish_small(&copy, &frame);
                    }
                }
            });
            made = Some(publisher);
        }
        demand.answer(Ok(()));
    }
}

fn publish_small(publisher: &Publisher, source: &Frame) {
    let mut frame = video_frame(0, source.is_keyframe(), 50);
    (frame.dts, frame.pts) = (source.dts(), source.dts());
    let mut unit = frame.units[0].to_vec();
    unit.push(SMALL);
    frame.units = vec![unit.into()];
    publisher
        .push(Frame::Video(frame), now())
        .expect("it is live");
}

/// Returns how many frames a node has dropped since they came late, as on a machine that stands still.
fn dropped(node: &Node) -> u64 {
    node.cluster.status().counters.dropped_late
}

/// Asserts that a node has dropped more frames than before: this explains that some are missing.
fn is_late(node: &Node, before: &mut u64) {
    let now = dropped(node);
    assert!(now > *before, "frames are missing");
    *before = now;
}

/// Returns the times of frames in milliseconds.
fn times(frames: &[Arc<Frame>]) -> Vec<i64> {
    frames.iter().map(|frame| frame.dts().as_millis()).collect()
}

/// Returns 40 video frames from a time on. `frame` is the one that the viewer has received last.
async fn frames_from(
    viewer: &mut TestViewer,
    frame: &Arc<Frame>,
    begin: MediaTime,
) -> Vec<Arc<Frame>> {
    let mut frames = vec![Arc::clone(frame)];
    while frames.len() < 40 {
        frames.retain(|frame| frame.dts() >= begin);
        frames.push(viewer.video().await);
    }
    frames
}

/// Watches the rendition on a node as soon as it is offered there.
async fn watch_rendition(node: &Node, stream: &StreamName) -> TestViewer {
    until("the rendition is offered", || {
        let listed = node.hub.renditions(stream, now());
        listed.iter().any(|one| one.id == rung())
    })
    .await;
    node.watch(&stream.rendition(&rung())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rendition_is_made_by_the_owner_alone_and_ends_with_its_viewers() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let mut maker = Maker::start(&a);
    // This node could make it as well.
    let mut own = b.hub.provide_renditions(|_| vec![offer()]);
    let test = name("live/test");
    let running = a.publish(&test).await.unwrap().run(1);
    let mut viewer = b.watch(&test).await;
    viewer.sees(1).await;
    let listed = |node: &Node| node.hub.renditions(&test, now());
    until("it is offered", || listed(&b).len() == 2).await;
    let rendition = listed(&b).remove(1);
    assert_eq!((rendition.id, rendition.height), (rung(), 180));
    assert!(
        !rendition.is_live && !listed(&a)[1].is_live,
        "nobody needs it"
    );

    let mut small = watch_rendition(&b, &test).await;
    small.sees(SMALL).await;
    assert!(own.try_recv().is_err(), "one encoder in the whole cluster");
    assert!(listed(&b)[1].is_live);
    // All frames are on one clock: a frame of the rendition has the time of that of the stream.
    let mut before = dropped(&b);
    let last = loop {
        let first = [viewer.video().await, small.video().await];
        let begin = first[0].dts().max(first[1].dts());
        let large = frames_from(&mut viewer, &first[0], begin).await;
        let little = frames_from(&mut small, &first[1], begin).await;
        assert!(little.iter().all(|frame| mark(frame) == SMALL));
        if times(&large) == times(&little) {
            break large[large.len() - 1].dts();
        }
        is_late(&b, &mut before);
    };

    // A keyframe is requested in the time of this node, and arrives in that of the owner.
    assert!(b.hub.request_keyframe(&test.rendition(&rung()), last));
    let requested = maker.requested_keyframe().await;
    let epochs = |node: &Node| node.hub.stream(&test).unwrap().epoch();
    let (there, here) = (epochs(&a) + since(requested), epochs(&b) + since(last));
    let apart = there.max(here) - there.min(here);
    assert!(apart < Duration::from_secs(1), "{apart:?}");

    let made = a.hub.live_rendition(&test, &rung()).unwrap();
    assert!(*made.subscribers().borrow() > 0);
    drop(small);
    until("the owner is left", || *made.subscribers().borrow() == 0).await;
    viewer.sees(1).await;
    assert!(b.hub.live_rendition(&test, &rung()).is_none());

    // A late request for a keyframe does not start the encoder: the first one comes from a viewer.
    let stranger = Stranger::connect(&nats, &test).await;
    stranger
        .keep(&json!({"keyframe_after": requested.as_nanos()}))
        .await;
    stranger.is_heard(&a, KEEP).await;
    let mut small = watch_rendition(&b, &test).await;
    small.sees(SMALL).await;
    let sent = small.video().await.dts();
    assert!(b.hub.request_keyframe(&test.rendition(&rung()), sent));
    assert_ne!(maker.requested_keyframe().await, requested);
    running.abort();
}

/// A program that sends a node what other nodes do, and more.
struct Stranger {
    client: Client,
    stream: StreamName,
    epoch: u64,
}

impl Stranger {
    /// Connects, and learns in which epoch the node "a" has the stream.
    async fn connect(nats: &NatsServer, stream: &StreamName) -> Self {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let question = json!({"v": 1, "node": "x", "instance": 1}).to_string();
        let subject = format!("dist.distributary.own.{stream}");
        let answer = client.request(subject, question.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        Self {
            epoch: answer["epoch"].as_u64().unwrap(),
            stream: stream.clone(),
            client,
        }
    }

    /// Returns what says which rendition is meant, with further fields.
    fn strand(&self, more: &Value) -> Value {
        let mut strand = json!({
            "stream": self.stream.as_str(),
            "epoch": self.epoch,
            "form": "opus",
            "rendition": rung().to_string(),
        });
        let fields = strand.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        strand
    }

    async fn publish(&self, subject: &str, message: Bytes) {
        let published = self.client.publish(subject.to_owned(), message);
        published.await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Says that the rendition is watched.
    async fn keep(&self, more: &Value) {
        let keep = json!({"v": 1, "node": "x", "streams": [self.strand(more)]});
        self.publish(KEEP, keep.to_string().into()).await;
    }

    /// Waits until a node has handled what was said on a subject before.
    async fn is_heard(&self, node: &Node, subject: &str) {
        let malformed = || node.cluster.status().counters.malformed;
        let before = malformed();
        self.publish(subject, "?".into()).await;
        until("the node hears", || malformed() > before).await;
    }
}

/// The subject on which the node "a" learns what is watched.
const KEEP: &str = "dist.distributary.n.a.keep";

/// The subject on which the node "a" is asked to let others join.
const JOIN: &str = "dist.distributary.n.a.join";

/// Returns the most requests that are passed on since an instant: one each 0.1 s, at both ends of the
/// time, too.
fn most_since(began: Instant) -> usize {
    began.elapsed().as_millis() as usize / 100 + 2
}

/// A stream of the node "a" whose rendition is watched at the node "b", and a stranger who says more.
struct Watched {
    stream: StreamName,
    maker: Maker,
    running: JoinHandle<()>,
    small: TestViewer,
    stranger: Stranger,
    a: Node,
    b: Node,
    _viewer: TestViewer,
    _nats: NatsServer,
}

impl Watched {
    async fn start() -> Self {
        let nats = NatsServer::start();
        let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
        let maker = Maker::start(&a);
        let stream = name("live/test");
        let running = a.publish(&stream).await.unwrap().run(1);
        let mut viewer = b.watch(&stream).await;
        viewer.sees(1).await;
        let mut small = watch_rendition(&b, &stream).await;
        small.sees(SMALL).await;
        Self {
            maker,
            running,
            small,
            stranger: Stranger::connect(&nats, &stream).await,
            stream,
            a,
            b,
            _viewer: viewer,
            _nats: nats,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_keyframes_of_many_viewers_are_passed_on_as_few() {
    let mut scene = Watched::start().await;
    let (stranger, maker) = (&scene.stranger, &mut scene.maker);

    // At the owner.
    let began = Instant::now();
    for after in 0..200 {
        stranger.keep(&json!({"keyframe_after": after})).await;
    }
    let (mut passed_on, last) = (0, MediaTime::from_nanos(200));
    until_async("the last request is passed on", async || {
        // It gets lost where too many wait.
        stranger.keep(&json!({"keyframe_after": 200})).await;
        let mut is_last = false;
        while let Ok(after) = maker.keyframes.try_recv() {
            passed_on += 1;
            is_last |= after == last;
        }
        is_last
    })
    .await;
    assert!(passed_on <= most_since(began), "{passed_on}");

    // At the node of the viewers.
    let mut sent = stranger.client.subscribe(KEEP).await.unwrap();
    handled(&stranger.client).await;
    let began = Instant::now();
    let time = scene.small.video().await.dts();
    for _ in 0..50 {
        assert!(
            scene
                .b
                .hub
                .request_keyframe(&scene.stream.rendition(&rung()), time)
        );
    }
    // The next keep of all streams comes after two seconds at most.
    let mut requests = 0;
    let mut is_kept = false;
    while requests == 0 || !is_kept {
        let message = timeout(LIMIT, sent.next()).await.unwrap().unwrap();
        let keep: Value = serde_json::from_slice(&message.payload).unwrap();
        match keep["streams"][0]["keyframe_after"].as_i64() {
            Some(_) => requests += 1,
            None => is_kept = true,
        }
    }
    assert!(requests <= most_since(began), "{requests}");
    scene.running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_for_a_keyframe_in_the_future_does_not_keep_others_from_theirs() {
    let mut scene = Watched::start().await;
    let (stranger, maker) = (&scene.stranger, &mut scene.maker);
    let source = scene.a.hub.stream(&scene.stream).unwrap();
    let reached = || source.reached(now()).unwrap();

    // Viewers may have frames that are shown later than the newest is decoded.
    let ahead = reached() + Duration::from_millis(300);
    stranger
        .keep(&json!({"keyframe_after": ahead.as_nanos()}))
        .await;
    assert_eq!(maker.requested_keyframe().await, ahead);

    let far = json!({"keyframe_after": i64::MAX});
    stranger.keep(&far).await;
    let first = maker.requested_keyframe().await;
    assert!(first <= reached() + Duration::from_secs(1), "{first:?}");
    // An encoder gets there before it is asked for a later one.
    until_async("the next request is passed on", async || {
        stranger.keep(&far).await;
        maker.keyframes.try_recv().is_ok()
    })
    .await;
    assert!(reached() > first, "{first:?}");
    scene.running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_waits_for_a_rendition_learns_at_once_that_the_owner_has_lost_the_stream() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    // The encoder never comes.
    let mut demands = a.hub.provide_renditions(|_| vec![offer()]);
    let first = a.publish(&test).await.unwrap().run(1);
    let stranger = Stranger::connect(&nats, &test).await;
    let mut inbox = stranger.client.subscribe("_INBOX.x.1").await.unwrap();
    let join = |node: &str| stranger.strand(&json!({"v": 1, "node": node})).to_string();
    until("the video is known", || {
        a.hub.renditions(&test, now()).len() == 2
    })
    .await;
    for node in ["x", "y"] {
        let (reply, request) = ("_INBOX.x.1", join(node).into());
        let asked = stranger.client.publish_with_reply(JOIN, reply, request);
        asked.await.unwrap();
    }
    let demand = timeout(LIMIT, demands.recv()).await.unwrap().unwrap();
    stranger.is_heard(&a, JOIN).await;
    let second = b.take_over(&test).await.unwrap().run(2);
    for _ in 1..=2 {
        let answer = timeout(LIMIT, inbox.next()).await.expect("it is answered");
        let part = Part::decode(&answer.unwrap().payload).unwrap();
        let content = Content::read(&part.header, part.body).unwrap();
        assert_eq!(content, Content::End(EndReason::Moved));
    }
    assert!(demand.is_abandoned(), "nobody waits for it");
    first.abort();
    second.abort();
}

fn since(time: MediaTime) -> Duration {
    time.saturating_since(MediaTime::ZERO)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_of_a_rendition_go_on_when_another_node_takes_the_stream_over() {
    let nats = NatsServer::start();
    let a = Node::start(&nats, "a").await;
    let b = Node::start(&nats, "b").await;
    let c = Node::start(&nats, "c").await;
    let _makers = [Maker::start(&a), Maker::start(&b)];
    let test = name("live/test");
    let first = a.publish(&test).await.unwrap().run(1);
    let mut viewer = c.watch(&test).await;
    viewer.sees(1).await;
    let mut small = watch_rendition(&c, &test).await;
    small.sees(SMALL).await;
    let second = b.take_over(&test).await.unwrap().run(2);
    viewer.sees(2).await;
    // What follows was made there.
    until("the new owner makes it", || {
        let made = b.hub.live_rendition(&test, &rung());
        made.is_some_and(|made| *made.subscribers().borrow() > 0)
    })
    .await;
    let mut last = small.video().await.dts();
    for _ in 0..50 {
        let next = small.video().await.dts();
        assert!(next > last, "time never goes back");
        last = next;
    }
    first.abort();
    second.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rendition_that_comes_back_is_kept_for_its_new_viewers() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let encoder = Maker::start(&a);
    let test = name("live/test");
    let running = a.publish(&test).await.unwrap().run(1);
    let mut viewer = b.watch(&test).await;
    viewer.sees(1).await;
    let mut small = watch_rendition(&b, &test).await;
    small.sees(SMALL).await;
    drop(encoder);
    small.goes_offline().await;
    // The next viewer comes before it is missed.
    drop(small);
    let _encoder = Maker::start(&a);
    let mut small = watch_rendition(&b, &test).await;
    // For longer than a rendition is kept that nobody watches.
    for _ in 0..100 {
        assert_eq!(mark(&*small.video().await), SMALL);
    }
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rendition_that_the_owner_cannot_make_is_refused() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let running = a.publish(&test).await.unwrap().run(1);
    let mut viewer = b.watch(&test).await;
    for id in [rung(), RenditionId::H264, "unheard-of".parse().unwrap()] {
        let refused = timeout(LIMIT, b.hub.ensure_live(&test.rendition(&id))).await;
        assert!(refused.expect("it is decided").is_err());
    }
    viewer.sees(1).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn players_on_another_node_get_the_audio_as_published() {
    let nats = NatsServer::start();
    let (a, b) = (Node::start(&nats, "a").await, Node::start(&nats, "b").await);
    let test = name("live/test");
    let publisher = a.publish(&test).await.unwrap();
    let track = AudioTrack {
        codec: AudioCodec::Aac,
        sample_rate: 44_100,
        channels: 2,
        config: vec![0x12, 0x10].into(),
    };
    publisher.publisher.set_audio_track(track.clone());
    let handle = Arc::clone(&publisher.publisher);
    let running = tokio::spawn(async move {
        for n in 0_u16.. {
            let millis = 40 * i64::from(n);
            let mut video = video_frame(millis, n % 25 == 0, 100);
            video.units = vec![vec![0x65, 1].into()];
            handle.push(Frame::Video(video), now()).unwrap();
            let audio = AudioFrame {
                codec: AudioCodec::Aac,
                pts: MediaTime::from_millis(millis),
                data: n.to_be_bytes().to_vec().into(),
            };
            handle.push(Frame::Audio(audio), now()).unwrap();
            sleep(Duration::from_millis(40)).await;
        }
    });
    let source = Arc::clone(publisher.publisher.stream());
    let mut viewer = b.watch(&test).await;
    viewer.sees(1).await;
    until("the track is known", || {
        viewer.subscription.stream().tracks().1.is_some()
    })
    .await;
    let known = viewer.subscription.stream().tracks().1.unwrap();
    assert_eq!(*known, track);
    let feeds = || *source.subscribers().borrow();
    assert_eq!(feeds(), 1, "nobody listens to it as published");

    let (sink, mut queue) = Sink::channel(4096);
    let sink = sink.with_audio(AudioForm::Published);
    let (player, _) = b.hub.subscribe(&test, sink, 0).unwrap();
    let mut before = dropped(&b);
    let heard = loop {
        let mut heard = Vec::new();
        while heard.len() < 20 {
            let delivery = timeout(LIMIT, queue.recv()).await;
            if let StreamEvent::Frame(frame) = delivery.expect("something comes").unwrap().event
                && let Frame::Audio(frame) = &*frame
                && frame.codec == AudioCodec::Aac
            {
                let number = u16::from_be_bytes(frame.data[..].try_into().unwrap());
                heard.push((number, frame.pts.as_millis()));
            }
        }
        // Each frame once, in order.
        if heard.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1) {
            break heard;
        }
        is_late(&b, &mut before);
    };
    for pair in heard.windows(2) {
        let gap = pair[1].1 - pair[0].1;
        assert!((39..=41).contains(&gap), "{gap}");
    }
    assert_eq!(feeds(), 2);
    drop(player);
    until("the owner is left", || feeds() == 1).await;
    viewer.sees(1).await;
    running.abort();
}
