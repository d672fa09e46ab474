//! Frames, tracks and times of media, and the syntax of codecs and containers.
//!
//! This crate uses no socket, no clock and no runtime: bytes and times in, frames out.
//!
//! * [`time`]: [`MediaTime`], a point on a stream's own timeline, and nanoseconds of clocks.
//! * [`frame`]: [`Frame`], one encoded video or audio frame.
//! * [`inspector`]: [`FrameInspector`], which finds out what a video frame is; [`b_frames`]: the
//!   verdict on the B-frames of its stream.
//! * [`data`]: [`TimedData`], metadata at a time of a stream.
//! * [`track`]: [`VideoTrack`] and [`AudioTrack`], the decoder configuration before the first
//!   frame.
//! * [`flv`]: [`FlvDemuxer`], which turns payloads of RTMP messages into tracks and frames.
//! * [`h264`]: NAL units, parameter sets, and access units as WebRTC receivers need them.
//! * [`h265`], [`av1`], [`vp9`]: the same for other codecs.
//! * [`aac`]: the configuration of AAC; `adts`: ADTS framing; `mp3`: frames of MP3.
//! * [`audio`]: [`OpusTranscoder`], which transcodes AAC, MP3 and G.711 to Opus.
//! * [`codec_string`]: names of codecs for browsers.
//! * [`bits`]: the bit reader of all parsers.

pub mod aac;
mod access_unit;
mod adts;
pub mod audio;
pub mod av1;
pub mod b_frames;
pub mod bits;
pub mod codec_string;
pub mod data;
pub mod flv;
pub mod frame;
pub mod h264;
pub mod h265;
pub mod inspector;
mod mp3;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
pub mod time;
pub mod track;
pub mod vp9;

pub use audio::{AudioError, OpusApplication, OpusConfig, OpusTranscoder};
pub use b_frames::{BFrameVerdict, BFrames};
pub use data::TimedData;
pub use flv::{FlvDemuxer, FlvError, FlvEvent, FlvReader};
pub use frame::{AudioFrame, Frame, FrameInfo, VideoFrame};
pub use inspector::FrameInspector;
pub use time::{MediaTime, nanos, nanos_between};
pub use track::{AudioCodec, AudioTrack, VideoCodec, VideoTrack};
