//! Media messages between nodes, in binary.
//!
//! A message is one frame, or something else of a stream, and travels in parts of at most
//! [`MAX_PART`] bytes of body, so that a large keyframe does not hold up the frames of other
//! streams on the connection. All numbers are big-endian:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | kind |
//! | 1 | flags: 1 keyframe, 2 first part, 4 last part, 8 disposable, 16 recovery point |
//! | 1 | codec: of video 0 H264, 1 H265, 2 AV1, 3 VP9; of audio 0 AAC, 1 Opus; else 0 |
//! | 1 | B-frames: 0 none, 1 non-reference, 2 reference; 16 is added if that is certain |
//! | 1 | reorder depth |
//! | 8 | epoch |
//! | 8 | sequence number, one more for each part on the subject |
//! | 8 | clock of the owner when the part was sent, in microseconds |
//! | 8 | decoding time in nanoseconds on the owner's timeline |
//! | 8 | presentation time |
//! | 4 | time since the frame arrived at the owner, in microseconds |
//! | 4 | bytes of the body, all parts together |
//!
//! Then the body follows. That of video begins with the number of units in two bytes and the length
//! of each in four.

use bytes::{BufMut, Bytes, BytesMut};
use distributary_media::{
    AudioCodec, BFrameVerdict, BFrames, Frame, FrameInfo, MediaTime, VideoCodec,
};

/// The version of the format.
pub const VERSION: u8 = 1;

/// Maximum bytes of body in one part.
pub const MAX_PART: usize = 64 << 10;

/// Maximum bytes of a message's body, all parts together.
pub const MAX_BODY: usize = 8 << 20;

/// Maximum units of a video frame.
const MAX_UNITS: usize = 2048;

/// Maximum reorder depth.
const MAX_DEPTH: u8 = 4;

/// Bytes before the body.
const HEADER_LEN: usize = 54;

const KEYFRAME: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
const DISPOSABLE: u8 = 8;
const RECOVERY_POINT: u8 = 16;
const CERTAIN: u8 = 16;

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

    fn from_byte(byte: u8) -> Option<Self> {
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

/// One received part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The header, the same in all parts of a message but for the age.
    pub header: Header,
    /// The number of the part on its subject.
    pub sequence: u64,
    /// Clock of the owner when it was sent, in microseconds.
    pub clock: u64,
    /// True for the first part of a message.
    pub is_first: bool,
    /// True for the last part of a message.
    pub is_last: bool,
    /// Bytes of the body, all parts together.
    pub length: usize,
    /// This part of the body.
    pub body: Bytes,
}

/// A received message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Its sender has a later version.
    #[error("it has the version {0}; this node supports {VERSION}: upgrade this node")]
    Version(u8),
    /// It ends too early.
    #[error("it is too short")]
    Short,
    /// A field has a value that is not defined.
    #[error("it has an undefined {0}")]
    Undefined(&'static str),
    /// It is larger than allowed.
    #[error("it is too large")]
    Large,
}

/// Reads numbers from the front of a slice.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(MessageError::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, MessageError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.array().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Result<MediaTime, MessageError> {
        let nanos = self.array().map(i64::from_be_bytes)?;
        Ok(MediaTime::from_nanos(nanos))
    }
}

impl Part {
    /// Reads one part. Its body is a slice of `message`.
    ///
    /// # Errors
    /// Returns [`MessageError`] if the message is malformed.
    pub fn decode(message: &Bytes) -> Result<Self, MessageError> {
        let mut reader = Reader(message);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(MessageError::Version(version));
        }
        let kind = Kind::from_byte(reader.u8()?).ok_or(MessageError::Undefined("kind"))?;
        let flags = reader.u8()?;
        let codec = reader.u8()?;
        let b_frames = b_frames(reader.u8()?, reader.u8()?)?;
        let (epoch, sequence, clock) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (dts, pts) = (reader.time()?, reader.time()?);
        let (age, length) = (reader.u32()?, reader.u32()?);
        let body = message.slice(HEADER_LEN..);
        let length = usize::try_from(length).map_err(|_| MessageError::Large)?;
        if length > MAX_BODY || body.len() > MAX_PART || body.len() > length {
            return Err(MessageError::Large);
        }
        Ok(Self {
            header: Header {
                kind,
                keyframe: flags & KEYFRAME != 0,
                codec,
                info: FrameInfo {
                    disposable: flags & DISPOSABLE != 0,
                    recovery_point: flags & RECOVERY_POINT != 0,
                    b_frames,
                },
                epoch,
                dts,
                pts,
                age,
            },
            sequence,
            clock,
            is_first: flags & FIRST != 0,
            is_last: flags & LAST != 0,
            length,
            body,
        })
    }
}

fn b_frames(kind: u8, depth: u8) -> Result<BFrameVerdict, MessageError> {
    let is_certain = kind & CERTAIN != 0;
    let kind = match kind & !CERTAIN {
        0 => BFrames::None,
        1 => BFrames::NonReference,
        2 => BFrames::Reference,
        _ => return Err(MessageError::Undefined("kind of B-frames")),
    };
    if depth > MAX_DEPTH {
        return Err(MessageError::Undefined("reorder depth"));
    }
    Ok(BFrameVerdict {
        kind,
        depth,
        is_certain,
    })
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

    fn write(&self, part: &Numbers, to: &mut BytesMut) {
        let b_frames = self.info.b_frames;
        let kind_of_b_frames = match b_frames.kind {
            BFrames::None => 0,
            BFrames::NonReference => 1,
            BFrames::Reference => 2,
        };
        to.put_u8(VERSION);
        to.put_u8(self.kind as u8);
        to.put_u8(part.flags | self.flags());
        to.put_u8(self.codec);
        to.put_u8(kind_of_b_frames | if b_frames.is_certain { CERTAIN } else { 0 });
        to.put_u8(b_frames.depth.min(MAX_DEPTH));
        to.put_u64(self.epoch);
        to.put_u64(part.sequence);
        to.put_u64(part.clock);
        to.put_i64(self.dts.as_nanos());
        to.put_i64(self.pts.as_nanos());
        to.put_u32(self.age);
        to.put_u32(part.length);
    }

    fn flags(&self) -> u8 {
        [
            (self.keyframe, KEYFRAME),
            (self.info.disposable, DISPOSABLE),
            (self.info.recovery_point, RECOVERY_POINT),
        ]
        .iter()
        .filter_map(|(is_set, flag)| is_set.then_some(*flag))
        .sum()
    }
}

/// The fields that differ between the parts of a message.
struct Numbers {
    flags: u8,
    sequence: u64,
    clock: u64,
    length: u32,
}

/// Returns the parts of a message with this body. `sequence` is that of the first part; `clock` the
/// time in microseconds. A body of more than [`MAX_BODY`] bytes has none.
pub fn encode(header: &Header, body: &[&[u8]], sequence: u64, clock: u64) -> Vec<Bytes> {
    let total: usize = body.iter().map(|piece| piece.len()).sum();
    let Some(length) = u32::try_from(total).ok().filter(|_| total <= MAX_BODY) else {
        return Vec::new();
    };
    let count = total.div_ceil(MAX_PART).max(1);
    let mut pieces = body.iter().copied();
    let mut rest: &[u8] = &[];
    let mut parts = Vec::with_capacity(count);
    for (at, sequence) in (0..count).zip(sequence..) {
        let mut room = MAX_PART.min(total - at * MAX_PART);
        let mut part = BytesMut::with_capacity(HEADER_LEN + room);
        let first = if at == 0 { FIRST } else { 0 };
        let last = if at + 1 == count { LAST } else { 0 };
        let numbers = Numbers {
            flags: first | last,
            sequence,
            clock,
            length,
        };
        header.write(&numbers, &mut part);
        while room > 0 {
            if rest.is_empty() {
                let Some(piece) = pieces.next() else { break };
                rest = piece;
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            part.extend_from_slice(now);
            room -= now.len();
            rest = later;
        }
        parts.push(part.freeze());
    }
    parts
}

/// Returns the parts of a frame, as [`encode`] does. Empty units are left out. A frame without units,
/// or with more than 2048, has no parts.
pub fn encode_frame(frame: &Frame, header: &Header, sequence: u64, clock: u64) -> Vec<Bytes> {
    match frame {
        Frame::Audio(audio) => encode(header, &[&audio.data], sequence, clock),
        Frame::Video(video) => {
            let units = video.units.iter().filter(|unit| !unit.is_empty());
            let count = units.clone().count();
            let Some(number) = u16::try_from(count)
                .ok()
                .filter(|_| (1..=MAX_UNITS).contains(&count))
            else {
                return Vec::new();
            };
            let mut table = BytesMut::with_capacity(2 + 4 * count);
            table.put_u16(number);
            for unit in units.clone() {
                table.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
            }
            let mut body: Vec<&[u8]> = Vec::with_capacity(1 + count);
            body.push(&table);
            body.extend(units.map(|unit| &unit[..]));
            encode(header, &body, sequence, clock)
        }
    }
}

/// Returns whether [`encode_frame`] returns parts of a frame.
pub(crate) fn is_sendable(frame: &Frame) -> bool {
    match frame {
        Frame::Audio(audio) => audio.data.len() <= MAX_BODY,
        Frame::Video(video) => {
            let count = video.units.iter().filter(|unit| !unit.is_empty()).count();
            let table = 2 + 4 * count;
            (1..=MAX_UNITS).contains(&count) && table + video.payload_len() <= MAX_BODY
        }
    }
}

/// Splits the body of a video frame into its units, which are slices of it.
pub(crate) fn units(body: &Bytes) -> Result<Vec<Bytes>, MessageError> {
    let mut reader = Reader(body);
    let count = usize::from(u16::from_be_bytes(reader.array()?));
    if count == 0 {
        return Err(MessageError::Undefined("number of units"));
    }
    if count > MAX_UNITS {
        return Err(MessageError::Large);
    }
    let mut at = 2 + 4 * count;
    let mut units = Vec::with_capacity(count.min(body.len() / 4));
    for _ in 0..count {
        let len = usize::try_from(reader.u32()?).map_err(|_| MessageError::Large)?;
        if len == 0 {
            return Err(MessageError::Undefined("length of a unit"));
        }
        let end = at.checked_add(len).filter(|end| *end <= body.len());
        let end = end.ok_or(MessageError::Short)?;
        units.push(body.slice(at..end));
        at = end;
    }
    if at == body.len() {
        Ok(units)
    } else {
        Err(MessageError::Undefined("rest after the units"))
    }
}

/// The byte of a codec that this version has no number for. Nodes refuse its frames.
const OTHER_CODEC: u8 = u8::MAX;

fn video_codec_byte(codec: VideoCodec) -> u8 {
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

fn audio_codec_byte(codec: AudioCodec) -> u8 {
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
    use distributary_media::test_util::{opus_frame, video_frame};

    #[test]
    fn frame_travels_in_parts_with_consecutive_numbers() {
        let frame = Frame::Video(video_frame(40, true, 2 * MAX_PART));
        let header = Header::of_frame(&frame, 7, 300);
        let parts = encode_frame(&frame, &header, 5, 99);
        assert_eq!(parts.len(), 3);
        for (at, message) in parts.iter().enumerate() {
            let part = Part::decode(message).unwrap();
            assert_eq!(part.header, header);
            assert_eq!((part.sequence, part.clock), (5 + at as u64, 99));
            assert_eq!((part.is_first, part.is_last), (at == 0, at == 2));
        }
    }

    #[test]
    fn body_is_a_slice_of_the_message() {
        let frame = Frame::Audio(opus_frame(20, &[1, 2, 3]));
        let header = Header::of_frame(&frame, 1, 0);
        let message = encode_frame(&frame, &header, 0, 0).remove(0);
        let part = Part::decode(&message).unwrap();
        assert_eq!(part.body, [1, 2, 3][..]);
        assert_eq!(part.body.as_ptr(), message[HEADER_LEN..].as_ptr());
    }

    #[test]
    fn malformed_messages_are_refused() {
        let header = Header::new(Kind::Tick, 1);
        let message = encode(&header, &[], 0, 0).remove(0);
        assert!(Part::decode(&message).is_ok());
        let changed = |at: usize, to: u8| {
            let mut bytes = message.to_vec();
            bytes[at] = to;
            Part::decode(&bytes.into()).unwrap_err()
        };
        assert_eq!(changed(0, 2), MessageError::Version(2));
        assert_eq!(changed(1, 7), MessageError::Undefined("kind"));
        assert_eq!(changed(4, 3), MessageError::Undefined("kind of B-frames"));
        assert_eq!(changed(5, 5), MessageError::Undefined("reorder depth"));
        assert_eq!(changed(50, 1), MessageError::Large);
        let cut = message.slice(..HEADER_LEN - 1);
        assert_eq!(Part::decode(&cut), Err(MessageError::Short));
        let mut long = message.to_vec();
        long.push(0);
        assert_eq!(Part::decode(&long.into()), Err(MessageError::Large));
    }

    #[test]
    fn units_must_fill_the_body() {
        let body = |bytes: &[u8]| units(&Bytes::copy_from_slice(bytes));
        assert_eq!(body(&[0, 1, 0, 0, 0, 2, 7, 8]).unwrap(), [&[7, 8][..]]);
        assert_eq!(body(&[0, 1, 0, 0, 0, 2, 7]), Err(MessageError::Short));
        assert!(body(&[0, 1, 0, 0, 0, 1, 7, 8]).is_err());
        assert!(body(&[0, 1, 0, 0, 0, 0]).is_err());
        assert!(body(&[0, 0]).is_err());
        assert!(body(&[255, 255]).is_err());
        assert_eq!(
            body(&[0, 1, 255, 255, 255, 255, 7]),
            Err(MessageError::Short)
        );
    }

    #[test]
    fn empty_units_are_left_out() {
        let mut frame = video_frame(0, true, 10);
        frame.units.insert(0, Bytes::new());
        frame.units.push(Bytes::new());
        let frame = Frame::Video(frame);
        let header = Header::of_frame(&frame, 1, 0);
        let message = encode_frame(&frame, &header, 0, 0).remove(0);
        let part = Part::decode(&message).unwrap();
        assert_eq!(units(&part.body).unwrap().len(), 1);
        let mut empty = video_frame(0, true, 10);
        empty.units = vec![Bytes::new()];
        let empty = Frame::Video(empty);
        assert!(encode_frame(&empty, &header, 0, 0).is_empty());
        assert!(is_sendable(&frame) && !is_sendable(&empty));
    }

    #[test]
    fn frame_over_the_limit_is_not_sent() {
        let frame = Frame::Video(video_frame(0, true, MAX_BODY));
        let header = Header::of_frame(&frame, 1, 0);
        assert!(encode_frame(&frame, &header, 0, 0).is_empty());
        assert!(!is_sendable(&frame));
    }

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
