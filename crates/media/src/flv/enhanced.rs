//! The tag header of Enhanced RTMP, version 2: a FourCC names the codec.
//!
//! Audio and video tags have the same form but for a few numbers
//! (<https://veovera.org/docs/enhanced/enhanced-rtmp-v2>, "Enhanced Audio" and "Enhanced Video"):
//!
//! ```text
//! flags (4 bits)  packet type (4 bits)
//! while the packet type is ModEx:
//!     size - 1 (8 bits; 255 and then 16 bits for more)  data  kind (4 bits)  packet type (4 bits)
//! unless the packet type is Multitrack:
//!     FourCC  body
//! else:
//!     multitrack type (4 bits)  packet type (4 bits)  FourCC, unless each track has its own
//!     for each track:
//!         FourCC, if each track has its own
//!         track id (8 bits)  size (24 bits), unless there is one track only  body
//! ```

use bytes::{Buf, Bytes};

use super::error::FlvError;
use super::tag_kind::TagKind;

/// The codec of a track.
pub(super) type FourCc = [u8; 4];

/// Packet types that audio and video share.
pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
pub(super) const SEQUENCE_END: u8 = 2;
const MOD_EX: u8 = 7;

/// `VideoPacketType.Multitrack` and `AudioPacketType.Multitrack`.
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;

/// Multitrack types: one track, many of one codec, many of several codecs.
const ONE_TRACK: u8 = 0;
const MANY_TRACKS: u8 = 1;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// Maximum ModEx of a tag: there is one kind.
const MAX_MOD_EX: usize = 16;

/// The kind of ModEx that carries nanoseconds to be added to the tag's time.
const TIMESTAMP_OFFSET_NANO: u8 = 0;

/// A tag in the enhanced form: the packets of one or more tracks.
#[derive(Debug)]
pub(super) struct ExTag {
    kind: TagKind,
    /// Offset to the tag's time, in nanoseconds; below a millisecond.
    pub(super) nanos: u32,
    tracks: Tracks,
    packet_type: u8,
    rest: Bytes,
}

/// The form in which a tag has its tracks.
#[derive(Clone, Copy, Debug)]
enum Tracks {
    Single(FourCc),
    One(FourCc),
    Many(FourCc),
    ManyCodecs,
    /// All of them are parsed.
    End,
}

/// The content of a tag for one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExPacket {
    /// The track; 0 if there is only one.
    pub(super) track: u8,
    pub(super) codec: FourCc,
    pub(super) packet_type: u8,
    pub(super) body: Bytes,
}

impl ExTag {
    /// Parses the header up to the first track. `body` is that of the whole tag.
    pub(super) fn parse(kind: TagKind, body: Bytes) -> Result<Self, FlvError> {
        let len = body.len();
        Self::read(kind, body).ok_or(FlvError::Truncated { tag: kind, len })
    }

    fn read(kind: TagKind, mut rest: Bytes) -> Option<Self> {
        let mut packet_type = rest.try_get_u8().ok()? & 0x0F;
        let mut nanos = 0;
        // Behind too many of them, the type is one that no packet has.
        for _ in 0..MAX_MOD_EX {
            if packet_type != MOD_EX {
                break;
            }
            let mut size = usize::from(rest.try_get_u8().ok()?) + 1;
            if size == 256 {
                size = usize::from(rest.try_get_u16().ok()?) + 1;
            }
            let mut data = take(&mut rest, size)?;
            let types = rest.try_get_u8().ok()?;
            packet_type = types & 0x0F;
            if types >> 4 == TIMESTAMP_OFFSET_NANO
                && let Ok(offset) = data.try_get_uint(3)
            {
                nanos = (offset as u32).min(999_999);
            }
        }
        let multitrack = match kind {
            TagKind::Video => VIDEO_MULTITRACK,
            _ => AUDIO_MULTITRACK,
        };
        let tracks = if packet_type == multitrack {
            let types = rest.try_get_u8().ok()?;
            packet_type = types & 0x0F;
            match types >> 4 {
                ONE_TRACK => Tracks::One(four_cc(&mut rest)?),
                MANY_TRACKS => Tracks::Many(four_cc(&mut rest)?),
                MANY_TRACKS_MANY_CODECS => Tracks::ManyCodecs,
                _ => Tracks::End,
            }
        } else {
            Tracks::Single(four_cc(&mut rest)?)
        };
        Some(Self {
            kind,
            nanos,
            tracks,
            packet_type,
            rest,
        })
    }

    /// Returns the next track's packet. The inner value is `None` if the packet is truncated.
    fn next_packet(&mut self) -> Option<ExPacket> {
        let rest = &mut self.rest;
        let (codec, track, body) = match self.tracks {
            Tracks::Single(codec) => (codec, 0, std::mem::take(rest)),
            Tracks::One(codec) => (codec, rest.try_get_u8().ok()?, std::mem::take(rest)),
            Tracks::Many(codec) => {
                let track = rest.try_get_u8().ok()?;
                let size = rest.try_get_uint(3).ok()? as usize;
                (codec, track, take(rest, size)?)
            }
            Tracks::ManyCodecs => {
                let codec = four_cc(rest)?;
                let track = rest.try_get_u8().ok()?;
                let size = rest.try_get_uint(3).ok()? as usize;
                (codec, track, take(rest, size)?)
            }
            Tracks::End => return None,
        };
        if self.rest.is_empty() {
            self.tracks = Tracks::End;
        }
        Some(ExPacket {
            track,
            codec,
            packet_type: self.packet_type,
            body,
        })
    }
}

impl Iterator for ExTag {
    type Item = Result<ExPacket, FlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.tracks, Tracks::End) {
            return None;
        }
        let len = self.rest.len();
        let packet = self.next_packet();
        if packet.is_none() {
            self.tracks = Tracks::End;
        }
        Some(packet.ok_or(FlvError::Truncated {
            tag: self.kind,
            len,
        }))
    }
}

/// Returns a FourCC as text for display.
pub(super) fn codec_name(codec: FourCc) -> String {
    codec.escape_ascii().to_string()
}

fn four_cc(rest: &mut Bytes) -> Option<FourCc> {
    let mut codec = [0; 4];
    rest.try_copy_to_slice(&mut codec).ok()?;
    Some(codec)
}

fn take(rest: &mut Bytes, size: usize) -> Option<Bytes> {
    (size <= rest.len()).then(|| rest.split_to(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(kind: TagKind, body: &'static [u8]) -> Result<Vec<ExPacket>, FlvError> {
        ExTag::parse(kind, Bytes::from_static(body))?.collect()
    }

    fn packet(track: u8, codec: &FourCc, packet_type: u8, body: &'static [u8]) -> ExPacket {
        ExPacket {
            track,
            codec: *codec,
            packet_type,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn tag_without_multitrack_is_track_0() {
        assert_eq!(
            packets(TagKind::Video, b"\x91hvc1\0\0\x05data"),
            Ok(vec![packet(0, b"hvc1", 1, b"\0\0\x05data")])
        );
        assert_eq!(
            packets(TagKind::Audio, b"\x90OpusOpusHead"),
            Ok(vec![packet(0, b"Opus", 0, b"OpusHead")])
        );
        assert_eq!(
            packets(TagKind::Audio, b"\x92Opus"),
            Ok(vec![packet(0, b"Opus", 2, b"")])
        );
    }

    #[test]
    fn each_kind_of_multitrack_is_parsed() {
        assert_eq!(
            packets(TagKind::Video, b"\x96\x01avc1\x07data"),
            Ok(vec![packet(7, b"avc1", 1, b"data")])
        );
        assert_eq!(
            packets(TagKind::Video, b"\x96\x13av01\0\0\0\x02ab\x01\0\0\x01c"),
            Ok(vec![
                packet(0, b"av01", 3, b"ab"),
                packet(1, b"av01", 3, b"c")
            ])
        );
        assert_eq!(
            packets(TagKind::Audio, b"\x95\x21Opus\0\0\0\x02abmp4a\x05\0\0\x01c"),
            Ok(vec![
                packet(0, b"Opus", 1, b"ab"),
                packet(5, b"mp4a", 1, b"c")
            ])
        );
        assert_eq!(packets(TagKind::Video, b"\x96\xF1avc1\x07data"), Ok(vec![]));
    }

    #[test]
    fn nanoseconds_are_parsed_from_a_mod_ex() {
        let tag = |body: &'static [u8]| ExTag::parse(TagKind::Video, Bytes::from_static(body));
        // 3 bytes of data, kind 0, then coded frames.
        let found = tag(b"\x97\x02\x01\x00\x00\x01avc1data").unwrap();
        assert_eq!((found.nanos, found.packet_type), (65_536, 1));
        // An unknown kind is skipped, and the size may have 16 bits.
        let mut body = vec![0x97, 0xFF, 0x01, 0x00];
        body.extend([9; 257]);
        body.extend(b"\x31avc1data");
        let found = ExTag::parse(TagKind::Video, body.into()).unwrap();
        assert_eq!((found.nanos, found.packet_type), (0, 1));
        assert_eq!(tag(b"\x97\x02\xFF\xFF\xFF\x01avc1").unwrap().nanos, 999_999);
    }

    /// Each costs time, and three bytes are enough for one.
    #[test]
    fn number_of_mod_ex_is_limited() {
        let tag = |count| {
            let body = [
                &[0x97][..],
                &[0, 0, 0x17].repeat(count - 1),
                b"\0\0\x11avc1",
            ]
            .concat();
            ExTag::parse(TagKind::Video, body.into()).unwrap()
        };
        assert_eq!(tag(MAX_MOD_EX).packet_type, 1);
        assert_eq!(tag(MAX_MOD_EX + 1).packet_type, MOD_EX);
    }

    #[test]
    fn truncated_tags_are_errors() {
        for body in [
            &b"\x91avc"[..],
            b"\x97",
            b"\x97\x02\x01",
            b"\x97\xff\x01",
            b"\x96",
            b"\x96\x01av",
            b"\x96\x01avc1",
            b"\x96\x11avc1\0\0\0\x05data",
            b"\x96\x21avc1\0\0\0",
        ] {
            let kind = TagKind::Video;
            let body = Bytes::from_static(body);
            let result: Result<Vec<_>, _> =
                ExTag::parse(kind, body.clone()).and_then(Iterator::collect);
            assert!(
                matches!(result, Err(FlvError::Truncated { .. })),
                "{body:?}: {result:?}"
            );
        }
    }
}
