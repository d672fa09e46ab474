//! Frames as bodies of messages.

use bytes::{BufMut, Bytes, BytesMut};
use distributary_media::Frame;

use super::error::MessageError;
use super::header::Header;
use super::part::{MAX_BODY, encode};
use super::reader::Reader;

/// Maximum units of a video frame.
const MAX_UNITS: usize = 2048;

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

#[cfg(test)]
mod tests {
    use super::super::part::{HEADER_LEN, MAX_PART, Part};
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
}
