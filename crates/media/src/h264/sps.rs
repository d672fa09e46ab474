//! Sequence parameter sets (ITU-T H.264 section 7.3.2.1.1).

use super::error::H264Error;
use super::nal;
use crate::bits::BitReader;

/// Maximum macroblocks in one direction: `Sqrt(MaxFS * 8)` at level 6.2
/// (ITU-T H.264 table A-1) is 1056.
const MAX_MACROBLOCKS: u32 = 1056;

/// The fields of a sequence parameter set that the gateway uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile_idc: u8,
    /// `constraint_set0_flag` (the highest bit) to `constraint_set5_flag`, and two reserved bits.
    pub constraint_flags: u8,
    /// `level_idc`: ten times the level.
    pub level_idc: u8,
    /// `seq_parameter_set_id`, 0 to 31.
    pub id: u8,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format_idc: u8,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// `pic_order_cnt_type`: with 2, frames are shown in decoding order.
    pub pic_order_cnt_type: u8,
    /// `max_num_ref_frames`.
    pub max_num_ref_frames: u32,
    /// `frame_mbs_only_flag`: false if frames may be interlaced.
    pub frame_mbs_only: bool,
    /// Width of the frame after cropping, in pixels.
    pub width: u32,
    /// Height of the frame after cropping, in pixels.
    pub height: u32,
    /// Position of `vui_parameters_present_flag`, in bits from the start of the payload.
    pub(super) vui_at: usize,
}

impl Sps {
    /// Reads a sequence parameter set from its NAL unit, header included.
    ///
    /// # Errors
    /// When it ends early or has values the specification does not allow.
    pub fn parse(unit: &[u8]) -> Result<Self, H264Error> {
        let rbsp = nal::rbsp(unit);
        Parser {
            reader: BitReader::new(&rbsp),
            len: unit.len(),
        }
        .sps()
    }

    /// Returns the `profile-level-id` of RFC 6184 section 8.1.
    pub fn profile_level_id(&self) -> [u8; 3] {
        [self.profile_idc, self.constraint_flags, self.level_idc]
    }
}

/// Returns whether sequence parameter sets of this profile contain chroma format and bit depth.
fn has_chroma_format(profile_idc: u8) -> bool {
    matches!(
        profile_idc,
        44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244
    )
}

/// Parses the fields in order. The end of the data is an error with the structure's name.
struct Parser<'a> {
    reader: BitReader<'a>,
    len: usize,
}

impl Parser<'_> {
    fn sps(&mut self) -> Result<Sps, H264Error> {
        let profile_idc = self.byte()?;
        let constraint_flags = self.byte()?;
        let level_idc = self.byte()?;
        let id = self.ue_at_most("seq_parameter_set_id", 31)? as u8;
        let mut chroma_format_idc = 1;
        let mut separate_color_planes = false;
        let mut bit_depth_luma = 8;
        let mut bit_depth_chroma = 8;
        if has_chroma_format(profile_idc) {
            chroma_format_idc = self.ue_at_most("chroma_format_idc", 3)? as u8;
            separate_color_planes = chroma_format_idc == 3 && self.flag()?;
            bit_depth_luma = 8 + self.ue_at_most("bit_depth_luma_minus8", 6)? as u8;
            bit_depth_chroma = 8 + self.ue_at_most("bit_depth_chroma_minus8", 6)? as u8;
            self.flag()?; // qpprime_y_zero_transform_bypass_flag
            if self.flag()? {
                self.skip_scaling_matrix(if chroma_format_idc == 3 { 12 } else { 8 })?;
            }
        }
        self.ue_at_most("log2_max_frame_num_minus4", 12)?;
        let pic_order_cnt_type = self.picture_order_count()?;
        let max_num_ref_frames = self.ue_at_most("max_num_ref_frames", 16)?;
        self.flag()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = 1 + self.ue_at_most("pic_width_in_mbs_minus1", MAX_MACROBLOCKS - 1)?;
        let map_units =
            1 + self.ue_at_most("pic_height_in_map_units_minus1", MAX_MACROBLOCKS - 1)?;
        let frame_mbs_only = self.flag()?;
        if !frame_mbs_only {
            self.flag()?; // mb_adaptive_frame_field_flag
        }
        self.flag()?; // direct_8x8_inference_flag
        let height_mbs = if frame_mbs_only {
            map_units
        } else {
            2 * map_units
        };
        let chroma = if separate_color_planes {
            0
        } else {
            chroma_format_idc
        };
        let (width, height) =
            self.cropped(width_mbs * 16, height_mbs * 16, chroma, frame_mbs_only)?;
        Ok(Sps {
            profile_idc,
            constraint_flags,
            level_idc,
            id,
            chroma_format_idc,
            bit_depth_luma,
            bit_depth_chroma,
            pic_order_cnt_type,
            max_num_ref_frames,
            frame_mbs_only,
            width,
            height,
            vui_at: self.reader.position(),
        })
    }

    /// Section 7.3.2.1.1.1.
    fn skip_scaling_matrix(&mut self, lists: usize) -> Result<(), H264Error> {
        for list in 0..lists {
            if !self.flag()? {
                continue;
            }
            let size = if list < 6 { 16 } else { 64 };
            let mut last_scale = 8;
            let mut next_scale = 8;
            for _ in 0..size {
                if next_scale != 0 {
                    let delta = self.se()?;
                    next_scale = (last_scale + delta).rem_euclid(256);
                }
                if next_scale != 0 {
                    last_scale = next_scale;
                }
            }
        }
        Ok(())
    }

    /// Parses the fields of the picture order count, and returns `pic_order_cnt_type`.
    fn picture_order_count(&mut self) -> Result<u8, H264Error> {
        let kind = self.ue_at_most("pic_order_cnt_type", 2)?;
        match kind {
            0 => {
                self.ue_at_most("log2_max_pic_order_cnt_lsb_minus4", 12)?;
            }
            1 => {
                self.flag()?; // delta_pic_order_always_zero_flag
                self.se()?; // offset_for_non_ref_pic
                self.se()?; // offset_for_top_to_bottom_field
                let cycle = self.ue_at_most("num_ref_frames_in_pic_order_cnt_cycle", 255)?;
                for _ in 0..cycle {
                    self.se()?;
                }
            }
            _ => {}
        }
        Ok(kind as u8)
    }

    /// Reads the cropping rectangle and applies it (equations 7-19 to 7-22). `chroma` is
    /// `ChromaArrayType`.
    fn cropped(
        &mut self,
        width: u32,
        height: u32,
        chroma: u8,
        frame_mbs_only: bool,
    ) -> Result<(u32, u32), H264Error> {
        if !self.flag()? {
            return Ok((width, height));
        }
        let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 } * if frame_mbs_only { 1 } else { 2 };
        let horizontal = [
            ("frame_crop_left_offset", self.ue()?),
            ("frame_crop_right_offset", self.ue()?),
        ];
        let vertical = [
            ("frame_crop_top_offset", self.ue()?),
            ("frame_crop_bottom_offset", self.ue()?),
        ];
        Ok((
            crop(width, unit_x, horizontal)?,
            crop(height, unit_y, vertical)?,
        ))
    }

    fn byte(&mut self) -> Result<u8, H264Error> {
        self.reader
            .bits(8)
            .map(|byte| byte as u8)
            .ok_or_else(|| self.truncated())
    }

    fn flag(&mut self) -> Result<bool, H264Error> {
        self.reader.flag().ok_or_else(|| self.truncated())
    }

    fn ue(&mut self) -> Result<u32, H264Error> {
        self.reader.ue().ok_or_else(|| self.truncated())
    }

    fn se(&mut self) -> Result<i32, H264Error> {
        // Deltas and offsets that matter here lie far inside this range.
        let value = self.reader.se().ok_or_else(|| self.truncated())?;
        Ok(value.clamp(-0x4000_0000, 0x4000_0000))
    }

    fn ue_at_most(&mut self, field: &'static str, most: u32) -> Result<u32, H264Error> {
        let value = self.ue()?;
        if value > most {
            return Err(out_of_range(field, value));
        }
        Ok(value)
    }

    fn truncated(&self) -> H264Error {
        H264Error::Truncated {
            structure: "sequence parameter set",
            len: self.len,
        }
    }
}

fn crop(size: u32, unit: u32, offsets: [(&'static str, u32); 2]) -> Result<u32, H264Error> {
    let mut left = size;
    for (field, offset) in offsets {
        left = offset
            .checked_mul(unit)
            .and_then(|cut| left.checked_sub(cut))
            .filter(|left| *left > 0)
            .ok_or_else(|| out_of_range(field, offset))?;
    }
    Ok(left)
}

fn out_of_range(field: &'static str, value: u32) -> H264Error {
    H264Error::OutOfRange {
        structure: "sequence parameter set",
        field,
        value: u64::from(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sps(hex: &str) -> Result<Sps, H264Error> {
        Sps::parse(&crate::test_util::hex(hex))
    }

    fn size(hex: &str) -> (u32, u32) {
        let sps = sps(hex).unwrap();
        (sps.width, sps.height)
    }

    #[test]
    fn baseline_sps_of_x264_is_parsed() {
        let sps = sps("6742c01ed900a02ff970110000030001000003003c0f162e48").unwrap();
        assert_eq!(sps.profile_level_id(), [0x42, 0xc0, 0x1e]);
        assert_eq!((sps.width, sps.height, sps.id), (640, 360, 0));
        assert_eq!((sps.chroma_format_idc, sps.bit_depth_luma), (1, 8));
        assert!(sps.frame_mbs_only);
    }

    #[test]
    fn cropping_is_applied_in_the_units_of_the_chroma_format() {
        // High, 1088 coded lines of which 1080 are shown.
        let high = "67640028acd940780227e5c044000003000400000300f03c60c658";
        assert_eq!(size(high), (1920, 1080));
        // The same interlaced: cropped by four lines a unit.
        let interlaced = "67640028acd94078044fde0220000003002000000783e2c5b2c0";
        assert_eq!(size(interlaced), (1920, 1080));
        assert!(!sps(interlaced).unwrap().frame_mbs_only);
        // 4:4:4 with odd sizes, and 4:2:2 with 10 bits.
        let yuv444 = "67f4000d919b282a33c211980880000003008000001e078a14cb";
        assert_eq!(size(yuv444), (321, 181));
        assert_eq!(sps(yuv444).unwrap().chroma_format_idc, 3);
        let yuv422 = sps("677a000db6cd941519e222f0110000030001000003003c0f142996").unwrap();
        assert_eq!((yuv422.width, yuv422.height), (322, 182));
        assert_eq!((yuv422.chroma_format_idc, yuv422.bit_depth_luma), (2, 10));
    }

    /// Returns a NAL unit of the bits that `fields` spell, after the header byte.
    fn unit_of_bits(fields: &str) -> Vec<u8> {
        let bits: Vec<u8> = fields
            .bytes()
            .filter(|bit| *bit != b' ')
            .map(|bit| bit - b'0')
            .collect();
        let bytes = bits.chunks(8).map(|byte| {
            byte.iter()
                .enumerate()
                .fold(0, |value, (at, bit)| value | bit << (7 - at))
        });
        std::iter::once(0x67).chain(bytes).collect()
    }

    #[test]
    fn scaling_lists_are_skipped() {
        // High, level 1.3, id 0, 4:2:0, 8 bits each, no bypass.
        let mut fields = "01100100 00000000 00001101 1 010 1 1 0".to_owned();
        // The first 4x4 list in full (delta 0 sixteen times), the second to use the default (its
        // first delta, -8, makes the scale 0), four absent; the first 8x8 list in full, one absent.
        fields += &format!(
            " 1 1 {} 1 000010001 0000 1 {} 0",
            "1".repeat(16),
            "1".repeat(64)
        );
        // Frame numbers of 4 bits, POC type 2, one reference, no gaps; 20 x 12 macroblocks in
        // frames, of which twelve lines (6 * 2) are cut off.
        fields += " 1 011 010 0 000010100 0001100 1 1 1 1 1 1 00111 0 1";
        let sps = Sps::parse(&unit_of_bits(&fields)).unwrap();
        assert_eq!((sps.width, sps.height), (320, 180));
    }

    #[test]
    fn picture_order_count_of_type_1_is_skipped() {
        // Baseline; POC type 1 with offsets 1 and -1 and a cycle of two.
        let fields = "01000010 00000000 00001101 1 1 010 0 010 011 011 010 011 \
                      010 0 000010100 0001100 1 1 0 0 1";
        let sps = Sps::parse(&unit_of_bits(fields)).unwrap();
        assert_eq!((sps.width, sps.height), (320, 192));
    }

    #[test]
    fn truncated_sps_is_an_error_at_every_length() {
        let whole = crate::test_util::hex("6742c01ed900a02ff970");
        assert!(
            Sps::parse(&whole).is_ok(),
            "the rest is VUI, which is not parsed"
        );
        for len in 0..9 {
            let cut = Sps::parse(&whole[..len]);
            assert!(
                matches!(cut, Err(H264Error::Truncated { .. })),
                "{len} bytes: {cut:?}"
            );
        }
    }

    #[test]
    fn sizes_over_all_levels_and_cropping_of_everything_are_refused() {
        // Baseline; POC type 2; a width of 2^16 macroblocks; one macroblock, all cut off.
        let head = "01000010 00000000 00001101 1 1 011 010 0";
        let wide = format!("{head} {}1{} 1 1 1 0 1", "0".repeat(16), "0".repeat(16));
        let unit = unit_of_bits(&wide);
        let error = Sps::parse(&unit).unwrap_err();
        let field = "pic_width_in_mbs_minus1";
        assert!(
            matches!(error, H264Error::OutOfRange { field: f, .. } if f == field),
            "{error}"
        );
        let cut = format!("{head} 1 1 1 1 1 0001001 1 1 1");
        let error = Sps::parse(&unit_of_bits(&cut)).unwrap_err();
        let field = "frame_crop_left_offset";
        assert!(
            matches!(error, H264Error::OutOfRange { field: f, .. } if f == field),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(unit in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(sps) = Sps::parse(&unit) {
                prop_assert!(sps.width > 0 && sps.width <= MAX_MACROBLOCKS * 16);
                prop_assert!(sps.height > 0 && sps.height <= MAX_MACROBLOCKS * 32);
            }
        }
    }
}
