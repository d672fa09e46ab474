//! The header of an audio tag's body (Adobe FLV specification version 10.1, annex E.4.2.1).

use std::borrow::Cow;

use bytes::Bytes;

use super::enhanced::{self, ExPacket};
use super::error::FlvError;
use super::tag_kind::TagKind;
use crate::AudioCodec;

/// `SoundFormat` of AAC.
pub(super) const AAC: u8 = 10;

/// `SoundFormat` of MP3, and of MP3 at 8 kHz, a rate that the header cannot express.
pub(super) const MP3: u8 = 2;
pub(super) const MP3_8_KHZ: u8 = 14;

/// `SoundFormat` of G.711 with A-law, and with mu-law.
pub(super) const G711_A_LAW: u8 = 7;
pub(super) const G711_MU_LAW: u8 = 8;

/// `SoundFormat` of a body of Enhanced RTMP: a FourCC names the codec.
const EX_HEADER: u8 = 9;

/// `AudioPacketType` of a channel mapping, which the codecs contain too.
const MULTICHANNEL_CONFIG: u8 = 4;

/// The content of an audio tag for one track.
///
/// ```text
/// +--------------+------+------+------+-----------------+---------------------
/// | sound format | rate | size | type | AAC packet type | AudioSpecificConfig
/// |    4 bits    |  2   |  1   |  1   |     8 bits      | or an access unit
/// +--------------+------+------+------+-----------------+---------------------
/// ```
///
/// AAC packet type and configuration are those of AAC alone. Rate, size and type are ignored for AAC
/// and MP3, which have them inside; for G.711, the type is the number of channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AudioTag {
    /// A decoder configuration: an `AudioSpecificConfig`, or the identification header of Opus.
    SequenceHeader { codec: AudioCodec, config: Bytes },
    /// A raw access unit of AAC, a packet of Opus, or frames of MP3.
    Block { codec: AudioCodec, data: Bytes },
    /// Samples of a codec that has neither configuration nor headers.
    Samples {
        codec: AudioCodec,
        channels: u8,
        data: Bytes,
    },
    /// An empty tag.
    Nothing,
}

/// Returns whether the body has the enhanced form, see [`super::enhanced`].
pub(super) fn is_enhanced(body: &[u8]) -> bool {
    body.first().is_some_and(|first| first >> 4 == EX_HEADER)
}

impl AudioTag {
    /// Parses one track's part of an enhanced tag.
    pub(super) fn from_enhanced(packet: ExPacket) -> Result<Self, FlvError> {
        let codec = match &packet.codec {
            b"Opus" => AudioCodec::Opus,
            b"mp4a" => AudioCodec::Aac,
            b".mp3" => AudioCodec::Mp3,
            _ => {
                let name = Cow::Owned(enhanced::codec_name(packet.codec));
                return Err(FlvError::UnsupportedAudioCodec { name });
            }
        };
        let data = packet.body;
        match packet.packet_type {
            enhanced::SEQUENCE_START => Ok(Self::SequenceHeader {
                codec,
                config: data,
            }),
            enhanced::CODED_FRAMES if data.is_empty() => Ok(Self::Nothing),
            enhanced::CODED_FRAMES => Ok(Self::Block { codec, data }),
            enhanced::SEQUENCE_END | MULTICHANNEL_CONFIG => Ok(Self::Nothing),
            packet_type => Err(FlvError::UnknownPacketType {
                tag: TagKind::Audio,
                packet_type,
            }),
        }
    }

    /// Parses a legacy tag, with a numeric codec id.
    pub(super) fn parse(mut body: Bytes) -> Result<Self, FlvError> {
        let Some(&first) = body.first() else {
            return Ok(Self::Nothing);
        };
        let codec = match first >> 4 {
            AAC => return Self::aac(body),
            MP3 | MP3_8_KHZ => AudioCodec::Mp3,
            G711_A_LAW => AudioCodec::G711ALaw,
            G711_MU_LAW => AudioCodec::G711MuLaw,
            format => {
                let name = Cow::Borrowed(format_name(format));
                return Err(FlvError::UnsupportedAudioCodec { name });
            }
        };
        let data = body.split_off(1);
        Ok(match codec {
            _ if data.is_empty() => Self::Nothing,
            AudioCodec::Mp3 => Self::Block { codec, data },
            codec => Self::Samples {
                codec,
                channels: 1 + (first & 1),
                data,
            },
        })
    }

    /// Parses a tag with AAC.
    fn aac(mut body: Bytes) -> Result<Self, FlvError> {
        let Some(&packet_type) = body.get(1) else {
            let len = body.len();
            return Err(FlvError::Truncated {
                tag: TagKind::Audio,
                len,
            });
        };
        let data = body.split_off(2);
        match packet_type {
            // ffmpeg sends an empty header when it copies a stream and learns its configuration
            // later.
            0 | 1 if data.is_empty() => Ok(Self::Nothing),
            0 => Ok(Self::SequenceHeader {
                codec: AudioCodec::Aac,
                config: data,
            }),
            1 => Ok(Self::Block {
                codec: AudioCodec::Aac,
                data,
            }),
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
        4..=6 => "Nellymoser",
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
    fn sequence_headers_and_access_units_are_distinguished() {
        let header = AudioTag::SequenceHeader {
            codec: AudioCodec::Aac,
            config: Bytes::from_static(&[0x11, 0x90]),
        };
        assert_eq!(parse(&[0xaf, 0, 0x11, 0x90]).unwrap(), header);
        let block = AudioTag::Block {
            codec: AudioCodec::Aac,
            data: Bytes::from_static(&[0x21]),
        };
        assert_eq!(parse(&[0xaf, 1, 0x21]).unwrap(), block);
        for empty in [&[][..], &[0xaf, 0], &[0xaf, 1]] {
            assert_eq!(parse(empty).unwrap(), AudioTag::Nothing);
        }
    }

    #[test]
    fn codecs_without_sequence_header_are_their_data() {
        for first in [0x2f, 0xe0] {
            let block = AudioTag::Block {
                codec: AudioCodec::Mp3,
                data: Bytes::from_static(b"ab"),
            };
            assert_eq!(
                AudioTag::parse(vec![first, b'a', b'b'].into()).unwrap(),
                block
            );
        }
        for (first, codec, channels) in [
            (0x72, AudioCodec::G711ALaw, 1),
            (0x83, AudioCodec::G711MuLaw, 2),
        ] {
            let samples = AudioTag::Samples {
                codec,
                channels,
                data: Bytes::from_static(b"ab"),
            };
            assert_eq!(
                AudioTag::parse(vec![first, b'a', b'b'].into()).unwrap(),
                samples
            );
            assert_eq!(
                AudioTag::parse(vec![first].into()).unwrap(),
                AudioTag::Nothing
            );
        }
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        assert_eq!(
            parse(&[0xb2, 0xff]).unwrap_err().to_string(),
            "audio is encoded as Speex, which is not supported"
        );
    }

    fn parse_enhanced(body: &'static [u8]) -> Result<AudioTag, FlvError> {
        let tag = enhanced::ExTag::parse(TagKind::Audio, Bytes::from_static(body))?;
        let packets: Vec<_> = tag.collect::<Result<_, _>>()?;
        AudioTag::from_enhanced(packets[0].clone())
    }

    #[test]
    fn enhanced_tags_name_the_codec_by_its_four_cc() {
        assert_eq!(
            parse_enhanced(b"\x90OpusOpusHead").unwrap(),
            AudioTag::SequenceHeader {
                codec: AudioCodec::Opus,
                config: Bytes::from_static(b"OpusHead")
            }
        );
        assert_eq!(
            parse_enhanced(b"\x91mp4aab").unwrap(),
            AudioTag::Block {
                codec: AudioCodec::Aac,
                data: Bytes::from_static(b"ab")
            }
        );
        for body in [&b"\x91Opus"[..], b"\x92Opus", b"\x94Opus\x01\x02"] {
            assert_eq!(parse_enhanced(body).unwrap(), AudioTag::Nothing);
        }
        let other = parse_enhanced(b"\x90fLaC\0").unwrap_err().to_string();
        assert_eq!(other, "audio is encoded as fLaC, which is not supported");
        assert!(matches!(
            parse_enhanced(b"\x93Opus"),
            Err(FlvError::UnknownPacketType { packet_type: 3, .. })
        ));
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
