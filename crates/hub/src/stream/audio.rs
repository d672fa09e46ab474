//! The transcoding of a stream's audio to Opus.

use std::sync::Arc;
use std::time::{Duration, Instant};

use distributary_media::{AudioFrame, Frame};
use tracing::error;

use super::{State, Stream};
use crate::audio::{AudioJob, OpusReceiver};
use crate::subscriber::{AudioForm, Subscriber};

/// Factor by which a peak falls with each AAC frame (21 ms at 48 kHz): by about 12 dB in a second.
const PEAK_DECAY: f32 = 0.97;

/// Retry interval after the system could not start a thread.
const AUDIO_RETRY: Duration = Duration::from_secs(10);

impl OpusReceiver for Stream {
    fn loss_percent(&self) -> u8 {
        self.audio_loss()
    }

    /// Delivers the Opus to the subscribers, unless another job has replaced this one: then its
    /// timestamps may lie before those already delivered.
    fn receive_opus(&self, job: u64, frames: impl Iterator<Item = AudioFrame>, peak: f32) {
        let mut state = self.lock();
        if state
            .audio_job
            .as_ref()
            .is_some_and(|current| current.id() == job)
        {
            state.audio_peak = peak.max(state.audio_peak * PEAK_DECAY);
            for frame in frames {
                let mut frame = Frame::Audio(frame);
                if self.memory.hold(&mut frame) {
                    state.deliver_audio(&Arc::new(frame), Some(AudioForm::Opus));
                } else {
                    state.dropped += 1;
                }
            }
        }
    }
}

impl Stream {
    /// Returns the loss of audio packets in percent: the highest that a subscriber of the stream,
    /// or of its renditions, has set.
    pub fn audio_loss(&self) -> u8 {
        let state = self.lock();
        let losses = state.subscribers.iter().map(Subscriber::audio_loss);
        let of_renditions = state
            .renditions
            .iter()
            .map(|(rendition, _)| rendition.audio_loss());
        losses.chain(of_renditions).max().unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn has_audio_job(&self) -> bool {
        self.audio_job_id().is_some()
    }

    #[cfg(test)]
    pub(crate) fn audio_job_id(&self) -> Option<u64> {
        self.lock().audio_job.as_ref().map(AudioJob::id)
    }
}

impl State {
    /// Queues a frame for the stream's audio job, which delivers Opus. Does nothing while no
    /// subscriber receives Opus.
    pub(super) fn transcode(&mut self, stream: &Arc<Stream>, frame: &AudioFrame, now: Instant) {
        let (Some(track), true) = (
            &self.contribution.audio,
            self.has_subscriber(AudioForm::Opus),
        ) else {
            self.audio_job = None;
            return;
        };
        let track = Arc::clone(track);
        if self.audio_job.is_none() {
            self.start_audio_job(stream, now);
        }
        self.dropped += match &self.audio_job {
            Some(job) => job.push(track, frame.clone(), now),
            None => 1,
        };
    }

    fn start_audio_job(&mut self, stream: &Arc<Stream>, now: Instant) {
        if self.audio_retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.next_audio_job += 1;
        let job = AudioJob::start(
            &stream.audio_pool,
            self.next_audio_job,
            &stream.name,
            stream.config.streams.opus(),
            Arc::downgrade(stream),
        );
        match job {
            Ok(job) => {
                self.audio_job = Some(job);
                self.audio_peak = 0.0;
            }
            Err(error) => {
                self.audio_retry_at = Some(now + AUDIO_RETRY);
                error!(
                    stream = %stream.name, %error,
                    "cannot start an audio thread, so viewers hear nothing: raise the limit of threads or memory"
                );
            }
        }
    }
}
