//! Tests of the passage of a stream to the hub.

use distributary_hub::{Hub, HubConfig, Sink, StreamEvent};
use distributary_media::Frame;

use super::*;
use crate::cluster::{Cluster, ClusterDriver};
use crate::follow::sender::{Sender, message, video};

const EPOCH: u64 = 3;
const TIMELINE: u64 = 1;

/// A passage, and the owner that is followed.
struct Scene {
    hub: Hub,
    name: StreamName,
    passage: Passage,
    sender: Sender,
    _cluster: (Cluster, ClusterDriver),
}

impl Scene {
    async fn new() -> Self {
        let hub = Hub::new(HubConfig::default());
        let cluster = Cluster::unconnected(hub.clone()).await;
        let name = StreamName::parse("live/test").unwrap();
        let context = Arc::clone(cluster.0.context());
        Self {
            passage: Passage::new(context, name.clone(), None),
            sender: Sender::new(EPOCH),
            hub,
            name,
            _cluster: cluster,
        }
    }

    /// Asks to join, and gets the frames at these times, the first of which is a keyframe. The answer
    /// has no end.
    fn begin_answer(&mut self, present: i64, times: impl IntoIterator<Item = i64>) {
        let live = self.sender.live;
        self.sender = Sender::new(EPOCH);
        self.sender.live = live;
        self.passage.prepare(&"a".parse().unwrap(), EPOCH);
        let times: Vec<_> = times.into_iter().collect();
        let tracks = self.sender.tracks(TIMELINE, present, times[0]);
        self.passage.handle_answer(&tracks).unwrap();
        for (at, millis) in times.into_iter().enumerate() {
            let part = self.sender.answer(&video(millis, at == 0));
            self.passage.handle_answer(&part).unwrap();
        }
    }

    fn end_answer(&mut self) {
        let end = self.passage.handle_answer(&self.sender.joined());
        assert_eq!(end, Err(Answered::Complete));
    }

    fn live(&mut self, frame: &Frame, at: u64) {
        let part = self.sender.live(frame, at);
        assert_eq!(self.passage.handle(&message(&part)), None);
    }

    /// Returns the number of frames that a new viewer gets at once.
    fn cached(&self) -> usize {
        let (sink, _queue) = Sink::channel(1);
        let subscribed = self.hub.subscribe(&self.name, sink, 0);
        let (subscription, cached) = subscribed.unwrap();
        if subscription.stream().has_gap() {
            return 0;
        }
        cached.len()
    }
}

#[tokio::test(start_paused = true)]
async fn first_viewers_get_the_whole_gop_although_the_first_answer_was_interrupted() {
    let mut scene = Scene::new().await;
    scene.begin_answer(4_000, [0]);
    scene.begin_answer(4_000, (0..4_000).step_by(500));
    scene.end_answer();
    assert_eq!(scene.cached(), 8);
}

#[tokio::test(start_paused = true)]
async fn viewers_that_begin_after_a_standstill_do_not_get_the_video_before_it() {
    let mut scene = Scene::new().await;
    scene.begin_answer(3_000, (0..3_000).step_by(500));
    scene.end_answer();
    assert_eq!(scene.cached(), 6);
    let (sink, mut queue) = Sink::channel(64);
    let _subscription = scene.hub.subscribe(&scene.name, sink, 0).unwrap();
    scene.begin_answer(8_000, (6_000..8_000).step_by(500));
    scene.end_answer();
    assert_eq!(scene.cached(), 0);
    scene.live(&video(8_000, false), 0);
    assert_eq!(scene.cached(), 0);
    scene.live(&video(8_040, true), 40);
    scene.live(&video(8_080, false), 80);
    assert_eq!(scene.cached(), 2);
    // So it is with those that begin at a shard which has frames of its own.
    let events = std::iter::from_fn(|| queue.try_recv().ok());
    let gaps = events.filter(|delivery| matches!(delivery.event, StreamEvent::Gap));
    assert_eq!(gaps.count(), 1);
}
