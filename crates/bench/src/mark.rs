//! Marks in video frames, by which a viewer knows who sent a frame, and when.
//!
//! A mark is text behind the last slice of an access unit. It changes nothing that a server or a
//! viewer of this crate reads, but no decoder has to accept it.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Text before the numbers.
const MAGIC: &[u8; 8] = b"DISTMARK";

/// Bytes of a mark: [`MAGIC`], and the numbers as hexadecimal digits.
pub(crate) const LEN: usize = 8 + 2 + 8 + 16;

/// Bytes before the NAL units of an AVC tag: frame type and codec, packet type, composition time.
const TAG_HEADER: usize = 5;

/// The mark of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The encoder.
    pub encoder: u8,
    /// Number of the frame: 0, 1, 2, ...
    pub number: u32,
    /// When it was sent, in microseconds since a moment of the encoder's choice.
    pub sent: u64,
}

impl Mark {
    /// Returns the body of an FLV tag of H264 video with this mark; `None` if it has no slice.
    #[must_use]
    pub fn write(self, body: &[u8]) -> Option<Bytes> {
        let (header, mut rest) = body.split_at_checked(TAG_HEADER)?;
        let is_frame = header[0] & 0x0f == 7 && header[1] == 1;
        let mut end = None;
        let mut units = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (unit, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            units.push(unit);
            if matches!(unit.first()? & 0x1f, 1 | 5) {
                end = Some(units.len());
            }
            rest = behind;
        }
        // Filler behind the slices would be behind the mark.
        units.truncate(end.filter(|_| is_frame)?);
        let mut marked = BytesMut::with_capacity(body.len() + LEN);
        marked.put_slice(header);
        for (index, unit) in units.iter().enumerate() {
            let is_last = index + 1 == units.len();
            let len = unit.len() + if is_last { LEN } else { 0 };
            marked.put_u32(u32::try_from(len).ok()?);
            marked.put_slice(unit);
        }
        let Self {
            encoder,
            number,
            sent,
        } = self;
        marked.put_slice(MAGIC);
        marked.put_slice(format!("{encoder:02x}{number:08x}{sent:016x}").as_bytes());
        Some(marked.freeze())
    }

    /// Returns the mark at the end of an access unit.
    #[must_use]
    pub fn read(unit: &[u8]) -> Option<Self> {
        let text = unit.last_chunk::<LEN>()?.strip_prefix(MAGIC)?;
        let text = std::str::from_utf8(text).ok()?;
        Some(Self {
            encoder: u8::from_str_radix(text.get(..2)?, 16).ok()?,
            number: u32::from_str_radix(text.get(2..10)?, 16).ok()?,
            sent: u64::from_str_radix(text.get(10..)?, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        encoder: 2,
        number: 70_000,
        sent: 5_000_000_000,
    };

    #[test]
    fn mark_is_behind_the_last_slice() {
        let body = [
            &[0x17, 1, 0, 0, 0][..],
            &[0, 0, 0, 2, 0x06, 1],
            &[0, 0, 0, 3, 0x65, 1, 2],
            &[0, 0, 0, 2, 0x0c, 0xff],
        ];
        let marked = MARK.write(&body.concat()).unwrap();
        assert_eq!(Mark::read(&marked), Some(MARK));
        let expected = [body[0], body[1], &[0, 0, 0, 3 + LEN as u8, 0x65, 1, 2]].concat();
        assert!(marked.starts_with(&expected));
        assert_eq!(marked.len(), expected.len() + LEN);
    }

    #[test]
    fn tag_without_a_slice_has_no_mark() {
        assert_eq!(MARK.write(&[0x17, 0, 0, 0, 0, 1, 2, 3]), None);
        assert_eq!(MARK.write(&[0x17, 1, 0, 0, 0, 0, 0, 0, 9, 0x65]), None);
        assert_eq!(MARK.write(&[]), None);
        assert_eq!(Mark::read(&[7; 100]), None);
        assert_eq!(Mark::read(b"DISTMARK"), None);
    }
}
