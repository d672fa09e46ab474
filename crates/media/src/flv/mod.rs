//! FLV, the syntax in which RTMP carries media (Adobe FLV specification version 10.1, annex E).
//!
//! An RTMP message of type 9 (video) or 8 (audio) has the body of an FLV tag as its payload:
//! [`FlvDemuxer`] turns such bodies into tracks and frames. [`FlvReader`] takes a whole file apart,
//! [`FlvStream`] one that comes piece by piece, and [`muxer`] makes bodies of tracks and frames again.

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

/// What a tag carries (`TagType`, and the RTMP message type of the same number).
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
    /// Its `TagType`.
    fn number(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }

    /// What the `TagType` stands for; `None` when it is unknown.
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

/// Why a tag's body could not be used. The publisher is at fault; the demuxer can go on with the
/// next tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlvError {
    /// Video in a coding that is not supported. Comes with every tag of the track.
    #[error("video is coded as {name}")]
    UnsupportedVideoCodec {
        /// The coding, for people; a FourCC as it came.
        name: Cow<'static, str>,
    },
    /// Audio in a coding that is not supported. Comes with every tag of the track.
    #[error("audio is coded as {name}")]
    UnsupportedAudioCodec {
        /// The coding, for people; a FourCC as it came.
        name: Cow<'static, str>,
    },
    /// The tag ends inside its header.
    #[error("the {tag} tag has {len} bytes only")]
    Truncated {
        /// What it should carry.
        tag: TagKind,
        /// Its length.
        len: usize,
    },
    /// A part of the tag is larger than any real one.
    #[error("the {tag} tag has a {structure} of {len} bytes, more than {limit}")]
    TooLarge {
        /// What it carries.
        tag: TagKind,
        /// Which part.
        structure: &'static str,
        /// Its length.
        len: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// `AVCPacketType` or `AACPacketType` has a value the specification does not know.
    #[error("the {tag} tag has the unknown packet type {packet_type}")]
    UnknownPacketType {
        /// What it should carry.
        tag: TagKind,
        /// The value.
        packet_type: u8,
    },
    /// Media came before the sequence header without which it cannot be read.
    #[error("{tag} came before its sequence header")]
    NoSequenceHeader {
        /// Which track.
        tag: TagKind,
    },
    /// A header of ADTS says that its frame is longer than the tag.
    #[error("an ADTS frame of {len} bytes does not fit its audio tag of {tag_len} bytes")]
    AdtsTooLong {
        /// The length in the header.
        len: usize,
        /// Bytes that there are.
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
    /// What comes as a frame of VP9 does not begin like one.
    #[error("a frame of {len} bytes is not VP9")]
    Vp9 {
        /// Its length.
        len: usize,
    },
    /// The AAC configuration inside is broken.
    #[error(transparent)]
    Aac(#[from] AacError),
}
