//! Resamples any rate to 48 kHz.

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, Fft, FixedAsync, FixedSync, SincInterpolationParameters, WindowFunction};

use super::clock::OPUS_RATE;
use super::decoder::PcmFormat;
use super::error::AudioError;

/// Maximum block of input samples, for the shortest whole ratio to 48 kHz, of the FFT resampler; it
/// determines the delay. The rates of AAC need at most 147.
const MAX_RATIO_BLOCK: u32 = 1024;

/// Length of the filter for rates without a short ratio, in samples.
const SINC_LEN: usize = 128;

const STEREO: usize = 2;

/// Resamples blocks of one format to 48 kHz stereo.
pub(super) struct Resampler {
    format: PcmFormat,
    /// `None` if the input already has 48 kHz.
    inner: Option<Box<dyn rubato::Resampler<f32>>>,
    buffer: Vec<f32>,
}

impl Resampler {
    pub(super) fn new(format: PcmFormat) -> Result<Self, AudioError> {
        let inner = (format.rate != OPUS_RATE)
            .then(|| build(format))
            .transpose()?;
        let capacity = inner
            .as_ref()
            .map_or(0, |inner| inner.output_frames_max() * STEREO);
        Ok(Self {
            format,
            inner,
            buffer: vec![0.0; capacity],
        })
    }

    /// Returns its input format.
    pub(super) fn format(&self) -> PcmFormat {
        self.format
    }

    /// Returns the delay, in samples at 48 kHz.
    pub(super) fn delay(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.output_delay())
    }

    /// Drops all buffered input.
    pub(super) fn reset(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset();
        }
    }

    /// Resamples one block of interleaved stereo and appends it to `out`.
    pub(super) fn process(&mut self, block: &[f32], out: &mut Vec<f32>) -> Result<(), AudioError> {
        let Some(inner) = &mut self.inner else {
            out.extend_from_slice(block);
            return Ok(());
        };
        let room = self.buffer.len() / STEREO;
        let input = InterleavedSlice::new(block, STEREO, block.len() / STEREO).map_err(internal)?;
        let mut output =
            InterleavedSlice::new_mut(&mut self.buffer, STEREO, room).map_err(internal)?;
        let (_, written) = inner
            .process_into_buffer(&input, &mut output, None)
            .map_err(internal)?;
        out.extend_from_slice(self.buffer.get(..written * STEREO).unwrap_or_default());
        Ok(())
    }
}

fn build(format: PcmFormat) -> Result<Box<dyn rubato::Resampler<f32>>, AudioError> {
    let PcmFormat { rate, samples } = format;
    if rate / gcd(rate, OPUS_RATE) <= MAX_RATIO_BLOCK {
        let (rate, output) = (rate as usize, OPUS_RATE as usize);
        let fft = Fft::new(rate, output, samples, STEREO, FixedSync::Input).map_err(internal)?;
        return Ok(Box::new(fft));
    }
    let ratio = f64::from(OPUS_RATE) / f64::from(rate);
    let parameters = SincInterpolationParameters::new(SINC_LEN, WindowFunction::BlackmanHarris2);
    let sinc = Async::new_sinc(ratio, 1.0, &parameters, samples, STEREO, FixedAsync::Input)
        .map_err(internal)?;
    Ok(Box::new(sinc))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn internal(error: impl std::fmt::Display) -> AudioError {
    AudioError::Internal {
        stage: "the resampler",
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resamples a second of a tone at `rate` in blocks of 1024.
    fn resample(rate: u32, hertz: f32) -> (Vec<f32>, usize) {
        let mut resampler = Resampler::new(PcmFormat {
            rate,
            samples: 1024,
        })
        .unwrap();
        let step = std::f32::consts::TAU * hertz / rate as f32;
        let tone: Vec<f32> = (0..rate)
            .flat_map(|n| [(n as f32 * step).sin() * 0.5, (n as f32 * step).cos() * 0.5])
            .collect();
        let mut out = Vec::new();
        for block in tone.chunks_exact(1024 * STEREO) {
            resampler.process(block, &mut out).unwrap();
        }
        (out, resampler.delay())
    }

    #[test]
    fn tone_is_unchanged_and_delayed_as_declared() {
        // Rates of AAC, 48 kHz itself, and one without a short ratio.
        for rate in [44_100, 22_050, 32_000, 96_000, 8_000, 48_000, 44_101] {
            let (out, delay) = resample(rate, 440.0);
            let step = std::f32::consts::TAU * 440.0 / OPUS_RATE as f32;
            for n in (5_000..40_000).step_by(97) {
                let phase = (n as f32 - delay as f32) * step;
                let (left, right) = (out[n * 2], out[n * 2 + 1]);
                // A delay between two samples is rounded: half a sample of 440 Hz is 0.015.
                assert!(
                    (left - phase.sin() * 0.5).abs() < 0.03,
                    "{rate} Hz, sample {n}"
                );
                assert!(
                    (right - phase.cos() * 0.5).abs() < 0.03,
                    "{rate} Hz, sample {n}"
                );
            }
        }
    }

    #[test]
    fn delay_is_short() {
        for rate in [44_100, 48_000, 44_101] {
            let format = PcmFormat {
                rate,
                samples: 1024,
            };
            let delay = Resampler::new(format).unwrap().delay();
            assert!(delay <= 240, "{delay} samples at {rate} Hz");
        }
    }
}
