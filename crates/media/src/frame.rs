//! Coded media, one unit of time at a time.

use bytes::Bytes;

use crate::h264::{NalType, nal, sei};
use crate::time::MediaTime;
use crate::track::{AudioCodec, VideoCodec};

/// One coded picture or one coded block of sound.
///
/// Payloads are slices of the buffer that was read from the network: cloning a frame copies no media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A coded picture.
    Video(VideoFrame),
    /// A coded block of sound.
    Audio(AudioFrame),
}

impl Frame {
    /// The time at which the frame is decoded: frames of a track arrive in this order.
    pub fn dts(&self) -> MediaTime {
        match self {
            Self::Video(frame) => frame.dts,
            Self::Audio(frame) => frame.pts,
        }
    }

    /// Whether decoding of the picture can start here. Sound can start anywhere, so this is `false`
    /// for audio.
    pub fn is_keyframe(&self) -> bool {
        matches!(self, Self::Video(frame) if frame.keyframe)
    }

    /// Whether decoding can start here with pictures that are right after a while; `false` for audio.
    pub fn is_recovery_point(&self) -> bool {
        matches!(self, Self::Video(frame) if frame.is_recovery_point())
    }

    /// Bytes of coded media, without any framing.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Video(frame) => frame.units.iter().map(Bytes::len).sum(),
            Self::Audio(frame) => frame.data.len(),
        }
    }
}

/// One coded picture: an access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFrame {
    /// The coding.
    pub codec: VideoCodec,
    /// When the picture is shown.
    pub pts: MediaTime,
    /// When the picture is decoded.
    pub dts: MediaTime,
    /// Whether a decoder can start with this picture: an IDR picture of H264, an IRAP picture of H265 or
    /// a keyframe of AV1, which then begin with their parameter sets or sequence header, or a keyframe
    /// of VP9.
    pub keyframe: bool,
    /// H264 and H265: the NAL units in decoding order, without start codes or length prefixes, none
    /// of them empty. AV1: the OBUs in the low-overhead form, in one piece or more, each of whole OBUs.
    /// VP9: the frame as one unit.
    pub units: Vec<Bytes>,
}

impl VideoFrame {
    /// Whether no other picture refers to it, so that it can be left out: of H264, when all its slices
    /// say so. Of other codings it is not known.
    pub fn is_disposable(&self) -> bool {
        let units = self.units.iter();
        let mut slices = units
            .filter(|unit| self.codec == VideoCodec::H264 && NalType::of(unit).is_slice())
            .peekable();
        slices.peek().is_some() && !slices.any(|unit| nal::is_reference(unit))
    }

    /// Whether a decoder that begins here, and is no keyframe, shows right pictures after a while: of H264,
    /// when it has a recovery point.
    pub fn is_recovery_point(&self) -> bool {
        let mut units = self.units.iter();
        self.codec == VideoCodec::H264
            && !self.keyframe
            && units.any(|unit| NalType::of(unit) == NalType::SEI && sei::has_recovery_point(unit))
    }
}

/// One coded block of sound: an AAC access unit or an Opus packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFrame {
    /// The coding.
    pub codec: AudioCodec,
    /// When its first sample is heard.
    pub pts: MediaTime,
    /// The coded bytes.
    pub data: Bytes,
}
