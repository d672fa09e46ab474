//! Nodes for the tests.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use distributary_cluster::test_util::NatsServer;
use distributary_cluster::{Cluster, ClusterConfig, ClusterSetup, LinkState};
use distributary_hub::{
    AdmissionError, Delivery, Hub, HubConfig, Publisher, Sink, StreamEvent, Subscription, WhenTaken,
};
use distributary_media::test_util::{opus_frame, video_frame};
use distributary_media::{AudioCodec, AudioTrack, Frame, VideoCodec, VideoTrack};
use distributary_names::StreamName;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Limit for everything that is awaited: a failing test ends.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A node without the parts that clients connect to.
pub(crate) struct Node {
    pub(crate) hub: Hub,
    pub(crate) cluster: Cluster,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Node {
    pub(crate) async fn start(nats: &NatsServer, name: &str) -> Self {
        Self::start_with(nats, name, |_| {}).await
    }

    pub(crate) async fn start_with(
        nats: &NatsServer,
        name: &str,
        change: impl FnOnce(&mut ClusterConfig),
    ) -> Self {
        let mut config = ClusterConfig {
            nats: vec![nats.url()],
            node: name.to_owned(),
            ..ClusterConfig::default()
        };
        change(&mut config);
        let hub = Hub::new(HubConfig::default());
        let setup = ClusterSetup::new(&config, hub.clone()).unwrap();
        let (cluster, driver) = setup.connect().await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(driver.run(async move {
            let _ = stopped.await;
        }));
        let node = Self {
            hub,
            cluster,
            stop: Some(stop),
            task,
        };
        node.connected().await;
        // Until then the first names are used provisionally, or refused.
        until("the arbiter answers", || {
            node.cluster.status().arbiter.is_reachable
        })
        .await;
        node
    }

    /// Ends the node as its gateway does, and waits until it has ended.
    pub(crate) async fn end(mut self) {
        drop(self.stop.take());
        let ended = timeout(LIMIT, &mut self.task).await;
        ended.expect("it ends").unwrap();
    }

    /// Waits until a server is connected.
    pub(crate) async fn connected(&self) {
        let mut link = self.cluster.link();
        let connected = link.wait_for(|state| *state == LinkState::Connected);
        timeout(LIMIT, connected)
            .await
            .expect("it connects")
            .unwrap();
    }

    /// Waits until the server is away.
    pub(crate) async fn disconnected(&self) {
        let mut link = self.cluster.link();
        let away = link.wait_for(|state| *state == LinkState::Away);
        timeout(LIMIT, away).await.expect("it notices").unwrap();
    }

    /// Waits until the arbiter has confirmed all names of this node. One that did not answer in time,
    /// as on a busy machine, does so later.
    pub(crate) async fn confirmed(&self) {
        until("the arbiter confirms the names", || {
            self.cluster.status().arbiter.unconfirmed == 0
        })
        .await;
    }

    /// Publishes a stream as soon as the arbiter answers, for nodes that need it.
    pub(crate) async fn publish_soon(&self, stream: &StreamName) -> TestPublisher {
        let began = Instant::now();
        loop {
            match self.publish(stream).await {
                Ok(publisher) => return publisher,
                Err(error) => assert_eq!(error, AdmissionError::NoArbiter, "{stream}"),
            }
            assert!(began.elapsed() < LIMIT, "the arbiter answers");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Publishes a stream, as the RTMP server does.
    pub(crate) async fn publish(
        &self,
        stream: &StreamName,
    ) -> Result<TestPublisher, AdmissionError> {
        self.claim(stream, WhenTaken::Refused).await
    }

    /// Takes a stream over, as the RTMP server does.
    pub(crate) async fn take_over(
        &self,
        stream: &StreamName,
    ) -> Result<TestPublisher, AdmissionError> {
        self.claim(stream, WhenTaken::TakesOver).await
    }

    /// Publishes a stream, or stands by for it, as the RTMP server does.
    pub(crate) async fn stand_by(
        &self,
        stream: &StreamName,
    ) -> Result<TestPublisher, AdmissionError> {
        self.claim(stream, WhenTaken::StandsBy).await
    }

    async fn claim(
        &self,
        stream: &StreamName,
        when_taken: WhenTaken,
    ) -> Result<TestPublisher, AdmissionError> {
        let admitted = timeout(LIMIT, self.hub.admit(stream, when_taken)).await;
        let permit = admitted.expect("it is decided")?;
        let publisher = match when_taken {
            WhenTaken::Refused => self.hub.publish(stream, now()).unwrap().with_permit(permit),
            WhenTaken::TakesOver => self.hub.take_over(stream, now()).with_permit(permit),
            WhenTaken::StandsBy => self.hub.stand_by(stream, permit, now()).unwrap(),
        };
        publisher.set_video_track(video_track());
        publisher.set_audio_track(audio_track());
        Ok(TestPublisher {
            publisher: Arc::new(publisher),
            millis: 0,
        })
    }

    /// Watches a stream.
    pub(crate) async fn watch(&self, stream: &StreamName) -> TestViewer {
        let live = timeout(LIMIT, self.hub.ensure_live(stream)).await;
        live.expect("it is decided").unwrap();
        self.subscribe(stream)
    }

    /// Watches a stream as soon as a node has it.
    pub(crate) async fn watch_soon(&self, stream: &StreamName) -> TestViewer {
        let began = Instant::now();
        while timeout(LIMIT, self.hub.ensure_live(stream))
            .await
            .expect("it is decided")
            .is_err()
        {
            assert!(began.elapsed() < LIMIT, "no node has the stream");
            sleep(Duration::from_millis(50)).await;
        }
        self.subscribe(stream)
    }

    /// Subscribes to a stream of the hub.
    pub(crate) fn subscribe(&self, stream: &StreamName) -> TestViewer {
        let (sink, queue) = Sink::channel(4096);
        let (subscription, cached) = self.hub.subscribe(stream, sink, 0).unwrap();
        TestViewer {
            subscription,
            cached,
            queue,
        }
    }
}

/// A node with a publisher that can die at any moment.
pub(crate) struct Mortal {
    runtime: Option<Runtime>,
}

impl Mortal {
    /// Starts a node and a publisher, with a mark in its frames.
    pub(crate) async fn publish(
        nats: &Arc<NatsServer>,
        node: &str,
        stream: &StreamName,
        mark: u8,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let (nats, node, stream) = (Arc::clone(nats), node.to_owned(), stream.clone());
        let started = runtime.spawn(async move {
            let node = Node::start(&nats, &node).await;
            node.publish(&stream).await.unwrap().run(mark);
            node
        });
        // It lives as long as the runtime.
        std::mem::forget(timeout(LIMIT, started).await.unwrap().unwrap());
        Self {
            runtime: Some(runtime),
        }
    }

    /// Kills the node: nothing that it does not send by itself goes out any more.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.task.abort();
    }
}

/// A publisher with a frame every 40 ms of media time.
#[derive(Clone)]
pub(crate) struct TestPublisher {
    pub(crate) publisher: Arc<Publisher>,
    millis: i64,
}

impl TestPublisher {
    /// Publishes the next frame, with a mark, and audio.
    pub(crate) fn push(&mut self, keyframe: bool, mark: u8, len: usize) {
        let mut frame = video_frame(self.millis, keyframe, len);
        let mut unit = frame.units[0].to_vec();
        unit.push(mark);
        frame.units = vec![unit.into()];
        self.publisher.push(Frame::Video(frame), now()).unwrap();
        let audio = opus_frame(self.millis, &[0xf8, 0xff, 0xfe]);
        self.publisher.push(Frame::Audio(audio), now()).unwrap();
        self.millis += 40;
    }

    /// Publishes frames in real time, a keyframe every second, until it is aborted. The mark is in
    /// each of them.
    pub(crate) fn run(self, mark: u8) -> JoinHandle<()> {
        self.run_with(mark, 1000)
    }

    /// The same with frames of `len` bytes.
    pub(crate) fn run_with(mut self, mark: u8, len: usize) -> JoinHandle<()> {
        tokio::spawn(async move {
            for n in 0_u64.. {
                self.push(n % 25 == 0, mark, len);
                sleep(Duration::from_millis(40)).await;
            }
        })
    }
}

/// A viewer, as the hub sees it.
pub(crate) struct TestViewer {
    pub(crate) subscription: Subscription,
    pub(crate) cached: Vec<Arc<Frame>>,
    queue: mpsc::Receiver<Delivery>,
}

impl TestViewer {
    /// Returns the next event.
    pub(crate) async fn next(&mut self) -> StreamEvent {
        let delivery = timeout(LIMIT, self.queue.recv()).await;
        delivery.expect("something arrives").unwrap().event
    }

    /// Returns the next video frame. The stream must not go offline before.
    pub(crate) async fn video(&mut self) -> Arc<Frame> {
        loop {
            match self.next().await {
                StreamEvent::Frame(frame) if matches!(*frame, Frame::Video(_)) => return frame,
                StreamEvent::Offline => panic!("the stream is offline"),
                _ => {}
            }
        }
    }

    /// Waits for a video frame with this mark. The stream must not go offline before.
    pub(crate) async fn sees(&mut self, mark: u8) {
        let began = Instant::now();
        while self::mark(&*self.video().await) != mark {
            assert!(began.elapsed() < LIMIT, "no frame has the mark {mark}");
        }
    }

    /// Waits until the stream is offline.
    pub(crate) async fn goes_offline(&mut self) {
        while !matches!(self.next().await, StreamEvent::Offline) {}
    }
}

/// Returns the mark of a video frame.
pub(crate) fn mark(frame: &Frame) -> u8 {
    match frame {
        Frame::Video(video) => *video.units[0].last().unwrap(),
        Frame::Audio(_) => panic!("not a video frame"),
    }
}

/// Waits until the server has handled what a client has sent: its answer comes afterwards.
pub(crate) async fn handled(client: &async_nats::Client) {
    let asked = client.request("nobody.listens", "".into());
    let answer = timeout(LIMIT, asked).await.expect("the server answers");
    assert!(answer.is_err(), "nobody else does");
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Waits until something is the case.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The same for what has to be asked for.
pub(crate) async fn until_async(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < LIMIT, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn video_track() -> VideoTrack {
    VideoTrack {
        codec: VideoCodec::H264,
        width: 640,
        height: 360,
        profile_level_id: [0x42, 0xe0, 0x1f],
        config: vec![1, 0x42, 0xe0, 0x1f].into(),
    }
}

fn audio_track() -> AudioTrack {
    AudioTrack {
        codec: AudioCodec::Opus,
        sample_rate: 48_000,
        channels: 2,
        config: Vec::new().into(),
    }
}
