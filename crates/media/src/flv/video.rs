//! The header of a video tag's body (Adobe FLV specification version 10.1, annex E.4.3.1).

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::enhanced::{self, ExPacket};
use super::error::FlvError;
use super::tag_kind::TagKind;
use crate::VideoCodec;

/// `CodecID` of AVC.
const AVC: u8 = 7;

/// The unofficial codec id of H265, with the packets of AVC, which Chinese encoders and cameras
/// send.
const HEVC: u8 = 12;

/// `FrameType` of a tag that carries a command for the player and no frame.
const COMMAND_FRAME: u8 = 5;

/// The first bit of a body of Enhanced RTMP: a FourCC names the codec.
const IS_EX_HEADER: u8 = 0x80;

/// `VideoPacketType`s that audio does not have.
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;

/// The content of a video tag for one track.
///
/// ```text
/// +------------+----------+----------------+-------------------+------------------
/// | frame type | codec id | AVC packet     | composition time  | configuration
/// |   4 bits   |  4 bits  | type, 8 bits   | 24 bits, signed   | or NAL units
/// +------------+----------+----------------+-------------------+------------------
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VideoTag {
    /// A decoder configuration: for H264 an `AVCDecoderConfigurationRecord`.
    SequenceHeader { codec: VideoCodec, config: Bytes },
    /// A frame: for H264 and H265 length-prefixed NAL units.
    Frame {
        codec: VideoCodec,
        composition: CompositionTime,
        data: Bytes,
    },
    /// No frame: empty, a command, or the end of a sequence.
    Nothing,
}

/// `CompositionTime`: presentation time minus decoding time.
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

/// Returns whether the body has the enhanced form, see [`super::enhanced`].
pub(super) fn is_enhanced(body: &[u8]) -> bool {
    body.first().is_some_and(|first| first & IS_EX_HEADER != 0)
}

/// Returns whether a body of the enhanced form is a command for the player, without a frame.
pub(super) fn is_command(body: &[u8]) -> bool {
    let Some(first) = body.first() else {
        return true;
    };
    frame_type(*first) == COMMAND_FRAME && first & 0x0F != METADATA
}

/// Returns the frame type of the enhanced form: one bit less.
fn frame_type(first: u8) -> u8 {
    first >> 4 & 0b111
}

impl VideoTag {
    /// Parses one track's part of an enhanced tag.
    pub(super) fn from_enhanced(packet: ExPacket) -> Result<Self, FlvError> {
        let codec = match &packet.codec {
            b"avc1" => VideoCodec::H264,
            b"hvc1" | b"hev1" => VideoCodec::H265,
            b"av01" => VideoCodec::Av1,
            b"vp09" => VideoCodec::Vp9,
            _ => {
                let name = Cow::Owned(enhanced::codec_name(packet.codec));
                return Err(FlvError::UnsupportedVideoCodec { name });
            }
        };
        let mut data = packet.body;
        let mut composition = CompositionTime { millis: 0 };
        match packet.packet_type {
            enhanced::SEQUENCE_START => {
                return Ok(Self::SequenceHeader {
                    codec,
                    config: data,
                });
            }
            enhanced::CODED_FRAMES if matches!(codec, VideoCodec::H264 | VideoCodec::H265) => {
                let len = data.len();
                let truncated = |_| FlvError::Truncated {
                    tag: TagKind::Video,
                    len,
                };
                let unsigned = data.try_get_uint(3).map_err(truncated)? as u32;
                composition.millis = (unsigned << 8).cast_signed() >> 8;
            }
            enhanced::CODED_FRAMES | CODED_FRAMES_X => {}
            enhanced::SEQUENCE_END | METADATA => return Ok(Self::Nothing),
            packet_type => {
                return Err(FlvError::UnknownPacketType {
                    tag: TagKind::Video,
                    packet_type,
                });
            }
        }
        if data.is_empty() {
            return Ok(Self::Nothing);
        }
        Ok(Self::Frame {
            codec,
            composition,
            data,
        })
    }

    /// Parses a legacy tag, with a numeric codec id.
    pub(super) fn parse(mut body: Bytes) -> Result<Self, FlvError> {
        let Some(&first) = body.first() else {
            return Ok(Self::Nothing);
        };
        if first >> 4 == COMMAND_FRAME {
            return Ok(Self::Nothing);
        }
        let codec = match first & 0x0f {
            AVC => VideoCodec::H264,
            HEVC => VideoCodec::H265,
            other => {
                let name = Cow::Borrowed(codec_name(other));
                return Err(FlvError::UnsupportedVideoCodec { name });
            }
        };
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
            // ffmpeg sends an empty header when it copies a stream and learns its configuration
            // later.
            0 | 1 if data.is_empty() => Ok(Self::Nothing),
            0 => Ok(Self::SequenceHeader {
                codec,
                config: data,
            }),
            1 => Ok(Self::Frame {
                codec,
                composition: CompositionTime { millis },
                data,
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
            let VideoTag::Frame {
                composition, data, ..
            } = VideoTag::parse(body.into()).unwrap()
            else {
                panic!("an access unit")
            };
            assert_eq!(composition.millis, millis);
            assert_eq!(*data, [9, 9]);
            let shown = composition.add_to(MediaTime::from_millis(1000));
            assert_eq!(shown, MediaTime::from_millis(1000 + i64::from(millis)));
        }
    }

    #[test]
    fn tags_without_a_frame_are_empty() {
        for body in [
            &[][..],
            &[0x57, 0],
            &[0x17, 2, 0, 0, 0],
            &[0x17, 2],
            &[0x17, 0, 0, 0, 0],
        ] {
            assert_eq!(parse(body).unwrap(), VideoTag::Nothing, "{body:?}");
        }
    }

    #[test]
    fn other_codecs_are_refused_by_name() {
        assert_eq!(
            parse(&[0x12, 1]).unwrap_err().to_string(),
            "video is encoded as Sorenson H.263, which is not supported"
        );
    }

    fn parse_enhanced(body: &'static [u8]) -> Result<VideoTag, FlvError> {
        let tag = enhanced::ExTag::parse(TagKind::Video, Bytes::from_static(body))?;
        let packets: Vec<_> = tag.collect::<Result<_, _>>()?;
        VideoTag::from_enhanced(packets[0].clone())
    }

    #[test]
    fn enhanced_tags_name_the_codec_by_its_four_cc() {
        let frame = |codec, millis, data: &'static [u8]| VideoTag::Frame {
            codec,
            composition: CompositionTime { millis },
            data: Bytes::from_static(data),
        };
        assert_eq!(
            parse_enhanced(b"\x90hvc1config").unwrap(),
            VideoTag::SequenceHeader {
                codec: VideoCodec::H265,
                config: Bytes::from_static(b"config")
            }
        );
        for (body, expected) in [
            (
                &b"\x91avc1\xff\xff\xd8ab"[..],
                frame(VideoCodec::H264, -40, b"ab"),
            ),
            (b"\xa1hvc1\0\0\x28ab", frame(VideoCodec::H265, 40, b"ab")),
            (b"\xa3hvc1ab", frame(VideoCodec::H265, 0, b"ab")),
            (b"\x91av01ab", frame(VideoCodec::Av1, 0, b"ab")),
            (b"\xa1vp09ab", frame(VideoCodec::Vp9, 0, b"ab")),
            (b"\x92avc1", VideoTag::Nothing),
            (b"\x94hvc1\x02\0\x09colorInfo", VideoTag::Nothing),
        ] {
            assert_eq!(parse_enhanced(body).unwrap(), expected, "{body:?}");
        }
        let unknown = parse_enhanced(b"\x90vvc1\0").unwrap_err().to_string();
        assert_eq!(unknown, "video is encoded as vvc1, which is not supported");
        let garbage = parse_enhanced(b"\x90\xff\n\0\0").unwrap_err().to_string();
        assert_eq!(
            garbage,
            "video is encoded as \\xff\\n\\x00\\x00, which is not supported"
        );
        assert!(matches!(
            parse_enhanced(b"\x91avc1\0"),
            Err(FlvError::Truncated { .. })
        ));
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

    #[test]
    fn h265_is_read_in_its_unofficial_forms() {
        let header = |config: &'static [u8]| VideoTag::SequenceHeader {
            codec: VideoCodec::H265,
            config: Bytes::from_static(config),
        };
        assert_eq!(parse(b"\x1c\0\0\0\0config").unwrap(), header(b"config"));
        assert_eq!(
            parse_enhanced(b"\x90hev1config").unwrap(),
            header(b"config")
        );
        let VideoTag::Frame {
            codec,
            composition,
            data,
        } = parse(b"\x2c\x01\0\0\x28ab").unwrap()
        else {
            panic!("it is a frame");
        };
        assert_eq!((codec, composition.millis), (VideoCodec::H265, 40));
        assert_eq!(data, b"ab"[..]);
    }
}
