//! Support of the tests: a server on a port of its own, a view of its hub, and ffmpeg.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code of which each test file uses a part"
)]

pub mod raw_client;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Once};
use std::time::Duration;

use distributary_hub::{AudioForm, Delivery, Hub, HubConfig, Sink, StreamEvent, Subscription};
use distributary_media::Frame;
use distributary_names::StreamName;
use distributary_rtmp::{RtmpConfig, RtmpServer};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Timeout of each step of a test.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// A server that runs until it is dropped or told to stop.
pub struct TestServer {
    pub hub: Hub,
    pub address: SocketAddr,
    pub tls_address: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(RtmpConfig::default())
    }

    /// Returns a server with this configuration on a free port of the loopback interface.
    pub fn with(config: RtmpConfig) -> Self {
        Self::on(Hub::new(HubConfig::default()), config)
    }

    /// Returns a server with this hub and configuration.
    pub fn on(hub: Hub, config: RtmpConfig) -> Self {
        let config = RtmpConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..config
        };
        let server = RtmpServer::bind(config, hub.clone()).unwrap();
        let address = server.local_addr();
        let tls_address = server.tls_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self {
            hub,
            address,
            tls_address,
            stop,
            task,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("rtmp://{}/{path}", self.address)
    }

    /// Shuts the server down and waits for its end.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(STEP_TIMEOUT, self.task)
            .await
            .expect("the server stops in time")
            .unwrap();
    }

    /// Waits for a stream and subscribes to it.
    pub async fn watch(&self, name: &str) -> Watcher {
        self.until_live(name).await;
        self.watch_name(&StreamName::parse(name).unwrap())
    }

    /// Subscribes to a stream or a rendition that is live.
    pub fn watch_name(&self, name: &StreamName) -> Watcher {
        let (sink, queue) = Sink::channel(4096);
        let (subscription, cached) = self
            .hub
            .subscribe(name, sink.with_audio(AudioForm::Published), 0)
            .unwrap();
        Watcher {
            subscription,
            queue,
            cached,
        }
    }

    /// Waits until a stream is live.
    pub async fn until_live(&self, name: &str) {
        let name = StreamName::parse(name).unwrap();
        // The reservation creates the stream if it has no publisher yet.
        let reservation = self.hub.reserve(&name, Instant::now().into_std());
        until(reservation.stream().liveness(), |live| *live).await;
    }

    /// Waits until a stream is not live.
    pub async fn until_offline(&self, name: &str) {
        let name = StreamName::parse(name).unwrap();
        if let Some(stream) = self.hub.stream(&name) {
            until(stream.liveness(), |live| !live).await;
        }
    }
}

/// Waits until a watched value meets a condition.
pub async fn until<T>(mut watched: watch::Receiver<T>, condition: impl FnMut(&T) -> bool) {
    timeout(STEP_TIMEOUT, watched.wait_for(condition))
        .await
        .expect("the condition is met in time")
        .expect("the sender lasts");
}

/// A subscriber that receives all events.
pub struct Watcher {
    pub subscription: Subscription,
    queue: mpsc::Receiver<Delivery>,
    pub cached: Vec<Arc<Frame>>,
}

impl Watcher {
    /// Returns the next event; panics if none arrives.
    pub async fn event(&mut self) -> StreamEvent {
        timeout(STEP_TIMEOUT, self.queue.recv())
            .await
            .expect("an event in time")
            .expect("the subscription lasts")
            .event
    }

    /// Returns all frames until the publisher leaves, the cached ones first.
    pub async fn frames_until_offline(&mut self) -> Vec<Arc<Frame>> {
        let mut frames = std::mem::take(&mut self.cached);
        loop {
            match self.event().await {
                StreamEvent::Frame(frame) => frames.push(frame),
                StreamEvent::Offline => return frames,
                _ => {}
            }
        }
    }

    /// Returns all frames up to the video frame number `count`, the cached ones first.
    pub async fn frames_until_video(&mut self, count: usize) -> Vec<Arc<Frame>> {
        let is_video = |frame: &&Arc<Frame>| matches!(***frame, Frame::Video(_));
        let mut frames = std::mem::take(&mut self.cached);
        while frames.iter().filter(is_video).count() < count {
            if let StreamEvent::Frame(frame) = self.event().await {
                frames.push(frame);
            }
        }
        frames
    }
}

/// The source of moving video.
const VIDEO: &str = "testsrc2=size=320x240:rate=30";

/// The options of ffmpeg for H264 with a keyframe each second.
#[rustfmt::skip]
const H264: [&str; 10] = [
    "-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
    "-g", "30",
];

/// Runs rtmpdump (librtmp) with these arguments until it ends.
pub async fn rtmpdump(arguments: &[&str]) {
    // It keeps hashes in its home.
    let home = tempfile::tempdir().unwrap();
    let run = Command::new("rtmpdump")
        .env("HOME", home.path())
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(STEP_TIMEOUT, run).await.expect("it ends in time");
    output.unwrap_or_else(|error| panic!("rtmpdump (apt-get install rtmpdump): {error}"));
}

/// An ffmpeg that publishes.
pub struct Ffmpeg {
    child: Child,
}

impl Ffmpeg {
    /// Runs ffmpeg with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "warning", "-nostdin"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("these tests publish with ffmpeg (apt-get install ffmpeg): {error}")
            });
        Self { child }
    }

    /// Publishes moving video (30 frames per second, a keyframe each second) and a tone in real
    /// time.
    pub fn publish(url: &str, seconds: &str) -> Self {
        let tone = "sine=frequency=440:sample_rate=48000";
        let mut arguments = vec!["-re", "-f", "lavfi", "-i", VIDEO];
        arguments.extend(["-re", "-f", "lavfi", "-i", tone, "-t", seconds]);
        arguments.extend(H264);
        arguments.extend(["-c:a", "aac", "-f", "flv", url]);
        Self::start(&arguments)
    }

    /// Publishes the same video without audio as fast as it can be encoded.
    pub fn publish_fast(url: &str, seconds: &str) -> Self {
        let mut arguments = vec!["-f", "lavfi", "-i", VIDEO, "-t", seconds];
        arguments.extend(H264);
        arguments.extend(["-f", "flv", url]);
        Self::start(&arguments)
    }

    /// Waits for its end. Returns the exit status and its log.
    pub async fn wait(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        let ended = timeout(STEP_TIMEOUT, async {
            stderr.read_to_string(&mut said).await.unwrap();
            self.child.wait().await.unwrap()
        });
        let status = ended.await.expect("ffmpeg ends in time");
        (status, said)
    }

    /// Kills it, so that it cannot notify the server.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The log of this thread; all tasks of a test run on its thread.
pub struct Log;

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static LOGGED: Arc<Notify> = Arc::default();
}

/// Writes to the log of the current thread.
struct LogWriter;

impl Log {
    /// Starts capturing.
    pub fn capture() -> Self {
        // One subscriber for all threads, because tracing caches the interest in events per
        // process.
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(|| LogWriter)
                .init();
        });
        LOG.with_borrow_mut(Vec::clear);
        Self
    }

    pub fn contains(&self, words: &str) -> bool {
        self.to_string().contains(words)
    }

    /// Waits until the log has these words `count` times.
    pub async fn until(&self, words: &str, count: usize) {
        let logged = LOGGED.with(Arc::clone);
        let reached = timeout(STEP_TIMEOUT, async {
            while self.to_string().matches(words).count() < count {
                logged.notified().await;
            }
        });
        assert!(
            reached.await.is_ok(),
            "{words:?} is missing {count} times in:\n{self}"
        );
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LOG.with_borrow(|log| f.write_str(&String::from_utf8_lossy(log)))
    }
}

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        LOGGED.with(|logged| logged.notify_one());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
