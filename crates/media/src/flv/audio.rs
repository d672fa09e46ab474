//! The header of an audio tag's body (Adobe FLV specification version 10.1, annex E.4.2.1).

use std::borrow::Cow;

use bytes::Bytes;

use super::{FlvError, TagKind};

/// `SoundFormat` of AAC.
const AAC: u8 = 10;

/// `SoundFormat` of a body in the form of Enhanced RTMP: a FourCC names the codec.
const EX_HEADER: u8 = 9;

/// What the body of an audio tag is.
///
/// ```text
/// +--------------+------+------+------+-----------------+---------------------
/// | sound format | rate | size | type | AAC packet type | AudioSpecificConfig
/// |    4 bits    |  2   |  1   |  1   |     8 bits      | or an access unit
/// +--------------+------+------+------+-----------------+---------------------
/// ```
///
/// For AAC, rate, size and type say nothing: the configuration does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AudioTag {
    /// An `AudioSpecificConfig`.
    AacSequenceHeader(Bytes),
    /// A raw access unit.
    AacAccessUnit(Bytes),
    /// Nothing to be heard: an empty tag.
    Nothing,
}

impl AudioTag {
    pub(super) fn parse(mut body: Bytes) -> Result<Self, FlvError> {
        let Some(&first) = body.first() else {
            return Ok(Self::Nothing);
        };
        let format = first >> 4;
        if format == EX_HEADER {
            let four_cc = body
                .get(1..5)
                .unwrap_or_default()
                .escape_ascii()
                .to_string();
            let name = Cow::Owned(four_cc);
            return Err(FlvError::UnsupportedAudioCodec { name });
        }
        if format != AAC {
            let name = Cow::Borrowed(format_name(format));
            return Err(FlvError::UnsupportedAudioCodec { name });
        }
        let Some(&packet_type) = body.get(1) else {
            let len = body.len();
            return Err(FlvError::Truncated {
                tag: TagKind::Audio,
                len,
            });
        };
        let data = body.split_off(2);
        match packet_type {
            0 => Ok(Self::AacSequenceHeader(data)),
            1 if data.is_empty() => Ok(Self::Nothing),
            1 => Ok(Self::AacAccessUnit(data)),
            packet_type => Err(FlvError::UnknownPacketType {
                tag: TagKind::Audio,
                packet_type,
            }),
        }
    }
}

fn format_name(format: u8) -> &'static str {
    match format {
        0 | 3 => "uncompressed PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 => "G.711 A-law",
        8 => "G.711 mu-law",
        11 => "Speex",
        13 => "Opus in the unofficial form (sound format 13)",
        _ => "an unknown sound format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &'static [u8]) -> Result<AudioTag, FlvError> {
        AudioTag::parse(Bytes::from_static(body))
    }

    #[test]
    fn sequence_headers_and_access_units_are_told_apart() {
        let header = AudioTag::AacSequenceHeader(Bytes::from_static(&[0x11, 0x90]));
        assert_eq!(parse(&[0xaf, 0, 0x11, 0x90]).unwrap(), header);
        let unit = AudioTag::AacAccessUnit(Bytes::from_static(&[0x21]));
        assert_eq!(parse(&[0xaf, 1, 0x21]).unwrap(), unit);
        assert_eq!(parse(&[0xaf, 1]).unwrap(), AudioTag::Nothing);
        assert_eq!(parse(&[]).unwrap(), AudioTag::Nothing);
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        assert_eq!(
            parse(&[0x2f, 0xff]).unwrap_err().to_string(),
            "audio is coded as MP3"
        );
        let enhanced = parse(b"\x90Opus").unwrap_err().to_string();
        assert_eq!(enhanced, "audio is coded as Opus");
    }

    #[test]
    fn truncated_headers_and_unknown_packet_types_are_errors() {
        assert!(matches!(
            parse(&[0xaf]),
            Err(FlvError::Truncated { len: 1, .. })
        ));
        let unknown = parse(&[0xaf, 2]);
        assert!(matches!(
            unknown,
            Err(FlvError::UnknownPacketType { packet_type: 2, .. })
        ));
    }
}
