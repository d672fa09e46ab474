//! Renditions, and the audio as published, between nodes.

use std::sync::Arc;
use std::time::Duration;

use distributary_cluster::test_util::NatsServer;
use distributary_hub::{
    AudioForm, Demand, Publisher, RenditionOffer, RenditionOrigin, Sink, StreamEvent,
};
use distributary_media::test_util::video_frame;
use distributary_media::{AudioCodec, AudioFrame, AudioTrack, Frame, MediaTime, VideoTrack};
use distributary_names::{RenditionId, StreamName};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::common::{LIMIT, Node, TestViewer, mark, name, now, until};

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
    let mut made: Option<(Arc<Publisher>, JoinHandle<()>)> = None;
    while let Some(demand) = demands.recv().await {
        if let Some(after) = demand.keyframe_after() {
            let _ = requested.send(after);
        }
        if made.as_ref().is_none_or(|(one, _)| !one.is_active()) {
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
            let task = tokio::spawn(async move {
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
            made = Some((publisher, task));
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
    let times = |frames: &[Arc<Frame>]| -> Vec<_> {
        frames.iter().map(|frame| frame.dts().as_millis()).collect()
    };
    let mut large = vec![viewer.video().await];
    let mut little = vec![small.video().await];
    while large.len() < 50 {
        large.push(viewer.video().await);
        little.push(small.video().await);
    }
    assert!(little.iter().all(|frame| mark(frame) == SMALL));
    let (large, little) = (times(&large), times(&little));
    let begin = large[0].max(little[0]);
    let common = |times: &[i64]| {
        let times = times.iter().copied().filter(|time| *time >= begin);
        times.take(40).collect::<Vec<_>>()
    };
    assert_eq!(common(&large), common(&little));

    // A keyframe is requested in the time of this node, and arrives in that of the owner.
    let sent = MediaTime::from_millis(large[49]);
    assert!(b.hub.request_keyframe(&test.rendition(&rung()), sent));
    let requested = maker.requested_keyframe().await;
    let epochs = |node: &Node| node.hub.stream(&test).unwrap().epoch();
    let (there, here) = (epochs(&a) + since(requested), epochs(&b) + since(sent));
    let apart = there.max(here) - there.min(here);
    assert!(apart < Duration::from_secs(1), "{apart:?}");

    let made = a.hub.live_rendition(&test, &rung()).unwrap();
    assert!(*made.subscribers().borrow() > 0);
    drop(small);
    until("the owner is left", || *made.subscribers().borrow() == 0).await;
    viewer.sees(1).await;
    assert!(b.hub.live_rendition(&test, &rung()).is_none());
    running.abort();
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
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1, "each frame once, in order");
        let gap = pair[1].1 - pair[0].1;
        assert!((39..=41).contains(&gap), "{gap}");
    }
    assert_eq!(feeds(), 2);
    drop(player);
    until("the owner is left", || feeds() == 1).await;
    viewer.sees(1).await;
    running.abort();
}
