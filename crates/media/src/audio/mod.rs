//! Sound for WebRTC: AAC is decoded, brought to 48 kHz stereo, and encoded as Opus.
//!
//! ```text
//! AAC access unit ─► decoder ─► downmix ─► resampler ─► 20 ms blocks ─► encoder ─► Opus packet
//!                                                          │
//!                                              sample clock: times of the packets
//! ```
//!
//! * [`transcoder`]: [`OpusTranscoder`], the whole chain.
//! * `decoder`, `downmix`, `resampler`, `stretch`, `clock`, `encoder`: its parts.

mod clock;
mod decoder;
mod downmix;
mod encoder;
pub mod packet;
mod resampler;
mod stretch;
pub mod transcoder;

use crate::aac::AacError;
use crate::track::AudioCodec;

pub use encoder::{OpusApplication, OpusConfig};
pub use transcoder::OpusTranscoder;

/// Samples per second of Opus' clock, whatever it codes (RFC 7587 section 4.1).
pub const OPUS_RATE: u32 = 48_000;

/// Why sound could not be transcoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The track is coded as something that needs or knows no transcoding.
    #[error("{codec} cannot be transcoded to Opus")]
    UnsupportedCodec {
        /// The track's coding.
        codec: AudioCodec,
    },
    /// The AAC configuration is broken.
    #[error(transparent)]
    Config(#[from] AacError),
    /// The configuration asks for a form of AAC that the decoder does not know.
    #[error("{coding} is not supported: {reason}")]
    UnsupportedAac {
        /// The name of the coding.
        coding: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// An option of the encoder is out of range.
    #[error("the Opus bitrate is {bitrate} bit/s; it must be from {min} to {max}")]
    Bitrate {
        /// The bitrate that was asked for.
        bitrate: u32,
        /// The least that is accepted.
        min: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// An option of the encoder is out of range.
    #[error("the effort of the Opus encoder is {complexity}; it must be from 0 to {max}")]
    Complexity {
        /// The effort that was asked for.
        complexity: u8,
        /// The most that is accepted.
        max: u8,
    },
    /// An access unit could not be decoded; silence has taken its place.
    #[error("an AAC frame could not be decoded: {reason}")]
    Decode {
        /// What the decoder says.
        reason: String,
    },
    /// The resampler or the encoder failed. The fault is ours, not the publisher's.
    #[error("{stage} failed: {reason}")]
    Internal {
        /// Which part failed.
        stage: &'static str,
        /// What it says.
        reason: String,
    },
}
