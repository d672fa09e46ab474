//! Audio for WebRTC: AAC, MP3 and G.711 are decoded, resampled to 48 kHz stereo, and encoded as
//! Opus.
//!
//! ```text
//! audio frame ─► decoder ─► downmix ─► resampler ─► 20 ms blocks ─► encoder ─► Opus packet
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
mod error;
pub mod packet;
mod resampler;
mod stretch;
pub mod transcoder;

pub use clock::OPUS_RATE;
pub use encoder::{OpusApplication, OpusConfig};
pub use error::AudioError;
pub use transcoder::OpusTranscoder;
