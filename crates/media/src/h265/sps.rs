//! Sequence parameter sets (ITU-T H.265 section 7.3.2.2).

use super::error::H265Error;
use crate::bits::BitReader;
use crate::h264::nal::rbsp;

/// Maximum side length of a frame at the highest level: `Sqrt(MaxLumaPs * 8)` at level 6.2
/// (ITU-T H.265 section A.4.1) is 16888.
const MAX_SIDE: u32 = 16_888;

/// The fields of a sequence parameter set that the gateway uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `general_profile_idc`: 1 Main, 2 Main 10, 3 Main Still Picture, 4 range extensions.
    pub profile_idc: u8,
    /// `general_tier_flag`: 0 Main tier, 1 High tier.
    pub tier_flag: u8,
    /// `general_level_idc`: thirty times the level.
    pub level_idc: u8,
    /// `sps_seq_parameter_set_id`.
    pub id: u32,
    /// Width of the frame after cropping, in pixels.
    pub width: u32,
    /// Height of the frame after cropping, in pixels.
    pub height: u32,
    /// `sps_max_num_reorder_pics` of all layers: maximum frames that are decoded before another and
    /// shown after it. `None` if the parameter set cannot be parsed that far.
    pub max_num_reorder_pics: Option<u32>,
}

impl Sps {
    /// Reads a sequence parameter set from its NAL unit, header included.
    ///
    /// # Errors
    /// When it ends early or has values the specification does not allow.
    pub fn parse(unit: &[u8]) -> Result<Self, H265Error> {
        // The header has two bytes, one more than that of H.264.
        let rbsp = rbsp(unit.get(1..).unwrap_or_default());
        Self::read(&mut BitReader::new(&rbsp)).ok_or(H265Error::Unreadable {
            structure: "a sequence parameter set",
            len: unit.len(),
        })
    }

    fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        reader.skip(4)?; // sps_video_parameter_set_id
        let sub_layers_minus_1 = reader.bits(3)?;
        reader.skip(1)?; // sps_temporal_id_nesting_flag
        let [profile_idc, tier_flag, level_idc] = profile_tier_level(reader, sub_layers_minus_1)?;
        let id = reader.ue()?;
        let chroma_format_idc = reader.ue()?;
        if chroma_format_idc == 3 {
            reader.skip(1)?; // separate_colour_plane_flag
        }
        let (coded_width, coded_height) = (reader.ue()?, reader.ue()?);
        let mut crop = [0; 4];
        if reader.flag()? {
            for side in &mut crop {
                *side = reader.ue()?;
            }
        }
        // SubWidthC and SubHeightC (table 6-1).
        let (unit_x, unit_y) = match chroma_format_idc {
            1 => (2, 2),
            2 => (2, 1),
            0 | 3 => (1, 1),
            _ => return None,
        };
        let [left, right, top, bottom] = crop;
        Some(Self {
            profile_idc,
            tier_flag,
            level_idc,
            id,
            width: cropped(coded_width, left, right, unit_x)?,
            height: cropped(coded_height, top, bottom, unit_y)?,
            max_num_reorder_pics: max_num_reorder_pics(reader, sub_layers_minus_1),
        })
    }

    /// Returns `profile-id`, `tier-flag` and `level-id` of RFC 7798 section 7.1.
    pub fn profile_tier_level(&self) -> [u8; 3] {
        [self.profile_idc, self.tier_flag, self.level_idc]
    }
}

/// Parses the fields after the cropping: bit depths, the length of the picture order count, and the
/// numbers of each sub-layer. Returns `sps_max_num_reorder_pics` of the highest one.
fn max_num_reorder_pics(reader: &mut BitReader<'_>, sub_layers_minus_1: u32) -> Option<u32> {
    // bit_depth_luma_minus8, bit_depth_chroma_minus8, log2_max_pic_order_cnt_lsb_minus4
    let _ = (reader.ue()?, reader.ue()?, reader.ue()?);
    // sps_sub_layer_ordering_info_present_flag
    let layers = if reader.flag()? {
        sub_layers_minus_1
    } else {
        0
    };
    let mut reordered = None;
    for _ in 0..=layers {
        reader.ue()?; // sps_max_dec_pic_buffering_minus1
        reordered = Some(reader.ue()?);
        reader.ue()?; // sps_max_latency_increase_plus1
    }
    reordered
}

fn cropped(coded: u32, before: u32, behind: u32, unit: u32) -> Option<u32> {
    let cut = before.checked_add(behind)?.checked_mul(unit)?;
    coded
        .checked_sub(cut)
        .filter(|left| (1..=MAX_SIDE).contains(left))
}

/// Parses section 7.3.3. Returns the general profile, tier and level.
fn profile_tier_level(reader: &mut BitReader<'_>, sub_layers_minus_1: u32) -> Option<[u8; 3]> {
    reader.skip(2)?; // general_profile_space
    let tier_flag = reader.bits(1)? as u8;
    let profile_idc = reader.bits(5)? as u8;
    // Compatibility flags and constraints.
    reader.skip(32 + 48)?;
    let level_idc = reader.bits(8)? as u8;
    let mut present = Vec::new();
    for _ in 0..sub_layers_minus_1 {
        present.push((reader.flag()?, reader.flag()?));
    }
    if sub_layers_minus_1 > 0 {
        reader.skip(2 * (8 - sub_layers_minus_1 as usize))?;
    }
    for (has_profile, has_level) in present {
        reader.skip(if has_profile { 88 } else { 0 })?;
        reader.skip(if has_level { 8 } else { 0 })?;
    }
    Some([profile_idc, tier_flag, level_idc])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;
    use proptest::prelude::*;

    #[test]
    fn profile_and_cropped_size_are_parsed() {
        for (unit, size) in [
            // x265: 320x240, and 640x360, which is coded with eight lines more.
            (
                "42010101600000030090000003000003003ca00a080f165ba4a4c2f0168080000003008000000784",
                (320, 240),
            ),
            (
                "42010101600000030090000003000003005aa00502016962dd29cb3c05a020000003002000000301e1",
                (640, 360),
            ),
        ] {
            let sps = Sps::parse(&hex(unit)).unwrap();
            assert_eq!((sps.width, sps.height), size);
            assert_eq!((sps.profile_idc, sps.tier_flag), (1, 0));
        }
    }

    #[test]
    fn truncated_sps_and_one_without_size_are_errors() {
        for unit in ["", "4201", "420101016000000300900000030000"] {
            let error = Sps::parse(&hex(unit)).unwrap_err();
            assert!(matches!(error, H265Error::Unreadable { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(sps) = Sps::parse(&bytes) {
                prop_assert!(sps.width > 0 && sps.height > 0);
            }
        }
    }
}
