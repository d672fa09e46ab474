//! An encoder that marks its frames.
#![allow(
    clippy::disallowed_methods,
    reason = "a driver: it publishes in real time"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use distributary_bench::mark::Mark;
use distributary_bench::publishers::Clip;
use distributary_media::flv::TagKind;
use distributary_rtmp::client::{self, ClientError, ClientPublisher};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};

/// Pause before another attempt, of an encoder that was refused or has lost its connection.
const RETRY: Duration = Duration::from_millis(50);

/// The application of all streams.
pub(crate) const APP: &str = "live";

/// A clip with marked frames, as an encoder publishes it.
#[derive(Clone)]
pub(crate) struct Program {
    /// The clip, in a loop.
    pub(crate) clip: Arc<Clip>,
    /// The moment from which the marks count.
    pub(crate) origin: Instant,
}

/// An encoder. It ends when this is dropped.
pub(crate) struct Encoder {
    task: JoinHandle<()>,
    granted: Arc<AtomicU32>,
    retries: Arc<AtomicBool>,
}

impl Encoder {
    /// Starts an encoder that publishes `name` until it is dropped: when it is refused or has lost its
    /// connection, it tries again if it `retries`.
    pub(crate) fn start(
        program: Program,
        server: SocketAddr,
        name: &str,
        mark: u8,
        retries: bool,
    ) -> Self {
        let granted = Arc::new(AtomicU32::new(0));
        let retries = Arc::new(AtomicBool::new(retries));
        let (name, count, again) = (name.to_owned(), Arc::clone(&granted), Arc::clone(&retries));
        let task = tokio::spawn(async move {
            let mut number = 0;
            loop {
                if let Ok(publisher) = client::publish(server, APP, &name).await {
                    count.fetch_add(1, Ordering::Relaxed);
                    let _ = send(publisher, &program, mark, &mut number).await;
                }
                if !again.load(Ordering::Relaxed) {
                    return;
                }
                sleep(RETRY).await;
            }
        });
        Self {
            task,
            granted,
            retries,
        }
    }

    /// Lets it not try again once it has lost its connection.
    pub(crate) fn stop_retrying(&self) {
        self.retries.store(false, Ordering::Relaxed);
    }

    /// Returns how often it was granted the name.
    pub(crate) fn granted(&self) -> u32 {
        self.granted.load(Ordering::Relaxed)
    }

    /// Returns whether it has given up.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends the clip until the connection is lost.
async fn send(
    mut publisher: ClientPublisher,
    program: &Program,
    encoder: u8,
    number: &mut u32,
) -> Result<(), ClientError> {
    let start = tokio::time::Instant::now();
    for round in 0u64.. {
        for tag in &program.clip.tags {
            let millis = round * program.clip.length + u64::from(tag.timestamp_millis);
            sleep_until(start + Duration::from_millis(millis)).await;
            // RTMP counts modulo 2^32.
            let timestamp = millis as u32;
            match tag.kind {
                TagKind::Video => {
                    let mark = Mark {
                        encoder,
                        number: *number,
                        sent: micros(program.origin.elapsed()),
                    };
                    let marked = mark.write(&tag.body);
                    *number += u32::from(marked.is_some());
                    let body = marked.unwrap_or_else(|| tag.body.clone());
                    publisher.send_video(timestamp, body).await?;
                }
                TagKind::Audio => publisher.send_audio(timestamp, tag.body.clone()).await?,
                TagKind::Script => {}
            }
        }
    }
    Ok(())
}

/// Returns a duration in microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
