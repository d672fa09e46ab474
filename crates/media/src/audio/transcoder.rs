//! The whole chain from AAC to Opus.

use std::time::Duration;

use super::clock::{Placement, SampleClock};
use super::decoder::AacDecoder;
use super::encoder::{OpusConfig, OpusEncoder, PACKET_LEN};
use super::resampler::Resampler;
use super::{AudioError, OPUS_RATE, stretch};
use crate::{AudioCodec, AudioFrame, AudioTrack, MediaTime};

/// The time of one packet.
const PACKET_TIME: Duration = Duration::from_millis(20);

/// Turns a track's AAC into Opus: stereo, 48 kHz, packets of 20 ms.
///
/// Packets follow each other at exactly 20 ms, by a clock that counts samples. It follows drift of the
/// input's own times that lasts, inaudibly; only where they jump is it set anew: after a gap the times leave
/// the same gap, and audio that would lie before what was already put out is dropped. Packets are
/// stamped with the time at which their first sample is heard, so that the delays of resampler and
/// encoder do not move the audio against the video.
///
/// It is a few milliseconds of work for each second of sound; it belongs on a thread of its own.
pub struct OpusTranscoder {
    decoder: AacDecoder,
    resampler: Resampler,
    encoder: OpusEncoder,
    /// Times of the samples that go in; `None` before the first frame.
    clock: Option<SampleClock>,
    /// Samples at 48 kHz, interleaved, that do not fill a packet yet.
    pending: Vec<f32>,
    /// When the first of them is heard, or would be; `None` before the first frame.
    pending_pts: Option<MediaTime>,
    /// Samples per channel that are to be left out, since their time has passed.
    skip: usize,
    concealed: u64,
    /// Kept for its allocation.
    pcm: Vec<f32>,
}

impl OpusTranscoder {
    /// A transcoder for a track of AAC.
    ///
    /// # Errors
    /// When the track is not AAC, or of a kind that the decoder does not know, or `config` is out of
    /// range.
    pub fn new(track: &AudioTrack, config: &OpusConfig) -> Result<Self, AudioError> {
        if track.codec != AudioCodec::Aac {
            return Err(AudioError::UnsupportedCodec { codec: track.codec });
        }
        let decoder = AacDecoder::new(&track.config)?;
        Ok(Self {
            resampler: Resampler::new(decoder.format())?,
            decoder,
            encoder: OpusEncoder::new(config)?,
            clock: None,
            pending: Vec::new(),
            pending_pts: None,
            skip: 0,
            concealed: 0,
            pcm: Vec::new(),
        })
    }

    /// Takes access units of another configuration from now on. The packets go on without a break.
    ///
    /// # Errors
    /// As [`Self::new`]; nothing has changed then.
    pub fn set_track(&mut self, track: &AudioTrack) -> Result<(), AudioError> {
        if track.codec != AudioCodec::Aac {
            return Err(AudioError::UnsupportedCodec { codec: track.codec });
        }
        let decoder = AacDecoder::new(&track.config)?;
        let resampler = Resampler::new(decoder.format())?;
        (self.decoder, self.resampler, self.clock) = (decoder, resampler, None);
        Ok(())
    }

    /// Access units that could not be decoded so far, each replaced by silence.
    pub fn concealed(&self) -> u64 {
        self.concealed
    }

    /// Tells how many percent of the packets listeners lose, so that sound is coded to bear it.
    ///
    /// # Errors
    /// When the encoder refuses it, which is a fault of ours.
    pub fn set_packet_loss(&mut self, percent: u8) -> Result<(), AudioError> {
        self.encoder.set_packet_loss(percent)
    }

    /// Takes one access unit and appends the packets that it completes to `out`.
    ///
    /// # Errors
    /// [`AudioError::Decode`] when the access unit is broken: silence of its length has taken its
    /// place, and the transcoder goes on with the next one. Anything else is the end of it.
    pub fn push(
        &mut self,
        frame: &AudioFrame,
        out: &mut Vec<AudioFrame>,
    ) -> Result<(), AudioError> {
        let mut pcm = std::mem::take(&mut self.pcm);
        let (format, failure) = self.decoder.decode(&frame.data, &mut pcm);
        if format != self.resampler.format() {
            self.resampler = Resampler::new(format)?;
            self.clock = None;
        }
        let placement = match &mut self.clock {
            Some(clock) => clock.place(frame.pts),
            None => Placement::Elsewhere,
        };
        let stretch = match placement {
            Placement::Next(stretch) => stretch,
            Placement::Elsewhere => {
                self.clock = Some(self.anchor(frame.pts, out)?);
                0
            }
        };
        if let Some(clock) = &mut self.clock {
            clock.advance(format.samples);
        }
        self.resample(&pcm, stretch)?;
        self.pcm = pcm;
        while self.pending.len() >= PACKET_LEN {
            self.encode_packet(out)?;
        }
        match failure {
            None => Ok(()),
            Some(reason) => {
                self.concealed += 1;
                Err(AudioError::Decode { reason })
            }
        }
    }

    /// Sets the clock to a frame's own time, and finds the place of its sound in the output.
    fn anchor(
        &mut self,
        pts: MediaTime,
        out: &mut Vec<AudioFrame>,
    ) -> Result<SampleClock, AudioError> {
        self.resampler.reset();
        if !self.pending.is_empty() {
            self.pending.resize(PACKET_LEN, 0.0);
            self.encode_packet(out)?;
        }
        let delay = self.resampler.delay() + self.encoder.delay();
        let begin = pts - samples_to_time(delay);
        let end_of_output = self.pending_pts.unwrap_or(begin);
        let passed = end_of_output.saturating_since(begin);
        self.skip = time_to_samples(passed);
        self.pending_pts = Some(begin.max(end_of_output));
        Ok(SampleClock::new(pts, self.resampler.format().rate))
    }

    /// Appends a block to what is pending, at 48 kHz, longer by `stretch` samples than it is.
    fn resample(&mut self, block: &[f32], stretch: i64) -> Result<(), AudioError> {
        let start = self.pending.len();
        self.resampler.process(block, &mut self.pending)?;
        if stretch != 0 {
            stretch::apply(&mut self.pending, start, stretch);
        }
        let fresh = (self.pending.len() - start) / 2;
        let skipped = self.skip.min(fresh);
        self.pending.drain(start..start + skipped * 2);
        self.skip -= skipped;
        Ok(())
    }

    /// Encodes the first packet of what is pending.
    fn encode_packet(&mut self, out: &mut Vec<AudioFrame>) -> Result<(), AudioError> {
        let (Some(pts), Some(block)) = (self.pending_pts, self.pending.get(..PACKET_LEN)) else {
            return Ok(());
        };
        out.push(AudioFrame {
            codec: AudioCodec::Opus,
            pts,
            data: self.encoder.encode(block)?,
        });
        self.pending.drain(..PACKET_LEN);
        self.pending_pts = Some(pts + PACKET_TIME);
        Ok(())
    }
}

impl std::fmt::Debug for OpusTranscoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpusTranscoder")
            .field("clock", &self.clock)
            .field("pending_pts", &self.pending_pts)
            .field("concealed", &self.concealed)
            .finish_non_exhaustive()
    }
}

fn samples_to_time(samples: usize) -> Duration {
    let nanos = samples as u64 * 1_000_000_000 / u64::from(OPUS_RATE);
    Duration::from_nanos(nanos)
}

/// Rounded up: one sample more is left out rather than a time given twice.
fn time_to_samples(time: Duration) -> usize {
    let samples = (time.as_nanos() * u128::from(OPUS_RATE)).div_ceil(1_000_000_000);
    usize::try_from(samples).unwrap_or(usize::MAX)
}
