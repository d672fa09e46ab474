//! A stream's audio thread: AAC, MP3 or G.711 in, Opus out, off the publisher's path.
//!
//! * [`AudioThread`]: the handle, and the thread behind it.
//! * `queue`: the queue of frames that wait for the thread.

mod queue;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use distributary_media::{AudioError, AudioFrame, AudioTrack, OpusConfig, OpusTranscoder};
use distributary_names::StreamName;

use crate::event_limit::EventLimit;
use queue::{FrameQueue, QueuedFrame};

/// Limit of log lines of one kind about one stream: a frame may be broken every 20 ms.
const LOG_LIMIT: EventLimit = EventLimit::new(2, Duration::from_secs(60));

/// The receiver of the Opus: the stream.
pub(crate) trait OpusReceiver: Send + Sync + 'static {
    /// Returns the loss of audio packets on the way to viewers, in percent.
    fn loss_percent(&self) -> u8;

    /// Receives Opus of the thread with this id, and the loudest sample that it was made of; 1 is
    /// full scale.
    fn receive_opus(&self, thread: u64, frames: impl Iterator<Item = AudioFrame>, peak: f32);
}

/// The handle of a stream's audio thread.
///
/// Transcoding takes about one percent of a core per stream. It has its own thread, so that a video
/// frame never waits for it. One thread serves the stream as long as a subscriber receives Opus,
/// whatever the publisher changes.
///
/// The thread ends when this handle is dropped. Nothing waits for its end: the handle is dropped
/// under the stream's lock, which the thread takes to deliver.
#[derive(Debug)]
pub(crate) struct AudioThread {
    id: u64,
    queue: Arc<FrameQueue>,
}

impl AudioThread {
    /// Starts a thread that transcodes the audio of the stream `name` for `receiver` under this id.
    ///
    /// # Errors
    /// Returns the system's error if it cannot start a thread.
    pub(crate) fn spawn(
        id: u64,
        name: &StreamName,
        config: OpusConfig,
        receiver: Weak<impl OpusReceiver>,
    ) -> io::Result<Self> {
        let queue = Arc::new(FrameQueue::default());
        let worker = Worker {
            id,
            receiver,
            name: name.clone(),
            config,
            queue: Arc::clone(&queue),
            broken: LOG_LIMIT,
            unusable: LOG_LIMIT,
        };
        thread::Builder::new()
            .name(format!("audio {name}"))
            .spawn(move || worker.run())?;
        Ok(Self { id, queue })
    }

    /// Returns the id under which the thread delivers.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a frame of `track` that arrived at `now`. Never waits; returns the number of frames
    /// dropped because the thread is behind.
    pub(crate) fn push(&self, track: Arc<AudioTrack>, frame: AudioFrame, now: Instant) -> u64 {
        self.queue.push(QueuedFrame {
            track,
            frame,
            arrived: now,
        })
    }
}

impl Drop for AudioThread {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The state of the running thread.
struct Worker<R> {
    id: u64,
    /// Weak, because the thread must not keep its stream alive.
    receiver: Weak<R>,
    name: StreamName,
    config: OpusConfig,
    queue: Arc<FrameQueue>,
    broken: EventLimit,
    unusable: EventLimit,
}

impl<R: OpusReceiver> Worker<R> {
    fn run(mut self) {
        let mut chain = Chain::default();
        let mut packets = Vec::new();
        while let Some(QueuedFrame {
            track,
            frame,
            arrived,
        }) = self.queue.pop()
        {
            let Some(receiver) = self.receiver.upgrade() else {
                break;
            };
            if let Err(error) = chain.follow(&track, &self.config) {
                self.log_unusable_audio(&error, arrived);
            }
            match chain.push(&frame, receiver.loss_percent(), &mut packets) {
                Ok(()) => {}
                Err(error @ AudioError::Decode { .. }) => self.log_broken_frame(&error, arrived),
                Err(error) => self.log_unusable_audio(&error, arrived),
            }
            receiver.receive_opus(self.id, packets.drain(..), chain.take_peak());
        }
        let stream = &self.name;
        tracing::debug!(%stream, "audio transcoding stops");
    }

    fn log_broken_frame(&mut self, error: &AudioError, now: Instant) {
        if let Some(held_back) = self.broken.admit(now) {
            let stream = &self.name;
            tracing::warn!(
                %stream, %error, held_back,
                "broken audio is replaced by silence; check the encoder and its connection"
            );
        }
    }

    fn log_unusable_audio(&mut self, error: &AudioError, now: Instant) {
        if let Some(held_back) = self.unusable.admit(now) {
            let stream = &self.name;
            tracing::error!(
                %stream, %error, held_back,
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
            // The next track gets a transcoder that has not failed.
            self.transcoder = None;
            self.is_unusable = true;
        }
        pushed
    }
}
