//! The sequence header OBU (section 5.5).

use super::error::Av1Error;
use crate::bits::BitReader;

/// The fields of a sequence header that the gateway uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// `seq_profile`: 0 Main, 1 High, 2 Professional.
    pub profile: u8,
    /// `seq_tier[0]`.
    pub tier: u8,
    /// `seq_level_idx[0]`.
    pub level_idx: u8,
    /// `max_frame_width_minus_1` + 1, in pixels.
    pub width: u32,
    /// `max_frame_height_minus_1` + 1, in pixels.
    pub height: u32,
}

impl SequenceHeader {
    /// Reads the payload of a sequence header OBU.
    ///
    /// # Errors
    /// When it ends early.
    pub fn parse(payload: &[u8]) -> Result<Self, Av1Error> {
        Self::read(&mut BitReader::new(payload)).ok_or(Av1Error::Truncated {
            structure: "a sequence header",
            len: payload.len(),
        })
    }

    fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        let profile = reader.bits(3)? as u8;
        let _still_picture = reader.flag()?;
        let reduced_still_picture_header = reader.flag()?;
        let (level_idx, tier) = if reduced_still_picture_header {
            (reader.bits(5)? as u8, 0)
        } else {
            operating_points(reader)?
        };
        let width_bits = reader.bits(4)? + 1;
        let height_bits = reader.bits(4)? + 1;
        Some(Self {
            profile,
            tier,
            level_idx,
            width: reader.bits(width_bits)? + 1,
            height: reader.bits(height_bits)? + 1,
        })
    }
}

/// Parses timing, decoder model and operating points. Returns level and tier of the first point.
fn operating_points(reader: &mut BitReader<'_>) -> Option<(u8, u8)> {
    let mut buffer_delay_length = None;
    if reader.flag()? {
        // num_units_in_display_tick, time_scale; equal_picture_interval,
        // num_ticks_per_picture_minus_1.
        reader.skip(64)?;
        if reader.flag()? {
            reader.ue()?;
        }
        if reader.flag()? {
            buffer_delay_length = Some(reader.bits(5)? as usize + 1);
            // num_units_in_decoding_tick, and the lengths of two more fields.
            reader.skip(32 + 5 + 5)?;
        }
    }
    let initial_display_delay_present = reader.flag()?;
    let points = reader.bits(5)? + 1;
    let mut first = None;
    for _ in 0..points {
        reader.skip(12)?; // operating_point_idc
        let level_idx = reader.bits(5)? as u8;
        let tier = if level_idx > 7 { reader.bits(1)? } else { 0 } as u8;
        first = first.or(Some((level_idx, tier)));
        if let Some(len) = buffer_delay_length
            && reader.flag()?
        {
            reader.skip(2 * len + 1)?;
        }
        if initial_display_delay_present && reader.flag()? {
            reader.skip(4)?;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;
    use proptest::prelude::*;

    #[test]
    fn profile_level_and_size_are_parsed() {
        // SVT-AV1: 320x240 at level 2.0.
        let header = SequenceHeader::parse(&hex("0200000521e7fde257c802")).unwrap();
        let expected = SequenceHeader {
            profile: 0,
            tier: 0,
            level_idx: 0,
            width: 320,
            height: 240,
        };
        assert_eq!(header, expected);
        // A reduced header, as still pictures have it: profile 1, level 5, 16x9.
        let reduced = SequenceHeader::parse(&hex("394cfe00")).unwrap();
        assert_eq!((reduced.profile, reduced.level_idx), (1, 5));
        assert_eq!((reduced.width, reduced.height), (16, 9));
        let error = SequenceHeader::parse(&hex("0000")).unwrap_err();
        assert!(
            matches!(error, Av1Error::Truncated { len: 2, .. }),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = SequenceHeader::parse(&bytes);
        }
    }
}
