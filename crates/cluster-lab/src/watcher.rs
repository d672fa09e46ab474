//! A viewer that keeps what it has seen.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it receives in real time"
)]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use distributary_bench::answer::Answer;
use distributary_bench::viewer::Viewer;
use distributary_bench::whep;
use distributary_webrtc::certificate::Certificate;
use distributary_webrtc::dtls::DtlsContext;
use distributary_webrtc::ice::Credentials;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use url::Url;

use crate::encoder::APP;
use crate::seen::{Frame, Seen};

/// Bytes of the longest datagram.
const DATAGRAM: usize = 2048;

/// Bound of the wait for a timer.
const TICK: Duration = Duration::from_millis(10);

/// A viewer. It ends when this is dropped, without a word to its node.
pub(crate) struct Watcher {
    shared: Arc<Mutex<Notes>>,
    task: JoinHandle<()>,
    /// When it asked for the stream, since the encoders' origin.
    pub(crate) asked: Duration,
}

#[derive(Default)]
struct Notes {
    seen: Seen,
    failure: Option<String>,
}

impl Watcher {
    /// Asks a node for a stream. The viewer decrypts, and keeps the frames, if it `looks`; otherwise it
    /// only causes traffic.
    ///
    /// # Errors
    /// When the node refuses, or its answer is unusable.
    pub(crate) async fn join(
        http: SocketAddr,
        name: &str,
        origin: Instant,
        looks: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let certificate = Certificate::generate(SystemTime::now())?;
        let context = DtlsContext::new(&certificate)?;
        let mut viewer = Viewer::new(Credentials::generate()?, rand::random(), looks);
        let endpoint = Url::parse(&format!("http://{http}/whep/{APP}/{name}"))?;
        let asked = origin.elapsed();
        let (answer, _) = whep::open(&endpoint, viewer.offer(certificate.fingerprint())).await?;
        let answer = Answer::parse(&answer)?;
        let server = answer.candidate(Some(http.ip())).ok_or("no candidate")?;
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        socket.connect(server).await?;
        viewer.handle_answer(Instant::now(), answer, server, &context)?;
        let shared = Arc::<Mutex<Notes>>::default();
        let task = tokio::spawn(receive(viewer, socket, origin, Arc::clone(&shared)));
        Ok(Self {
            shared,
            task,
            asked,
        })
    }

    /// Returns the frames so far.
    pub(crate) fn seen(&self) -> Seen {
        self.notes(|notes| notes.seen.clone())
    }

    /// Returns the reason why it gets no frames any more, if there is one.
    pub(crate) fn failure(&self) -> Option<String> {
        self.notes(|notes| notes.failure.clone())
    }

    /// Returns the last frame.
    pub(crate) fn last(&self) -> Option<Frame> {
        self.notes(|notes| notes.seen.0.last().copied())
    }

    fn notes<T>(&self, read: impl FnOnce(&Notes) -> T) -> T {
        read(&self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    mut viewer: Viewer,
    socket: UdpSocket,
    origin: Instant,
    shared: Arc<Mutex<Notes>>,
) {
    let mut buffer = [0; DATAGRAM];
    loop {
        while let Some(datagram) = viewer.poll_transmit() {
            // A datagram that is not sent is lost.
            let _ = socket.send(&datagram).await;
        }
        tokio::select! {
            received = socket.recv(&mut buffer) => {
                // An error is that of a datagram sent before: nobody listens there now.
                if let Ok(len) = received {
                    viewer.handle_datagram(Instant::now(), &buffer[..len]);
                }
            }
            () = sleep(TICK) => {}
        }
        let now = Instant::now();
        if viewer.poll_timeout().is_some_and(|due| due <= now) {
            viewer.handle_timeout(now);
        }
        let marks = viewer.take_marks();
        let failure = viewer.error().map(ToString::to_string);
        let mut notes = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = marks.into_iter().map(|(at, mark)| Frame {
            at: at.saturating_duration_since(origin),
            mark,
        });
        notes.seen.0.extend(frames);
        if failure.is_some() {
            notes.failure = failure;
            return;
        }
    }
}
