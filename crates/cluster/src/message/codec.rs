//! The numbers of codecs.

use distributary_media::{AudioCodec, VideoCodec};

use super::error::MessageError;

/// The byte of a codec that this version has no number for. Nodes refuse its frames.
const OTHER_CODEC: u8 = u8::MAX;

pub(super) fn video_codec_byte(codec: VideoCodec) -> u8 {
    match codec {
        VideoCodec::H264 => 0,
        VideoCodec::H265 => 1,
        VideoCodec::Av1 => 2,
        VideoCodec::Vp9 => 3,
        _ => OTHER_CODEC,
    }
}

pub(crate) fn video_codec(byte: u8) -> Result<VideoCodec, MessageError> {
    match byte {
        0 => Ok(VideoCodec::H264),
        1 => Ok(VideoCodec::H265),
        2 => Ok(VideoCodec::Av1),
        3 => Ok(VideoCodec::Vp9),
        _ => Err(MessageError::Undefined("video codec")),
    }
}

pub(super) fn audio_codec_byte(codec: AudioCodec) -> u8 {
    match codec {
        AudioCodec::Aac => 0,
        AudioCodec::Opus => 1,
        AudioCodec::Mp3 => 2,
        AudioCodec::G711ALaw => 3,
        AudioCodec::G711MuLaw => 4,
        _ => OTHER_CODEC,
    }
}

pub(crate) fn audio_codec(byte: u8) -> Result<AudioCodec, MessageError> {
    match byte {
        0 => Ok(AudioCodec::Aac),
        1 => Ok(AudioCodec::Opus),
        2 => Ok(AudioCodec::Mp3),
        3 => Ok(AudioCodec::G711ALaw),
        4 => Ok(AudioCodec::G711MuLaw),
        _ => Err(MessageError::Undefined("audio codec")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_is_read_as_it_was_written() {
        for codec in [
            AudioCodec::Aac,
            AudioCodec::Opus,
            AudioCodec::Mp3,
            AudioCodec::G711ALaw,
            AudioCodec::G711MuLaw,
        ] {
            assert_eq!(audio_codec(audio_codec_byte(codec)).unwrap(), codec);
        }
        for codec in [
            VideoCodec::H264,
            VideoCodec::H265,
            VideoCodec::Av1,
            VideoCodec::Vp9,
        ] {
            assert_eq!(video_codec(video_codec_byte(codec)).unwrap(), codec);
        }
        assert!(audio_codec(OTHER_CODEC).is_err());
        assert!(video_codec(OTHER_CODEC).is_err());
    }
}
