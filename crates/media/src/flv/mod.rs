//! FLV, the syntax of media in RTMP (Adobe FLV specification version 10.1, annex E).
//!
//! An RTMP message of type 9 (video) or 8 (audio) has the body of an FLV tag as its payload:
//! [`FlvDemuxer`] turns such bodies into tracks and frames. [`FlvReader`] parses a whole file,
//! [`FlvStream`] one that arrives piece by piece, and [`muxer`] turns tracks and frames back into
//! bodies.

mod audio;
mod demuxer;
mod enhanced;
mod file;
pub mod muxer;
mod tag;
mod video;

use std::borrow::Cow;
use std::fmt;

use crate::aac::AacError;
use crate::av1::Av1Error;
use crate::h264::H264Error;
use crate::h265::H265Error;

pub use demuxer::{FlvDemuxer, FlvEvent, FlvEvents, OtherTrack};
pub use file::{FlvFileError, FlvReader};
pub use tag::{FlvStream, FlvStreamError, FlvTag, UnknownTagType, VIDEO_FILE_HEADER};

/// The type of a tag (`TagType`, and the RTMP message type of the same number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagKind {
    /// Type 8.
    Audio,
    /// Type 9.
    Video,
    /// Type 18: metadata as AMF0.
    Script,
}

impl TagKind {
    /// Returns its `TagType`.
    fn number(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }

    /// Returns the kind of a `TagType`, or `None` if it is unknown.
    fn of_number(number: u8) -> Option<Self> {
        let mut all = [Self::Audio, Self::Video, Self::Script].into_iter();
        all.find(|kind| kind.number() == number)
    }
}

impl fmt::Display for TagKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Script => "script",
        })
    }
}

/// The error of a tag's body. The publisher is at fault; the demuxer can continue with the next
/// tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlvError {
    /// The video codec is not supported. Returned for every tag of the track.
    #[error("video is encoded as {name}, which is not supported")]
    UnsupportedVideoCodec {
        /// The codec, for display; a FourCC as received.
        name: Cow<'static, str>,
    },
    /// The audio codec is not supported. Returned for every tag of the track.
    #[error("audio is encoded as {name}, which is not supported")]
    UnsupportedAudioCodec {
        /// The codec, for display; a FourCC as received.
        name: Cow<'static, str>,
    },
    /// The tag ends inside its header.
    #[error("the {tag} tag has only {len} bytes")]
    Truncated {
        /// The kind of tag.
        tag: TagKind,
        /// Its length.
        len: usize,
    },
    /// A part of the tag is larger than any real one.
    #[error("the {tag} tag has a {structure} of {len} bytes, more than {limit}")]
    TooLarge {
        /// The kind of tag.
        tag: TagKind,
        /// The part.
        structure: &'static str,
        /// Its length.
        len: usize,
        /// The maximum.
        limit: usize,
    },
    /// `AVCPacketType` or `AACPacketType` has a value that the specification does not define.
    #[error("the {tag} tag has the unknown packet type {packet_type}")]
    UnknownPacketType {
        /// The kind of tag.
        tag: TagKind,
        /// The value.
        packet_type: u8,
    },
    /// Media arrived before the sequence header that is needed to parse it.
    #[error("{tag} arrived before its sequence header")]
    NoSequenceHeader {
        /// The track.
        tag: TagKind,
    },
    /// A header of ADTS declares a frame that is longer than the tag.
    #[error("an ADTS frame of {len} bytes does not fit its audio tag of {tag_len} bytes")]
    AdtsTooLong {
        /// The length in the header.
        len: usize,
        /// The length of the tag.
        tag_len: usize,
    },
    /// The H264 inside is broken.
    #[error(transparent)]
    H264(#[from] H264Error),
    /// The H265 inside is broken.
    #[error(transparent)]
    H265(#[from] H265Error),
    /// The AV1 inside is broken.
    #[error(transparent)]
    Av1(#[from] Av1Error),
    /// A frame of VP9 does not start like one.
    #[error("a frame of {len} bytes is not VP9")]
    Vp9 {
        /// Its length.
        len: usize,
    },
    /// The AAC configuration inside is broken.
    #[error(transparent)]
    Aac(#[from] AacError),
}
