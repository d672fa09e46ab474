//! Errors of tags.

use std::borrow::Cow;

use super::tag_kind::TagKind;
use crate::aac::AacError;
use crate::av1::Av1Error;
use crate::h264::H264Error;
use crate::h265::H265Error;

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
    /// The tag has more tracks than any real one.
    #[error("the {tag} tag has more than {limit} tracks")]
    TooManyTracks {
        /// The kind of tag.
        tag: TagKind,
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
    /// An audio tag does not start with a frame of MP3.
    #[error("an audio tag of {len} bytes has no whole MP3 frame at its begin")]
    Mp3 {
        /// The length of its data.
        len: usize,
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
