//! Transcodes audio to Opus.

use std::time::Duration;

use super::clock::OPUS_RATE;
use super::clock::{Placement, SampleClock};
use super::decoder::{Decoded, Decoder};
use super::encoder::{OpusConfig, OpusEncoder, PACKET_LEN};
use super::error::AudioError;
use super::resampler::Resampler;
use super::stretch;
use crate::{AudioCodec, AudioFrame, AudioTrack, MediaTime};

/// Duration of one packet.
const PACKET_TIME: Duration = Duration::from_millis(20);

/// Transcodes a track's AAC, MP3 or G.711 to Opus: stereo, 48 kHz, packets of 20 ms.
///
/// Packets follow each other at exactly 20 ms, by a clock that counts samples. It follows lasting
/// drift of the input's timestamps inaudibly, and is reset only if they jump: a gap in the input is
/// a gap in the output, and audio before the last output is dropped. A packet's timestamp is the
/// time of its first sample, so that the delays of resampler and encoder do not shift the audio
/// against the video.
///
/// A second of audio takes a few milliseconds of work, which should run on a separate thread.
pub struct OpusTranscoder {
    decoder: Decoder,
    resampler: Resampler,
    encoder: OpusEncoder,
    /// Clock of the input samples; `None` before the first frame.
    clock: Option<SampleClock>,
    /// Samples at 48 kHz, interleaved, that do not fill a packet yet.
    pending: Vec<f32>,
    /// Time of the first pending sample; `None` before the first frame.
    pending_pts: Option<MediaTime>,
    /// Samples per channel to drop, because their time has passed.
    skip: usize,
    concealed: u64,
    /// The loudest sample since it was taken; 1 is full scale.
    peak: f32,
    /// Kept for its allocation.
    pcm: Vec<f32>,
}

impl OpusTranscoder {
    /// Returns a transcoder for a track.
    ///
    /// # Errors
    /// When the track is Opus already, the decoder does not support its form of AAC, or `config` is
    /// out of range.
    pub fn new(track: &AudioTrack, config: &OpusConfig) -> Result<Self, AudioError> {
        let decoder = Decoder::new(track)?;
        Ok(Self {
            resampler: Resampler::new(decoder.format())?,
            decoder,
            encoder: OpusEncoder::new(config)?,
            clock: None,
            pending: Vec::new(),
            pending_pts: None,
            skip: 0,
            concealed: 0,
            peak: 0.0,
            pcm: Vec::new(),
        })
    }

    /// Changes the track of the frames from now on. The packets continue without a
    /// break.
    ///
    /// # Errors
    /// As [`Self::new`]; nothing has changed then.
    pub fn set_track(&mut self, track: &AudioTrack) -> Result<(), AudioError> {
        let decoder = Decoder::new(track)?;
        let resampler = Resampler::new(decoder.format())?;
        (self.decoder, self.resampler, self.clock) = (decoder, resampler, None);
        Ok(())
    }

    /// Returns the number of frames that could not be decoded, each replaced by silence.
    pub fn concealed(&self) -> u64 {
        self.concealed
    }

    /// Returns the loudest sample since the last call; 1 is full scale.
    pub fn take_peak(&mut self) -> f32 {
        std::mem::take(&mut self.peak)
    }

    /// Sets the packet loss of the listeners in percent, which the encoding compensates for.
    ///
    /// # Errors
    /// When the encoder refuses it, which is a bug.
    pub fn set_packet_loss(&mut self, percent: u8) -> Result<(), AudioError> {
        self.encoder.set_packet_loss(percent)
    }

    /// Transcodes one frame and appends the packets that it completes to `out`.
    ///
    /// # Errors
    /// [`AudioError::Decode`] when the frame is broken: it is replaced by silence, and the
    /// transcoder continues with the next one. After any other error the transcoder cannot be used.
    pub fn push(
        &mut self,
        frame: &AudioFrame,
        out: &mut Vec<AudioFrame>,
    ) -> Result<(), AudioError> {
        let mut pcm = std::mem::take(&mut self.pcm);
        let Decoded {
            format,
            lead,
            failure,
        } = self.decoder.decode(&frame.data, &mut pcm);
        if pcm.is_empty() {
            // The samples are held until they fill a block.
            self.pcm = pcm;
            return Ok(());
        }
        let lead =
            Duration::from_nanos(lead as u64 * 1_000_000_000 / u64::from(format.rate.max(1)));
        let pts = frame.pts - lead;
        if format != self.resampler.format() {
            self.resampler = Resampler::new(format)?;
            self.clock = None;
        }
        let placement = match &mut self.clock {
            Some(clock) => clock.place(pts),
            None => Placement::Elsewhere,
        };
        let stretch = match placement {
            Placement::Next(stretch) => stretch,
            Placement::Elsewhere => {
                self.clock = Some(self.anchor(pts, out)?);
                0
            }
        };
        if let Some(clock) = &mut self.clock {
            clock.advance(pcm.len() / 2);
        }
        let samples = pcm.iter();
        self.peak = samples.fold(self.peak, |peak, sample| peak.max(sample.abs()));
        for (n, block) in pcm.chunks(format.samples.max(1) * 2).enumerate() {
            self.resample(block, if n == 0 { stretch } else { 0 })?;
        }
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

    /// Anchors the clock at a frame's timestamp, and finds the position of its audio in the output.
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

    /// Resamples a block to 48 kHz, stretches it by `stretch` samples, and appends it to the
    /// pending samples.
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

    /// Encodes the first packet of the pending samples.
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

/// Rounds up: dropping one sample more is better than a repeated timestamp.
fn time_to_samples(time: Duration) -> usize {
    let samples = (time.as_nanos() * u128::from(OPUS_RATE)).div_ceil(1_000_000_000);
    usize::try_from(samples).unwrap_or(usize::MAX)
}
