//! The vocabulary of media in Distributary, shared by every other crate.
//!
//! This crate knows no socket, no clock and no runtime: bytes and times in, frames out.
//!
//! * [`time`]: [`MediaTime`], a point on a stream's own timeline.
//! * [`frame`]: [`Frame`], one coded picture or one coded block of sound.
//! * [`data`]: [`TimedData`], what is said about a stream at a moment of it.
//! * [`track`]: [`VideoTrack`] and [`AudioTrack`], what a decoder must know before the first frame.
//! * [`flv`]: [`FlvDemuxer`], from the payloads of RTMP messages to tracks and frames.
//! * [`h264`]: NAL units, parameter sets, and what WebRTC receivers need of an access unit.
//! * [`h265`], [`av1`], [`vp9`]: the same of other codecs.
//! * [`aac`]: the configuration of AAC; `adts`: a framing of it.
//! * [`audio`]: [`OpusTranscoder`], from AAC to Opus.
//! * [`bits`]: the bit reader under both.

pub mod aac;
mod adts;
pub mod audio;
pub mod av1;
pub mod bits;
pub mod data;
pub mod flv;
pub mod frame;
pub mod h264;
pub mod h265;
#[cfg(test)]
mod test_util;
pub mod time;
pub mod track;
pub mod vp9;

pub use audio::{AudioError, OpusApplication, OpusConfig, OpusTranscoder};
pub use data::TimedData;
pub use flv::{FlvDemuxer, FlvError, FlvEvent, FlvReader};
pub use frame::{AudioFrame, Frame, LONG_GOP, VideoFrame};
pub use time::MediaTime;
pub use track::{AudioCodec, AudioTrack, VideoCodec, VideoTrack};
