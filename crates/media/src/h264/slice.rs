//! The beginning of a slice header (ITU-T H.264 section 7.3.3).

use super::nal::{self, NalType};
use crate::bits::BitReader;

/// Number of bytes of a NAL unit that contain the fields parsed here.
const HEAD: usize = 32;

/// The prediction of a slice's macroblocks: `slice_type` modulo 5 (table 7-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceType {
    /// From frames decoded before, with one reference each (P and SP).
    P,
    /// From up to two references each, which may be shown later than the frame.
    B,
    /// From nothing outside the slice (I and SI).
    I,
}

/// The first fields of a slice header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceHead {
    /// `first_mb_in_slice`: 0 in the first slice of a picture.
    pub first_macroblock: u32,
    /// Its type.
    pub slice_type: SliceType,
    /// `pic_parameter_set_id`, 0 to 255.
    pub pps_id: u8,
}

impl SliceHead {
    /// Parses a slice's NAL unit, header included. Returns `None` if it is truncated, out of range,
    /// or has no slice header.
    pub fn parse(unit: &[u8]) -> Option<Self> {
        if !NalType::of(unit).has_slice_header() {
            return None;
        }
        let rbsp = nal::rbsp(unit.get(..HEAD).unwrap_or(unit));
        let mut reader = BitReader::new(&rbsp);
        let first_macroblock = reader.ue()?;
        let slice_type = match reader.ue()? {
            kind @ 0..=9 => match kind % 5 {
                0 | 3 => SliceType::P,
                1 => SliceType::B,
                _ => SliceType::I,
            },
            _ => return None,
        };
        let pps_id = u8::try_from(reader.ue()?).ok()?;
        Some(Self {
            first_macroblock,
            slice_type,
            pps_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_parameter_set_of_a_slice_are_parsed() {
        let head = |unit: &[u8]| SliceHead::parse(unit).map(|head| (head.slice_type, head.pps_id));
        // first_mb_in_slice 0, slice_type 7 (I), pic_parameter_set_id 0; then 2.
        assert_eq!(head(&[0x65, 0b1000_1000, 0x80]), Some((SliceType::I, 0)));
        assert_eq!(
            head(&[0x65, 0b1000_1000, 0b0110_0000]),
            Some((SliceType::I, 2))
        );
        // slice_type 5 (P), 0 (P), 6 (B), 1 (B) and 3 (SP).
        for (bits, expected) in [
            (0b1001_1010, SliceType::P),
            (0b1110_0000, SliceType::P),
            (0b1001_1110, SliceType::B),
            (0b1010_1000, SliceType::B),
            (0b1001_0010, SliceType::P),
        ] {
            assert_eq!(head(&[0x41, bits, 0x80]), Some((expected, 0)), "{bits:08b}");
        }
    }

    #[test]
    fn first_macroblock_of_a_slice_is_parsed() {
        let first = |unit: &[u8]| SliceHead::parse(unit).map(|head| head.first_macroblock);
        assert_eq!(first(&[0x65, 0b1000_1000, 0x80]), Some(0));
        // 00100 and 0000_0110_1: 3 and 12; both with slice_type 7.
        assert_eq!(first(&[0x41, 0b0010_0000, 0b1000_1000]), Some(3));
        assert_eq!(first(&[0x41, 0b0001_1010, 0b0010_0010, 0]), Some(12));
    }

    #[test]
    fn truncated_slice_and_other_units_are_refused() {
        assert_eq!(SliceHead::parse(&[0x65]), None);
        assert_eq!(SliceHead::parse(&[]), None);
        assert_eq!(SliceHead::parse(&[0x67, 0b1000_1000, 0x80]), None);
        // slice_type 10: 0001011.
        assert_eq!(SliceHead::parse(&[0x41, 0b1000_1011, 0x80]), None);
    }
}
