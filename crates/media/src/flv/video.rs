//! The header of a video tag's body (Adobe FLV specification version 10.1, annex E.4.3.1).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::{FlvError, TagKind};

/// `CodecID` of AVC.
const AVC: u8 = 7;

/// `FrameType` of a tag that carries a command for the player and no picture.
const COMMAND_FRAME: u8 = 5;

/// The first bit of a body in the form of Enhanced RTMP: a FourCC names the codec.
const IS_EX_HEADER: u8 = 0x80;

/// What the body of a video tag is.
///
/// ```text
/// +------------+----------+----------------+-------------------+------------------
/// | frame type | codec id | AVC packet     | composition time  | configuration
/// |   4 bits   |  4 bits  | type, 8 bits   | 24 bits, signed   | or NAL units
/// +------------+----------+----------------+-------------------+------------------
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VideoTag {
    /// An `AVCDecoderConfigurationRecord`.
    AvcSequenceHeader(Bytes),
    /// An access unit, each NAL unit with its length in front.
    AvcAccessUnit {
        composition: CompositionTime,
        units: Bytes,
    },
    /// Nothing to be shown: empty, a command, the end of a sequence.
    Nothing,
}

/// `CompositionTime`: presentation time less decoding time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompositionTime {
    pub(super) millis: i32,
}

impl CompositionTime {
    pub(super) fn add_to(self, time: crate::MediaTime) -> crate::MediaTime {
        let distance = Duration::from_millis(u64::from(self.millis.unsigned_abs()));
        if self.millis < 0 {
            time - distance
        } else {
            time + distance
        }
    }
}

impl VideoTag {
    pub(super) fn parse(mut body: Bytes) -> Result<Self, FlvError> {
        let Some(&first) = body.first() else {
            return Ok(Self::Nothing);
        };
        if first & IS_EX_HEADER != 0 {
            let four_cc = body
                .get(1..5)
                .unwrap_or_default()
                .escape_ascii()
                .to_string();
            let name = Cow::Owned(four_cc);
            return Err(FlvError::UnsupportedVideoCodec { name });
        }
        if first >> 4 == COMMAND_FRAME {
            return Ok(Self::Nothing);
        }
        let codec = first & 0x0f;
        if codec != AVC {
            let name = Cow::Borrowed(codec_name(codec));
            return Err(FlvError::UnsupportedVideoCodec { name });
        }
        let len = body.len();
        let truncated = FlvError::Truncated {
            tag: TagKind::Video,
            len,
        };
        let Some(&packet_type) = body.get(1) else {
            return Err(truncated);
        };
        if packet_type == 2 {
            return Ok(Self::Nothing);
        }
        let Some(&[high, middle, low]) = body.get(2..5) else {
            return Err(truncated);
        };
        let millis = i32::from_be_bytes([high, middle, low, 0]) >> 8;
        let data = body.split_off(5);
        match packet_type {
            0 => Ok(Self::AvcSequenceHeader(data)),
            1 => Ok(Self::AvcAccessUnit {
                composition: CompositionTime { millis },
                units: data,
            }),
            packet_type => Err(FlvError::UnknownPacketType {
                tag: TagKind::Video,
                packet_type,
            }),
        }
    }
}

fn codec_name(codec: u8) -> &'static str {
    match codec {
        1 => "JPEG",
        2 => "Sorenson H.263",
        3 => "Screen video",
        4 => "On2 VP6",
        5 => "On2 VP6 with alpha channel",
        6 => "Screen video version 2",
        12 => "H265 in the unofficial form (codec id 12)",
        _ => "an unknown codec id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaTime;

    fn parse(body: &'static [u8]) -> Result<VideoTag, FlvError> {
        VideoTag::parse(Bytes::from_static(body))
    }

    #[test]
    fn composition_time_is_signed() {
        for (bytes, millis) in [
            ([0, 0, 40], 40),
            ([0xff, 0xff, 0xd8], -40),
            ([0x80, 0, 0], -8_388_608),
        ] {
            let body = [&[0x27, 1][..], &bytes, &[9, 9]].concat();
            let VideoTag::AvcAccessUnit { composition, units } =
                VideoTag::parse(body.into()).unwrap()
            else {
                panic!("an access unit")
            };
            assert_eq!(composition.millis, millis);
            assert_eq!(*units, [9, 9]);
            let shown = composition.add_to(MediaTime::from_millis(1000));
            assert_eq!(shown, MediaTime::from_millis(1000 + i64::from(millis)));
        }
    }

    #[test]
    fn tags_without_a_picture_are_nothing() {
        for body in [&[][..], &[0x57, 0], &[0x17, 2, 0, 0, 0], &[0x17, 2]] {
            assert_eq!(parse(body).unwrap(), VideoTag::Nothing, "{body:?}");
        }
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        assert_eq!(
            parse(&[0x12, 1]).unwrap_err().to_string(),
            "video is coded as Sorenson H.263"
        );
        let enhanced = parse(b"\x90hvc1\0").unwrap_err().to_string();
        assert_eq!(enhanced, "video is coded as hvc1");
        let garbage = parse(b"\x90\xff\n").unwrap_err().to_string();
        assert_eq!(garbage, "video is coded as ");
    }

    #[test]
    fn truncated_headers_and_unknown_packet_types_are_errors() {
        for body in [&[0x17][..], &[0x17, 0], &[0x17, 1, 0, 0]] {
            assert!(
                matches!(parse(body), Err(FlvError::Truncated { .. })),
                "{body:?}"
            );
        }
        let unknown = parse(&[0x17, 3, 0, 0, 0]);
        assert!(matches!(
            unknown,
            Err(FlvError::UnknownPacketType { packet_type: 3, .. })
        ));
    }
}
