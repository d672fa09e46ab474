//! `HEVCDecoderConfigurationRecord`: the H.265 sequence header of FLV and MP4
//! (ISO/IEC 14496-15 section 8.3.3.1).

use bytes::{Buf, Bytes};

use super::error::H265Error;

/// The framing of access units, and the first parameter sets.
///
/// ```text
/// +---------+----------------+--------+---------+-----------+---------------------------------+
/// | version | profile, tier, |  ...   | ... len | number of | type, count, (length, unit) * , |
/// |    1    | ... 12 bytes   | 8 bytes| size-1  |  arrays   | ... of each array               |
/// +---------+----------------+--------+---------+-----------+---------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HevcDecoderConfigurationRecord {
    /// `general_profile_idc`, `general_tier_flag` and `general_level_idc`.
    pub profile_tier_level: [u8; 3],
    /// Bytes in the length before each NAL unit: 1, 2 or 4, and against the standard 3.
    pub length_size: u8,
    /// Parameter sets and perhaps other NAL units. There may be none: then access units carry them.
    pub units: Vec<Bytes>,
}

impl HevcDecoderConfigurationRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// When it ends early.
    pub fn parse(data: &Bytes) -> Result<Self, H265Error> {
        Self::read(data.clone()).ok_or(H265Error::Unreadable {
            structure: "HEVCDecoderConfigurationRecord",
            len: data.len(),
        })
    }

    fn read(mut rest: Bytes) -> Option<Self> {
        rest.try_get_u8().ok()?; // configurationVersion
        let profile = rest.try_get_u8().ok()?;
        let mut skip = |bytes: usize| (rest.len() >= bytes).then(|| rest.advance(bytes));
        // Compatibility flags and constraints.
        skip(4 + 6)?;
        let level_idc = rest.try_get_u8().ok()?;
        let mut skip = |bytes: usize| (rest.len() >= bytes).then(|| rest.advance(bytes));
        // Segmentation, parallelism, chroma format, bit depths, frame rate.
        skip(2 + 1 + 1 + 1 + 1 + 2)?;
        let length_size = (rest.try_get_u8().ok()? & 0b11) + 1;
        let arrays = rest.try_get_u8().ok()?;
        let mut units = Vec::new();
        for _ in 0..arrays {
            rest.try_get_u8().ok()?; // array_completeness, NAL_unit_type
            for _ in 0..rest.try_get_u16().ok()? {
                let len = usize::from(rest.try_get_u16().ok()?);
                units.push((len <= rest.len()).then(|| rest.split_to(len))?);
            }
        }
        Some(Self {
            profile_tier_level: [profile & 0x1f, profile >> 5 & 1, level_idc],
            length_size,
            units,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::test_util::hex;

    /// From x265 and ffmpeg, 320x240, Main.
    pub(crate) const RECORD: &str = "01 01 60000000 900000000000 3c f000 fc fd f8 f8 0000 0f 03
        20 0001 0018 40010c01ffff01600000030090000003000003003cba0240
        21 0001 0028 42010101600000030090000003000003003ca00a080f165ba4a4c2f0168080000003008000000784
        22 0001 0006 4401c073c189";

    #[test]
    fn parameter_sets_and_framing_are_parsed() {
        let record = HevcDecoderConfigurationRecord::parse(&hex(RECORD).into()).unwrap();
        assert_eq!(record.profile_tier_level, [1, 0, 60]);
        assert_eq!(record.length_size, 4);
        let lengths: Vec<_> = record.units.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [24, 40, 6]);
    }

    #[test]
    fn truncated_record_is_an_error_and_a_length_size_of_three_is_none() {
        let whole = hex(RECORD);
        for len in 0..whole.len() {
            let data = Bytes::copy_from_slice(&whole[..len]);
            assert!(
                HevcDecoderConfigurationRecord::parse(&data).is_err(),
                "{len}"
            );
        }
        let mut three = whole;
        three[21] = 0x0e;
        let record = HevcDecoderConfigurationRecord::parse(&three.into()).unwrap();
        assert_eq!(record.length_size, 3);
    }
}
