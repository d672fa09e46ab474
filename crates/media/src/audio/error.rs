//! Errors of transcoding audio.

use crate::aac::AacError;
use crate::track::AudioCodec;

/// The error of transcoding audio.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The codec of the track needs no transcoding, or does not support it.
    #[error("{codec} cannot be transcoded to Opus")]
    UnsupportedCodec {
        /// The track's codec.
        codec: AudioCodec,
    },
    /// The AAC configuration is broken.
    #[error(transparent)]
    Config(#[from] AacError),
    /// The decoder does not support this form of AAC.
    #[error("{coding} is not supported: {reason}")]
    UnsupportedAac {
        /// The name of the codec.
        coding: &'static str,
        /// The error of the decoder.
        reason: String,
    },
    /// An option of the encoder is out of range.
    #[error("the Opus bitrate is {bitrate} bit/s; it must be from {min} to {max}")]
    Bitrate {
        /// The requested bitrate.
        bitrate: u32,
        /// The minimum.
        min: u32,
        /// The maximum.
        max: u32,
    },
    /// An option of the encoder is out of range.
    #[error("the Opus complexity is {complexity}; it must be from 0 to {max}")]
    Complexity {
        /// The requested complexity.
        complexity: u8,
        /// The maximum.
        max: u8,
    },
    /// A frame could not be decoded, and is replaced by silence.
    #[error("an audio frame could not be decoded: {reason}")]
    Decode {
        /// The error of the decoder.
        reason: String,
    },
    /// The resampler or the encoder failed. The fault is ours, not the publisher's.
    #[error("{stage} failed: {reason}")]
    Internal {
        /// The part that failed.
        stage: &'static str,
        /// Its error.
        reason: String,
    },
}
