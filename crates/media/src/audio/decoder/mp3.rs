//! Decodes MP3 frames to samples.

use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia_bundle_mp3::MpaDecoder;
use symphonia_core::audio::{Audio, GenericAudioBufferRef};
use symphonia_core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration, Timestamp};

use super::PcmFormat;
use crate::AudioTrack;
use crate::audio::downmix::Downmix;
use crate::audio::error::AudioError;
use crate::mp3::Mp3Header;

/// Decodes MP3 to stereo.
///
/// The decoder gets bytes from the network, so it is not trusted: a panic inside it is handled as a
/// broken frame.
pub(in crate::audio) struct Mp3Decoder {
    decoder: MpaDecoder,
    /// The header of the last frame: the decoder is replaced when the rate or the channels change.
    header: Option<Mp3Header>,
    downmix: Downmix,
    format: PcmFormat,
}

impl Mp3Decoder {
    /// Returns a decoder for the frames of a track.
    pub(super) fn new(track: &AudioTrack) -> Result<Self, AudioError> {
        Ok(Self {
            decoder: decoder()?,
            header: None,
            downmix: Downmix::default(),
            // Until the first frame is decoded. MPEG-1 has the rates from 32 kHz on.
            format: PcmFormat {
                rate: track.sample_rate,
                samples: if track.sample_rate < 32_000 {
                    576
                } else {
                    1152
                },
            },
        })
    }

    pub(super) fn format(&self) -> PcmFormat {
        self.format
    }

    /// Decodes a frame to interleaved stereo samples in `pcm`, which is empty. If it cannot be
    /// decoded, `pcm` gets silence, and the reason is returned with the format.
    pub(super) fn decode(
        &mut self,
        frame: &[u8],
        pcm: &mut Vec<f32>,
    ) -> (PcmFormat, Option<String>) {
        let result = self.try_decode(frame, pcm);
        if result.is_err() {
            self.restart();
            pcm.clear();
        }
        pcm.resize(self.format.samples * 2, 0.0);
        (self.format, result.err())
    }

    fn try_decode(&mut self, frame: &[u8], pcm: &mut Vec<f32>) -> Result<(), String> {
        let header = Mp3Header::parse(frame).ok_or("it has no header of layer III")?;
        let has_changed = self.header.is_some_and(|last| {
            (last.sample_rate, last.channels, last.samples)
                != (header.sample_rate, header.channels, header.samples)
        });
        if has_changed {
            self.restart();
        }
        self.header = Some(header);
        self.format = PcmFormat {
            rate: header.sample_rate,
            samples: header.samples,
        };
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, frame);
        let (decoder, downmix) = (&mut self.decoder, &mut self.downmix);
        let decode = || match decoder.decode_ref(&packet) {
            Ok(GenericAudioBufferRef::F32(decoded)) => {
                let planes: Vec<&[f32]> = decoded.iter_planes().collect();
                downmix.select_count(header.channels);
                downmix.apply(&planes, decoded.frames(), pcm);
                Ok(())
            }
            Ok(_) => Err("the decoder returns no floating point samples".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        catch_unwind(AssertUnwindSafe(decode))
            .unwrap_or_else(|_| Err("the decoder panicked".to_owned()))
    }

    /// Replaces a decoder that has failed, or was used for another format.
    fn restart(&mut self) {
        self.header = None;
        // One could be made once, so it can be again.
        if let Ok(decoder) = decoder() {
            self.decoder = decoder;
        }
    }
}

fn decoder() -> Result<MpaDecoder, AudioError> {
    let mut parameters = AudioCodecParameters::new();
    parameters.for_codec(CODEC_ID_MP3);
    let mut options = AudioDecoderOptions::default();
    options.gapless = false;
    MpaDecoder::try_new(&parameters, &options).map_err(|error| AudioError::Internal {
        stage: "the MP3 decoder",
        reason: error.to_string(),
    })
}
