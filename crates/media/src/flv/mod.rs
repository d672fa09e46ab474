//! FLV, the syntax of media in RTMP (Adobe FLV specification version 10.1, annex E).
//!
//! An RTMP message of type 9 (video) or 8 (audio) has the body of an FLV tag as its payload:
//! [`FlvDemuxer`] turns such bodies into tracks and frames. [`FlvReader`] parses a whole file,
//! [`FlvStream`] one that arrives piece by piece, and [`muxer`] turns tracks and frames back into
//! bodies.

mod audio;
mod demuxer;
mod enhanced;
mod error;
mod file;
pub mod muxer;
mod tag;
mod tag_kind;
mod video;

pub use demuxer::{FlvDemuxer, FlvEvent, FlvEvents, FurtherVideo, MAX_FURTHER_VIDEO, OtherTrack};
pub use error::FlvError;
pub use file::{FlvFileError, FlvReader};
pub use tag::{FlvStream, FlvStreamError, FlvTag, UnknownTagType, VIDEO_FILE_HEADER};
pub use tag_kind::TagKind;
