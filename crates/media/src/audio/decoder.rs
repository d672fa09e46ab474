//! Decodes audio frames to samples.
//!
//! * [`Decoder`]: the decoder of a track.
//! * `aac`, `mp3`, `g711`: those of the codecs.

mod aac;
mod g711;
mod mp3;

use aac::AacDecoder;
use g711::G711Decoder;
use mp3::Mp3Decoder;

use super::error::AudioError;
use crate::{AudioCodec, AudioTrack};

/// The format of decoded sample blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PcmFormat {
    /// Samples per second and channel.
    pub(super) rate: u32,
    /// Samples per channel in a block.
    pub(super) samples: usize,
}

/// The result of decoding a frame.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The format of the samples: whole blocks.
    pub(super) format: PcmFormat,
    /// Samples per channel before those of the frame, which were held since the frames before.
    pub(super) lead: usize,
    /// The reason why the frame is replaced by silence.
    pub(super) failure: Option<String>,
}

/// Decodes the frames of a track to stereo.
pub(super) enum Decoder {
    Aac(Box<AacDecoder>),
    Mp3(Box<Mp3Decoder>),
    G711(G711Decoder),
}

impl Decoder {
    /// Returns a decoder for a track.
    pub(super) fn new(track: &AudioTrack) -> Result<Self, AudioError> {
        Ok(match track.codec {
            AudioCodec::Aac => Self::Aac(Box::new(AacDecoder::new(&track.config)?)),
            AudioCodec::Mp3 => Self::Mp3(Box::new(Mp3Decoder::new(track)?)),
            AudioCodec::G711ALaw | AudioCodec::G711MuLaw => Self::G711(G711Decoder::new(track)),
            codec @ AudioCodec::Opus => return Err(AudioError::UnsupportedCodec { codec }),
        })
    }

    /// Returns the format of the last block, or that of the track before the first.
    pub(super) fn format(&self) -> PcmFormat {
        match self {
            Self::Aac(decoder) => decoder.format(),
            Self::Mp3(decoder) => decoder.format(),
            Self::G711(decoder) => decoder.format(),
        }
    }

    /// Decodes a frame to interleaved stereo samples, which replace the content of `pcm`: blocks of
    /// the format. A frame that cannot be decoded becomes silence of the length of the previous
    /// block.
    pub(super) fn decode(&mut self, frame: &[u8], pcm: &mut Vec<f32>) -> Decoded {
        pcm.clear();
        let (format, failure) = match self {
            Self::Aac(decoder) => decoder.decode(frame, pcm),
            Self::Mp3(decoder) => decoder.decode(frame, pcm),
            Self::G711(decoder) => return decoder.decode(frame, pcm),
        };
        Decoded {
            format,
            lead: 0,
            failure,
        }
    }
}
