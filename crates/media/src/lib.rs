//! The vocabulary of media in Distributary, shared by every other crate.
//!
//! This crate knows no socket, no clock and no runtime: bytes and times in, frames out.
//!
//! * [`time`]: [`MediaTime`], a point on a stream's own timeline.
//! * [`frame`]: [`Frame`], one coded picture or one coded block of sound.
//! * [`track`]: [`VideoTrack`] and [`AudioTrack`], what a decoder must know before the first frame.

pub mod frame;
pub mod time;
pub mod track;

pub use frame::{AudioFrame, Frame, VideoFrame};
pub use time::MediaTime;
pub use track::{AudioCodec, AudioTrack, VideoCodec, VideoTrack};
