//! Decodes AAC access units to samples.

use std::panic::{AssertUnwindSafe, catch_unwind};

use syom::{DecodeOptions, Decoder, Frame};

use super::PcmFormat;
use crate::aac::AudioSpecificConfig;
use crate::audio::downmix::Downmix;
use crate::audio::error::AudioError;

/// Maximum size of an access unit: 6144 bits for each of eight channels
/// (ISO/IEC 14496-3 section 4.5.3.2), and as much again for fill elements.
const MAX_ACCESS_UNIT: usize = 12 << 10;

/// Decodes AAC-LC, HE-AAC v1 and v2 to stereo.
///
/// The decoder gets bytes from the network, so it is not trusted: a panic inside it is handled as a
/// broken access unit.
pub(in crate::audio) struct AacDecoder {
    decoder: Decoder,
    config: Vec<u8>,
    downmix: Downmix,
    format: PcmFormat,
}

impl AacDecoder {
    /// Returns a decoder for the access units of this `AudioSpecificConfig`.
    pub(super) fn new(config: &[u8]) -> Result<Self, AudioError> {
        let parsed = AudioSpecificConfig::parse(config)?;
        let decoder = Decoder::from_asc(config, DecodeOptions::unbounded()).map_err(|error| {
            AudioError::UnsupportedAac {
                coding: parsed.name(),
                reason: error.to_string(),
            }
        })?;
        let sbr_factor = parsed
            .sample_rate()
            .div_ceil(parsed.core_sample_rate)
            .min(2);
        Ok(Self {
            decoder,
            config: config.to_vec(),
            downmix: Downmix::default(),
            // Until the first block is decoded.
            format: PcmFormat {
                rate: parsed.sample_rate(),
                samples: usize::from(parsed.frame_length) * sbr_factor as usize,
            },
        })
    }

    /// Returns the format of the last block, or that of the configuration before the first.
    pub(super) fn format(&self) -> PcmFormat {
        self.format
    }

    /// Decodes an access unit to interleaved stereo samples in `pcm`, which is empty. If it cannot be
    /// decoded, `pcm` gets silence of the length of the previous block, and the reason is returned
    /// with the format.
    pub(super) fn decode(
        &mut self,
        unit: &[u8],
        pcm: &mut Vec<f32>,
    ) -> (PcmFormat, Option<String>) {
        let result = if unit.len() > MAX_ACCESS_UNIT {
            Err(format!(
                "it has {} bytes, more than {MAX_ACCESS_UNIT}",
                unit.len()
            ))
        } else {
            self.try_decode(unit, pcm)
        };
        if result.is_err() {
            self.restart();
            pcm.clear();
        }
        if pcm.is_empty() {
            // This includes an access unit without any channel, which is legal.
            pcm.resize(self.format.samples * 2, 0.0);
        }
        (self.format, result.err())
    }

    fn try_decode(&mut self, unit: &[u8], pcm: &mut Vec<f32>) -> Result<(), String> {
        let Self {
            decoder,
            downmix,
            format,
            ..
        } = self;
        let on_frame = |frame: Frame<'_>| {
            *format = PcmFormat {
                rate: frame.sample_rate,
                samples: frame.samples,
            };
            downmix.select(frame.meta.channels);
            downmix.apply(frame.planar, frame.samples, pcm);
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(|| decoder.decode_au(unit, on_frame))) {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err("the decoder panicked".to_owned()),
        }
    }

    /// Replaces a decoder that has failed.
    fn restart(&mut self) {
        // The configuration was accepted once, so it is again.
        if let Ok(decoder) = Decoder::from_asc(&self.config, DecodeOptions::unbounded()) {
            self.decoder = decoder;
        }
    }
}
