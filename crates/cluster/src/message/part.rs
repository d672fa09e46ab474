//! The parts in which a message travels: written and read.

use bytes::{BufMut, Bytes, BytesMut};
use distributary_media::{BFrameVerdict, BFrames, FrameInfo};

use super::error::{MessageError, VERSION};
use super::header::{Header, Kind};
use super::reader::Reader;

/// Maximum bytes of body in one part.
pub const MAX_PART: usize = 64 << 10;

/// Maximum bytes of a message's body, all parts together.
pub const MAX_BODY: usize = 8 << 20;

/// Maximum reorder depth.
const MAX_DEPTH: u8 = 4;

/// Bytes before the body.
pub(super) const HEADER_LEN: usize = 54;

const KEYFRAME: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
const DISPOSABLE: u8 = 8;
const RECOVERY_POINT: u8 = 16;
const CERTAIN: u8 = 16;

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

/// Writes the header of one part.
fn write(header: &Header, part: &Numbers, to: &mut BytesMut) {
    let b_frames = header.info.b_frames;
    let kind_of_b_frames = match b_frames.kind {
        BFrames::None => 0,
        BFrames::NonReference => 1,
        BFrames::Reference => 2,
    };
    to.put_u8(VERSION);
    to.put_u8(header.kind as u8);
    to.put_u8(part.flags | flags(header));
    to.put_u8(header.codec);
    to.put_u8(kind_of_b_frames | if b_frames.is_certain { CERTAIN } else { 0 });
    to.put_u8(b_frames.depth.min(MAX_DEPTH));
    to.put_u64(header.epoch);
    to.put_u64(part.sequence);
    to.put_u64(part.clock);
    to.put_i64(header.dts.as_nanos());
    to.put_i64(header.pts.as_nanos());
    to.put_u32(header.age);
    to.put_u32(part.length);
}

/// Returns the flags that are the same in all parts of a message.
fn flags(header: &Header) -> u8 {
    [
        (header.keyframe, KEYFRAME),
        (header.info.disposable, DISPOSABLE),
        (header.info.recovery_point, RECOVERY_POINT),
    ]
    .iter()
    .filter_map(|(is_set, flag)| is_set.then_some(*flag))
    .sum()
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
        write(header, &numbers, &mut part);
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
