//! Audio that waits for the next video frame, to share a call to the kernel with it.

use std::time::{Duration, Instant};

use distributary_media::AudioFrame;
use distributary_media::audio::packet;
use distributary_webrtc::log::{Log, MAX_PAYLOAD};

/// Longest wait of audio for a video frame: the interval of video frames at any usual rate.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(45);

/// Maximum number of audio frames that wait.
const MAX_FRAMES: usize = 8;

/// Audio frames that are not in the log yet.
#[derive(Default)]
pub(super) struct HeldAudio {
    frames: Vec<AudioFrame>,
    since: Option<Instant>,
}

impl HeldAudio {
    /// Holds a frame. Returns whether no further one may wait.
    pub(super) fn push(&mut self, frame: &AudioFrame, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.frames.push(frame.clone());
        self.frames.len() >= MAX_FRAMES
    }

    /// Returns when the audio has waited long enough, if any waits.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.since? + MAX_WAIT)
    }

    /// Logs the waiting frames. Two frames become one packet if they fit: after a video frame there
    /// is room for one packet in the same call.
    pub(super) fn release(&mut self, log: &mut Log, now: Instant) {
        self.since = None;
        let mut frames = self.frames.drain(..).peekable();
        while let Some(mut frame) = frames.next() {
            if let Some(joined) = frames
                .peek()
                .and_then(|next| packet::join(&frame.data, &next.data))
                .filter(|joined| joined.len() <= MAX_PAYLOAD)
            {
                frame.data = joined;
                frames.next();
            }
            log.push_audio(&frame, now);
        }
    }
}
