//! The transcoding of a stream's audio: AAC, MP3 or G.711 in, Opus out, off the publisher's path.
//!
//! * [`AudioJob`]: the handle, and the job behind it.
//! * [`AudioPool`]: the threads that do the jobs of all streams.
//! * `queue`: the queue of frames that wait for a job.

mod pool;
mod queue;
#[cfg(test)]
mod tests;

use std::io;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use distributary_media::{AudioError, AudioFrame, AudioTrack, OpusConfig, OpusTranscoder};
use distributary_names::StreamName;

use crate::event_limit::EventLimit;
pub(crate) use pool::AudioPool;
use pool::Job;
use queue::{FrameQueue, Pushed, QueuedFrame};

/// Limit of log lines of one kind about one stream: a frame may be broken every 20 ms.
const LOG_LIMIT: EventLimit = EventLimit::new(2, Duration::from_secs(60));

/// The receiver of the Opus: the stream.
pub(crate) trait OpusReceiver: Send + Sync + 'static {
    /// Returns the loss of audio packets on the way to viewers, in percent.
    fn loss_percent(&self) -> u8;

    /// Receives Opus of the job with this id, and the loudest sample that it was made of; 1 is full
    /// scale.
    fn receive_opus(&self, job: u64, frames: impl Iterator<Item = AudioFrame>, peak: f32);
}

/// The handle of the job that transcodes a stream's audio.
///
/// Transcoding takes about half a percent of a core per stream. The threads of the pool do it, so
/// that a video frame never waits for it. One job serves the stream as long as a subscriber
/// receives Opus, whatever the publisher changes.
///
/// The job ends when this handle is dropped. Nothing waits for its end: the handle is dropped under
/// the stream's lock, which the job takes to deliver.
pub(crate) struct AudioJob {
    id: u64,
    queue: Arc<FrameQueue>,
    job: Arc<dyn Job>,
    pool: Arc<AudioPool>,
}

impl AudioJob {
    /// Starts to transcode the audio of the stream `name` for `receiver` under this id.
    ///
    /// # Errors
    /// Returns the system's error if the pool has no thread and the system cannot start one.
    pub(crate) fn start(
        pool: &Arc<AudioPool>,
        id: u64,
        name: &StreamName,
        config: OpusConfig,
        receiver: Weak<impl OpusReceiver>,
    ) -> io::Result<Self> {
        pool.start()?;
        let queue = Arc::new(FrameQueue::default());
        let worker = Worker {
            id,
            receiver,
            name: name.clone(),
            config,
            chain: Chain::default(),
            packets: Vec::new(),
            broken: LOG_LIMIT,
            unusable: LOG_LIMIT,
        };
        Ok(Self {
            id,
            job: Arc::new(Transcoding {
                queue: Arc::clone(&queue),
                worker: Mutex::new(worker),
            }),
            queue,
            pool: Arc::clone(pool),
        })
    }

    /// Returns the id under which the job delivers.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a frame of `track` that arrived at `now`. Never waits; returns the number of frames
    /// dropped because the job is behind.
    pub(crate) fn push(&self, track: Arc<AudioTrack>, frame: AudioFrame, now: Instant) -> u64 {
        let Pushed { dropped, is_due } = self.queue.push(QueuedFrame {
            track,
            frame,
            arrived: now,
        });
        if is_due {
            self.pool.schedule(Arc::clone(&self.job));
        }
        dropped
    }
}

impl Drop for AudioJob {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl std::fmt::Debug for AudioJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioJob")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The job: one frame per turn.
struct Transcoding<R> {
    queue: Arc<FrameQueue>,
    /// No turn waits for it: a job has one turn at a time.
    worker: Mutex<Worker<R>>,
}

impl<R: OpusReceiver> Job for Transcoding<R> {
    fn run(&self) -> bool {
        if let Some(queued) = self.queue.pop() {
            let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
            worker.transcode(&queued);
        }
        self.queue.end_turn()
    }
}

/// The state of the job.
struct Worker<R> {
    id: u64,
    /// Weak, because the job must not keep its stream alive.
    receiver: Weak<R>,
    name: StreamName,
    config: OpusConfig,
    chain: Chain,
    /// Kept for its allocation.
    packets: Vec<AudioFrame>,
    broken: EventLimit,
    unusable: EventLimit,
}

impl<R: OpusReceiver> Worker<R> {
    /// Transcodes a frame and delivers what it completes. A panic ends the audio of this track, and
    /// of no other stream; so does one of the stream's destructor, which may run here.
    ///
    /// This does not cover the encoder, which is in C: a failed check of libopus ends the process
    /// (see `distributary_opus::Encoder`, which also says why no audio makes one fail).
    fn transcode(&mut self, queued: &QueuedFrame) {
        let deliver = AssertUnwindSafe(|| {
            if let Some(receiver) = self.receiver.upgrade() {
                self.deliver(&receiver, queued);
            }
        });
        if catch_unwind(deliver).is_err() {
            self.packets.clear();
            self.chain.abandon_track();
            let error = AudioError::Internal {
                stage: "the transcoder",
                reason: "it panicked, which is a bug".to_owned(),
            };
            self.log_unusable_audio(&error, queued.arrived);
        }
    }

    fn deliver(&mut self, receiver: &R, queued: &QueuedFrame) {
        let QueuedFrame {
            track,
            frame,
            arrived,
        } = queued;
        if let Err(error) = self.chain.follow(track, &self.config) {
            self.log_unusable_audio(&error, *arrived);
        }
        let loss = receiver.loss_percent();
        match self.chain.push(frame, loss, &mut self.packets) {
            Ok(()) => {}
            Err(error @ AudioError::Decode { .. }) => self.log_broken_frame(&error, *arrived),
            Err(error) => self.log_unusable_audio(&error, *arrived),
        }
        let peak = self.chain.take_peak();
        receiver.receive_opus(self.id, self.packets.drain(..), peak);
    }

    fn log_broken_frame(&mut self, error: &AudioError, now: Instant) {
        if let Some(held_back) = self.broken.admit(now) {
            let stream = &self.name;
            tracing::warn!(
                %stream, %error, held_back = NonZeroU64::new(held_back),
                "broken audio is replaced by silence; check the encoder and its connection"
            );
        }
    }

    fn log_unusable_audio(&mut self, error: &AudioError, now: Instant) {
        if let Some(held_back) = self.unusable.admit(now) {
            let stream = &self.name;
            tracing::error!(
                %stream, %error, held_back = NonZeroU64::new(held_back),
                "the audio cannot be transcoded: viewers hear nothing; let the encoder send AAC-LC at 48 kHz"
            );
        }
    }
}

/// The transcoder of the published track.
#[derive(Default)]
struct Chain {
    track: Option<Arc<AudioTrack>>,
    /// `None` before the first usable track.
    transcoder: Option<OpusTranscoder>,
    /// Set while the track cannot be transcoded, or the transcoder has failed: its frames are
    /// dropped.
    is_unusable: bool,
    /// Packet loss in percent that the encoder is set to.
    loss: u8,
}

impl Chain {
    /// Sets the transcoder up for `track` if it has changed.
    fn follow(&mut self, track: &Arc<AudioTrack>, config: &OpusConfig) -> Result<(), AudioError> {
        if self
            .track
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, track))
        {
            return Ok(());
        }
        self.track = Some(Arc::clone(track));
        self.is_unusable = true;
        match &mut self.transcoder {
            Some(transcoder) => transcoder.set_track(track)?,
            None => {
                self.transcoder = Some(OpusTranscoder::new(track, config)?);
                self.loss = 0;
            }
        }
        self.is_unusable = false;
        Ok(())
    }

    /// Returns the loudest sample since the last call.
    fn take_peak(&mut self) -> f32 {
        let transcoder = self.transcoder.as_mut();
        transcoder.map_or(0.0, OpusTranscoder::take_peak)
    }

    fn push(
        &mut self,
        frame: &AudioFrame,
        loss: u8,
        packets: &mut Vec<AudioFrame>,
    ) -> Result<(), AudioError> {
        let Some(transcoder) = self.transcoder.as_mut().filter(|_| !self.is_unusable) else {
            return Ok(());
        };
        let mut pushed = Ok(());
        if loss != self.loss {
            pushed = transcoder.set_packet_loss(loss);
            self.loss = loss;
        }
        let pushed = pushed.and_then(|()| transcoder.push(frame, packets));
        if !matches!(pushed, Ok(()) | Err(AudioError::Decode { .. })) {
            self.abandon_track();
        }
        pushed
    }

    /// Drops the frames of this track from now on. The next track gets a transcoder that has not
    /// failed.
    fn abandon_track(&mut self) {
        self.transcoder = None;
        self.is_unusable = true;
    }
}
