//! Everything of a message but its body.

use distributary_media::{Frame, FrameInfo, MediaTime};

use super::codec::{audio_codec_byte, video_codec_byte};

/// The content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A video frame.
    Video,
    /// An audio frame.
    Audio,
    /// Timed data, as JSON.
    Data,
    /// The tracks and the publisher, as JSON.
    Tracks,
    /// A sign of life.
    Tick,
    /// The end of the stream, with the reason as one byte.
    End,
    /// The end of the answer to a request to join, with the number of the next part of the live
    /// stream; the decoding time is that of the newest frame.
    Joined,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Video,
        Self::Audio,
        Self::Data,
        Self::Tracks,
        Self::Tick,
        Self::End,
        Self::Joined,
    ];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// Everything of a message but its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The content.
    pub kind: Kind,
    /// True if decoding of video can start here.
    pub keyframe: bool,
    /// The codec, as in the table.
    pub codec: u8,
    /// Facts about a video frame.
    pub info: FrameInfo,
    /// The epoch in which its sender owns the stream.
    pub epoch: u64,
    /// Decoding time on the owner's timeline.
    pub dts: MediaTime,
    /// Presentation time.
    pub pts: MediaTime,
    /// Time since the frame arrived at the owner, in microseconds.
    pub age: u32,
}

impl Header {
    /// Returns the header of a message that is not a frame.
    pub fn new(kind: Kind, epoch: u64) -> Self {
        Self {
            kind,
            keyframe: false,
            codec: 0,
            info: FrameInfo::default(),
            epoch,
            dts: MediaTime::ZERO,
            pts: MediaTime::ZERO,
            age: 0,
        }
    }

    /// Returns the header of a frame that arrived `age` microseconds ago.
    pub fn of_frame(frame: &Frame, epoch: u64, age: u32) -> Self {
        let (kind, codec, pts, info) = match frame {
            Frame::Video(video) => {
                let codec = video_codec_byte(video.codec);
                (Kind::Video, codec, video.pts, video.info)
            }
            Frame::Audio(audio) => {
                let codec = audio_codec_byte(audio.codec);
                (Kind::Audio, codec, audio.pts, FrameInfo::default())
            }
        };
        Self {
            kind,
            keyframe: frame.is_keyframe(),
            codec,
            info,
            epoch,
            dts: frame.dts(),
            pts,
            age,
        }
    }
}
