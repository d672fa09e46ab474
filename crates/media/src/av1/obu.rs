//! Open bitstream units (section 5.3).

use bytes::{Buf, Bytes};

use super::error::Av1Error;

/// Bits of the header's first byte.
const TYPE_SHIFT: u8 = 3;
const EXTENSION_FLAG: u8 = 0x04;
const HAS_SIZE_FIELD: u8 = 0x02;

/// Maximum length of a `leb128()` in bytes (section 4.10.5).
const MAX_LEB128: usize = 8;

/// `obu_type` (section 6.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObuType(u8);

impl ObuType {
    /// Sequence header.
    pub const SEQUENCE_HEADER: Self = Self(1);
    /// Temporal delimiter: the start of a temporal unit.
    pub const TEMPORAL_DELIMITER: Self = Self(2);
    /// Frame header; the tiles follow in separate OBUs.
    pub const FRAME_HEADER: Self = Self(3);
    /// Frame: a header with its tiles.
    pub const FRAME: Self = Self(6);
    /// Tile list, for large scale tile decoding.
    pub const TILE_LIST: Self = Self(8);
    /// Padding.
    pub const PADDING: Self = Self(15);

    /// Returns whether an RTP receiver does not need it, since packets mark the temporal units (RTP
    /// Payload Format For AV1, version 1.0, section 5).
    pub fn is_framing(self) -> bool {
        matches!(
            self,
            Self::TEMPORAL_DELIMITER | Self::TILE_LIST | Self::PADDING
        )
    }
}

/// An open bitstream unit without its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obu {
    /// One or two bytes, with `obu_has_size_field` 0.
    header: [u8; 2],
    header_len: u8,
    /// The bytes after the header and the size.
    pub payload: Bytes,
}

impl Obu {
    /// Returns its type.
    pub fn kind(&self) -> ObuType {
        ObuType(self.header[0] >> TYPE_SHIFT & 0x0f)
    }

    /// Returns the header in the form without a size: one or two bytes.
    pub fn header(&self) -> &[u8] {
        &self.header[..usize::from(self.header_len)]
    }

    /// Returns the length of header and payload, without a size.
    #[allow(clippy::len_without_is_empty, reason = "it always has a header")]
    pub fn len(&self) -> usize {
        usize::from(self.header_len) + self.payload.len()
    }

    /// Returns whether it starts a keyframe that is shown, so that decoding can start with it:
    /// `show_existing_frame` 0, `frame_type` `KEY_FRAME`, `show_frame` 1 (section 5.9.2).
    pub fn begins_keyframe(&self) -> bool {
        self.begins_frame() && self.payload.first().is_some_and(|first| first >> 4 == 1)
    }

    /// Returns whether a frame starts with it.
    pub fn begins_frame(&self) -> bool {
        matches!(self.kind(), ObuType::FRAME_HEADER | ObuType::FRAME)
    }
}

/// Iterates over the units of a byte string in the low-overhead form (section 5.2), as slices of
/// it. The last one may have no size (AV1 Codec ISO Media File Format Binding, section 2.4).
#[derive(Clone, Debug)]
pub struct Obus {
    rest: Bytes,
}

impl Obus {
    /// Returns an iterator over `data`.
    pub fn new(data: Bytes) -> Self {
        Self { rest: data }
    }

    /// Bytes that are not parsed yet.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn read(&mut self) -> Result<Obu, Av1Error> {
        let len = self.rest.len();
        let truncated = move || Av1Error::Truncated {
            structure: "an OBU header",
            len,
        };
        let first = self.rest.try_get_u8().map_err(|_| truncated())?;
        let mut header = [first & !HAS_SIZE_FIELD, 0];
        let mut header_len = 1;
        if first & EXTENSION_FLAG != 0 {
            header[1] = self.rest.try_get_u8().map_err(|_| truncated())?;
            header_len = 2;
        }
        let left = self.rest.len();
        let size = if first & HAS_SIZE_FIELD != 0 {
            let needed = read_leb128(&mut self.rest).ok_or_else(truncated)?;
            let left = self.rest.len();
            let size = usize::try_from(needed).ok().filter(|size| *size <= left);
            size.ok_or(Av1Error::ObuTooLong { needed, left })?
        } else {
            left
        };
        Ok(Obu {
            header,
            header_len,
            payload: self.rest.split_to(size),
        })
    }
}

impl Iterator for Obus {
    type Item = Result<Obu, Av1Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let unit = self.read();
        if unit.is_err() {
            // Everything after a wrong size is invalid.
            self.rest.clear();
        }
        Some(unit)
    }
}

/// Reads a `leb128()`: seven bits in each byte, the lowest first (section 4.10.5).
fn read_leb128(data: &mut Bytes) -> Option<u64> {
    let mut value = 0;
    for n in 0..MAX_LEB128 {
        let byte = data.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Returns the `leb128()` form of a length.
pub fn leb128(mut value: usize) -> impl Iterator<Item = u8> {
    let mut is_done = false;
    std::iter::from_fn(move || {
        if is_done {
            return None;
        }
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        is_done = value == 0;
        Some(if is_done { byte } else { byte | 0x80 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(data: &'static [u8]) -> Result<Vec<Obu>, Av1Error> {
        Obus::new(Bytes::from_static(data)).collect()
    }

    #[test]
    fn units_are_returned_without_their_sizes() {
        // A temporal delimiter, a frame with an extension, and one that runs to the end.
        let data = &[0x12, 0, 0x36, 0x20, 3, 0x10, 1, 2, 0x30, 0x30, 9];
        let units = units(data).unwrap();
        let parts: Vec<_> = units
            .iter()
            .map(|unit| (unit.kind(), unit.header(), &unit.payload[..]))
            .collect();
        assert_eq!(
            parts,
            [
                (ObuType::TEMPORAL_DELIMITER, &[0x10][..], &[][..]),
                (ObuType::FRAME, &[0x34, 0x20], &[0x10, 1, 2]),
                (ObuType::FRAME, &[0x30], &[0x30, 9]),
            ]
        );
        assert_eq!(units[1].len(), 5);
        assert!(units[1].begins_keyframe() && !units[2].begins_keyframe());
    }

    #[test]
    fn size_past_the_end_is_an_error_and_ends_the_iteration() {
        let too_long = Av1Error::ObuTooLong { needed: 5, left: 1 };
        assert_eq!(units(&[0x32, 5, 1]), Err(too_long));
        assert!(matches!(
            units(&[0x32]),
            Err(Av1Error::Truncated { len: 1, .. })
        ));
        assert!(matches!(
            units(&[0x34]),
            Err(Av1Error::Truncated { len: 1, .. })
        ));
        assert!(units(&[0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]).is_err());
        let mut reader = Obus::new(Bytes::from_static(&[0x32, 5, 1]));
        assert!(reader.next().is_some_and(|unit| unit.is_err()));
        assert!(reader.next().is_none());
    }

    #[test]
    fn lengths_are_written_in_seven_bits_each() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (1200, &[0xb0, 9]),
        ] {
            assert_eq!(leb128(value).collect::<Vec<_>>(), bytes);
        }
    }

    proptest! {
        #[test]
        fn length_survives_writing_and_parsing(value in 0usize..1 << 40) {
            let mut bytes: Bytes = leb128(value).collect();
            prop_assert_eq!(read_leb128(&mut bytes), Some(value as u64));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            Obus::new(bytes.into()).for_each(drop);
        }
    }
}
