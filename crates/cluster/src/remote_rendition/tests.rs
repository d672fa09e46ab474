//! Tests of a rendition that the owner of a stream has.

use std::sync::Arc;

use async_nats::{Client, Message, Subscriber};
use distributary_cluster::test_util::NatsServer;
use distributary_hub::{Delivery, HubConfig, Sink, StreamEvent, Subscription};
use distributary_media::MediaTime;
use distributary_media::test_util::h264_track;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};

use super::*;
use crate::anchor::Anchor;
use crate::cluster::Cluster;
use crate::config::ClusterConfig;
use crate::content::EndReason;
use crate::control::{Control, Join};
use crate::follow::sender::{Sender, message, video};
use crate::keeps::Keeps;
use crate::message::Part;
use crate::strand::{Further, Strand};

const LIMIT: Duration = Duration::from_secs(60);
const EPOCH: u64 = 3;
const TIMELINE: u64 = 1;

/// A rendition of a stream, and the node "owner" that has it.
struct Scene {
    hub: Hub,
    name: StreamName,
    /// The owner's side.
    client: Client,
    joins: Subscriber,
    keeps: Subscriber,
    sender: Sender,
    /// The stream at this node.
    _publisher: Publisher,
    trunk: watch::Sender<Option<Trunk>>,
    watched: Arc<Keeps>,
    tasks: [JoinHandle<()>; 2],
    _nats: NatsServer,
}

impl Drop for Scene {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Scene {
    /// The node waits for its owner for as long as a busy machine may take.
    async fn new() -> Self {
        Self::with_silence(LIMIT).await
    }

    async fn with_silence(silence: Duration) -> Self {
        let nats = NatsServer::start();
        let hub = Hub::new(HubConfig::default());
        // Before the cluster does.
        let demands = hub.provide_from_elsewhere();
        let config = ClusterConfig {
            silence,
            ..Cluster::test_config(nats.url())
        };
        let (cluster, driver) = Cluster::connected_with(&config, hub.clone()).await;
        let client = async_nats::connect(nats.url()).await.unwrap();
        let subscribe = async |subject: &str| {
            let subject = format!("dist.distributary.n.owner.{subject}");
            client.subscribe(subject).await.unwrap()
        };
        let (joins, keeps) = (subscribe("join").await, subscribe("keep").await);
        // The server knows them once it has sent a message back.
        let mut known = client.subscribe("known").await.unwrap();
        client.publish("known", "".into()).await.unwrap();
        next(&mut known).await;

        let name = StreamName::parse("live/test").unwrap();
        let origin = now();
        let publisher = hub.publish_remote(&name, origin, origin).unwrap();
        let publisher = publisher.from_node("owner".into(), origin);
        publisher.set_video_track(h264_track());
        publisher.push(video(0, true), origin).unwrap();
        let (at, time) = (origin, MediaTime::ZERO);
        let further = Further {
            published_audio: false,
            renditions: true,
        };
        let trunk = Trunk::new(
            Arc::clone(publisher.stream()),
            "owner".parse().unwrap(),
            EPOCH,
            TIMELINE,
            Anchor { time, at },
            further,
        );
        let (trunk, follows) = watch::channel(Some(trunk));
        let context = Arc::clone(cluster.context());
        let (watched, id) = (Arc::<Keeps>::default(), Self::id());
        let strand = Strand::Rendition(id);
        let branch = Branch::new(context, Arc::clone(&watched), name.clone(), strand, follows);
        let rendition = RemoteRendition::new(hub.clone(), name.clone(), id, branch, demands);
        Self {
            hub,
            name,
            client,
            joins,
            keeps,
            sender: Sender::new(EPOCH),
            _publisher: publisher,
            trunk,
            watched,
            tasks: [driver, tokio::spawn(rendition.run())],
            _nats: nats,
        }
    }

    fn id() -> RenditionId {
        RenditionId::rung(180)
    }

    fn rendition(&self) -> StreamName {
        self.name.rendition(&Self::id())
    }

    async fn send(&self, subject: String, part: &Part) {
        let sent = self.client.publish(subject, message(part)).await;
        sent.unwrap();
    }

    async fn send_live(&self, part: &Part) {
        let subject = format!("dist.distributary.m.owner.{EPOCH}.live/test.r-180p");
        self.send(subject, part).await;
    }

    /// Answers the next request to join, with the frames at these times, the first of which is a
    /// keyframe.
    async fn answer(&mut self, present: i64, times: &[i64]) {
        let reply = self.begin_answer(present, times).await;
        let end = self.sender.joined();
        self.send(reply, &end).await;
    }

    /// The same without the end. Returns where that is to be sent.
    async fn begin_answer(&mut self, present: i64, times: &[i64]) -> String {
        let reply = self.join().await;
        self.begin_answer_to(&reply, present, times).await;
        reply
    }

    /// Waits for the next request to join in the epoch of the owner. Returns where the answer is to be
    /// sent.
    async fn join(&mut self) -> String {
        loop {
            let request = next(&mut self.joins).await;
            let join = Join::from_json(&request.payload).expect("it is a request to join");
            if join.epoch == self.sender.epoch {
                return request.reply.expect("it is a request").to_string();
            }
        }
    }

    async fn begin_answer_to(&mut self, reply: &str, present: i64, times: &[i64]) {
        let since = times.first().copied().unwrap_or(present);
        let mut parts = vec![self.sender.tracks(TIMELINE, present, since)];
        for (at, millis) in times.iter().enumerate() {
            parts.push(self.sender.answer(&video(*millis, at == 0)));
        }
        for part in &parts {
            self.send(reply.to_owned(), part).await;
        }
    }

    /// Returns the time after which the next keyframe is requested of the owner, in milliseconds.
    async fn requested_keyframe(&mut self) -> i64 {
        loop {
            let requested = requested_keyframe(&next(&mut self.keeps).await);
            if let Some(after) = requested {
                return after;
            }
        }
    }

    /// Checks that none is requested within a while.
    async fn no_keyframe_is_requested(&mut self) {
        let end = Instant::now() + Duration::from_millis(300);
        while let Ok(keep) = timeout_at(end, self.keeps.next()).await {
            assert_eq!(requested_keyframe(&keep.unwrap()), None);
        }
    }

    /// Refuses the next request to join.
    async fn refuse(&mut self, reason: EndReason) {
        let reply = self.join().await;
        let refusal = Sender::new(0).end(reason);
        self.send(reply, &refusal).await;
    }

    /// Waits until the rendition is no longer received.
    async fn is_left(&self) {
        let left = async {
            while !self.watched.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, left).await.expect("it is left");
    }

    /// Lets a viewer watch the rendition from its first frame.
    async fn begin(&mut self) -> (Subscription, mpsc::Receiver<Delivery>) {
        assert!(self.hub.request_rendition(&self.rendition()));
        self.answer(1_000, &[0]).await;
        let (subscription, cached, queue) = self.watch().await;
        assert_eq!(cached.len(), 1);
        (subscription, queue)
    }

    async fn watch(&self) -> (Subscription, Vec<Arc<Frame>>, mpsc::Receiver<Delivery>) {
        let rendition = self.rendition();
        let live = async {
            while self.hub.live_rendition(&self.name, &Self::id()).is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, live).await.expect("it is live");
        let (sink, queue) = Sink::channel(64);
        let (subscription, cached) = self.hub.subscribe(&rendition, sink, 0).unwrap();
        (subscription, cached, queue)
    }
}

/// Returns the time after which a message to the owner requests a keyframe, in milliseconds.
fn requested_keyframe(keep: &Message) -> Option<i64> {
    let keep: Value = serde_json::from_slice(&keep.payload).unwrap();
    let after = keep["streams"][0]["keyframe_after"].as_i64()?;
    Some(MediaTime::from_nanos(after).as_millis())
}

async fn next(subscriber: &mut Subscriber) -> Message {
    let message = timeout(LIMIT, subscriber.next()).await;
    message.expect("a message comes").unwrap()
}

async fn event(queue: &mut mpsc::Receiver<Delivery>) -> StreamEvent {
    let delivery = timeout(LIMIT, queue.recv()).await;
    delivery.expect("an event comes").unwrap().event
}

#[tokio::test]
async fn rendition_that_was_offline_inside_a_gop_comes_back_with_that_gop() {
    let mut scene = Scene::new().await;
    assert!(scene.hub.request_rendition(&scene.rendition()));
    scene.answer(3_000, &[0, 1_000, 2_000]).await;
    let (_subscription, cached, mut queue) = scene.watch().await;
    assert_eq!(cached.len(), 3);

    let end = scene.sender.end(EndReason::Lost);
    scene.send_live(&end).await;
    while !matches!(event(&mut queue).await, StreamEvent::Offline) {}
    scene.answer(4_000, &[0, 1_000, 2_000, 3_000]).await;
    while !matches!(event(&mut queue).await, StreamEvent::Online) {}
    let mut frames = Vec::new();
    while frames.len() < 4 {
        if let StreamEvent::Frame(frame) = event(&mut queue).await {
            frames.push(frame);
        }
    }
    assert!(frames[0].is_keyframe());
    let mut last = MediaTime::from_millis(2_000);
    for frame in &frames {
        assert!(frame.dts() > last, "time never goes back");
        last = frame.dts();
    }
    assert_eq!(last.as_millis(), 3_000);
}

#[tokio::test]
async fn rendition_whose_first_answer_breaks_off_goes_on_with_all_of_the_next() {
    let mut scene = Scene::new().await;
    assert!(scene.hub.request_rendition(&scene.rendition()));
    scene.begin_answer(3_000, &[0, 1_000, 2_000]).await;
    let (_subscription, mut frames, mut queue) = scene.watch().await;
    scene.trunk.send_modify(|trunk| {
        trunk.as_mut().unwrap().epoch = EPOCH + 1;
    });
    scene.sender = Sender::new(EPOCH + 1);
    scene.answer(4_000, &[0, 1_000, 2_000, 3_000]).await;
    while frames.len() < 4 {
        if let StreamEvent::Frame(frame) = event(&mut queue).await {
            frames.push(frame);
        }
    }
    assert_eq!(frames[3].dts().as_millis(), 3_000);
}

/// Waits for the frame at this time. The rendition must not go offline before.
async fn sees(queue: &mut mpsc::Receiver<Delivery>, millis: i64) {
    loop {
        match event(queue).await {
            StreamEvent::Offline => panic!("viewers see that it is offline"),
            StreamEvent::Frame(frame) if frame.dts().as_millis() == millis => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn viewers_of_a_rendition_do_not_notice_that_its_stream_moves() {
    let mut scene = Scene::new().await;
    let (_subscription, mut queue) = scene.begin().await;
    // The rendition hears of it before its stream.
    let end = scene.sender.end(EndReason::Moved);
    scene.send_live(&end).await;
    scene.is_left().await;
    let mut trunk = scene.trunk.send_replace(None).unwrap();
    tokio::task::yield_now().await;
    trunk.epoch = EPOCH + 1;
    scene.trunk.send_replace(Some(trunk));
    scene.sender = Sender::new(EPOCH + 1);
    scene.answer(2_000, &[0, 1_000]).await;
    sees(&mut queue, 1_000).await;
}

#[tokio::test]
async fn viewers_of_a_rendition_do_not_notice_that_its_owner_refuses_for_a_moment() {
    let mut scene = Scene::new().await;
    let (_subscription, mut queue) = scene.begin().await;
    let end = scene.sender.end(EndReason::Moved);
    scene.send_live(&end).await;
    for reason in [EndReason::Moved, EndReason::Busy, EndReason::Lost] {
        scene.refuse(reason).await;
    }
    scene.sender = Sender::new(EPOCH);
    scene.answer(2_000, &[0, 1_000]).await;
    sees(&mut queue, 1_000).await;
}

#[tokio::test]
async fn viewers_of_a_rendition_do_not_notice_that_its_owner_is_silent_before_its_stream_does() {
    let silence = Duration::from_secs(10);
    let mut scene = Scene::with_silence(silence).await;
    let after = MediaTime::from_millis(5_000);
    assert!(scene.hub.request_keyframe(&scene.rendition(), after));
    scene.answer(1_000, &[0]).await;
    let (_subscription, _, mut queue) = scene.watch().await;
    // The answer has arrived as a whole.
    scene.requested_keyframe().await;
    // Time passes from now on when there is nothing else to do.
    tokio::time::pause();
    tokio::time::sleep(silence * 3 / 2).await;
    scene.trunk.send_replace(None);
    tokio::time::sleep(2 * silence).await;
    while let Ok(delivery) = queue.try_recv() {
        assert!(!matches!(delivery.event, StreamEvent::Offline));
    }
    let live = scene.hub.live_rendition(&scene.name, &Scene::id());
    assert!(live.is_some());
}

#[tokio::test]
async fn silent_owner_is_asked_again_before_viewers_of_the_rendition_are_told() {
    let mut scene = Scene::with_silence(Duration::from_secs(3)).await;
    let (_subscription, mut queue) = scene.begin().await;
    scene.sender = Sender::new(EPOCH);
    scene.answer(2_000, &[0, 1_000]).await;
    sees(&mut queue, 1_000).await;
}

#[tokio::test]
async fn viewers_are_told_if_an_owner_only_answers() {
    let mut scene = Scene::with_silence(Duration::from_millis(600)).await;
    let (_subscription, mut queue) = scene.begin().await;
    let told = async {
        loop {
            scene.sender = Sender::new(EPOCH);
            tokio::select! {
                event = event(&mut queue) => if matches!(event, StreamEvent::Offline) {
                    break;
                },
                () = scene.answer(1_000, &[0]) => {}
            }
        }
    };
    timeout(LIMIT, told).await.expect("viewers are told");
}

#[tokio::test]
async fn rendition_that_has_to_be_made_after_a_takeover_comes_after_viewers_were_told() {
    let mut scene = Scene::with_silence(Duration::from_millis(600)).await;
    let (_subscription, mut queue) = scene.begin().await;
    let mut trunk = scene.trunk.borrow().clone().unwrap();
    trunk.epoch = EPOCH + 1;
    scene.trunk.send_replace(Some(trunk));
    scene.sender = Sender::new(EPOCH + 1);
    let reply = scene.join().await;
    while !matches!(event(&mut queue).await, StreamEvent::Offline) {}
    // The request still counts.
    scene.begin_answer_to(&reply, 3_000, &[2_000]).await;
    let end = scene.sender.joined();
    scene.send(reply, &end).await;
    sees(&mut queue, 2_000).await;
}

#[tokio::test]
async fn keyframe_that_a_viewer_needs_is_requested_of_an_owner_that_is_about_to_answer() {
    let mut scene = Scene::new().await;
    let after = MediaTime::from_millis(5_000);
    assert!(scene.hub.request_keyframe(&scene.rendition(), after));
    let reply = scene.begin_answer(3_000, &[0, 1_000, 2_000]).await;
    // The owner sends nothing yet, so it would not know of what.
    scene.no_keyframe_is_requested().await;
    let end = scene.sender.joined();
    scene.send(reply, &end).await;
    assert_eq!(scene.requested_keyframe().await, 5_000);
}
