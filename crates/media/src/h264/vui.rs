//! The reorder depth that a stream declares: the end of a sequence parameter set's
//! video usability information (ITU-T H.264 section E.1.1).

use super::nal;
use super::sps::Sps;
use crate::bits::{BitReader, BitWriter};

/// `MaxDpbFrames` is at most 16 (ITU-T H.264 section A.3.1 h), so neither number can be more.
const MAX_FRAMES: u32 = 16;

/// The fields after `bitstream_restriction_flag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitstreamRestriction {
    /// `motion_vectors_over_pic_boundaries_flag`.
    pub motion_vectors_over_pic_boundaries: bool,
    /// `max_bytes_per_pic_denom`.
    pub max_bytes_per_pic_denom: u32,
    /// `max_bits_per_mb_denom`.
    pub max_bits_per_mb_denom: u32,
    /// `log2_max_mv_length_horizontal`.
    pub log2_max_mv_length_horizontal: u32,
    /// `log2_max_mv_length_vertical`.
    pub log2_max_mv_length_vertical: u32,
    /// `max_num_reorder_frames`: maximum frames that are decoded before another and shown after it,
    /// 0 to 16.
    pub max_num_reorder_frames: u32,
    /// `max_dec_frame_buffering`: frames that the decoder must store, 0 to 16.
    pub max_dec_frame_buffering: u32,
}

impl BitstreamRestriction {
    /// Returns the values inferred for absent fields (section E.2.1), with these numbers of frames.
    fn inferred(max_num_reorder_frames: u32, max_dec_frame_buffering: u32) -> Self {
        Self {
            motion_vectors_over_pic_boundaries: true,
            max_bytes_per_pic_denom: 2,
            max_bits_per_mb_denom: 1,
            log2_max_mv_length_horizontal: 15,
            log2_max_mv_length_vertical: 15,
            max_num_reorder_frames,
            max_dec_frame_buffering,
        }
    }

    /// Parses it from the NAL unit of a sequence parameter set. Returns `None` if it is absent or
    /// invalid.
    pub fn of_sps(unit: &[u8]) -> Option<Self> {
        let rbsp = nal::rbsp(unit);
        let at = Vui::locate(unit, &rbsp)?.restriction_at?;
        Self::read(&mut reader_at(&rbsp, at)?)
    }

    /// Parses it from its flag on.
    fn read(reader: &mut BitReader<'_>) -> Option<Self> {
        reader.flag()?.then_some(())?;
        let restriction = Self {
            motion_vectors_over_pic_boundaries: reader.flag()?,
            max_bytes_per_pic_denom: reader.ue()?,
            max_bits_per_mb_denom: reader.ue()?,
            log2_max_mv_length_horizontal: reader.ue()?,
            log2_max_mv_length_vertical: reader.ue()?,
            max_num_reorder_frames: reader.ue()?,
            max_dec_frame_buffering: reader.ue()?,
        };
        let frames = [
            restriction.max_num_reorder_frames,
            restriction.max_dec_frame_buffering,
        ];
        frames
            .iter()
            .all(|frames| *frames <= MAX_FRAMES)
            .then_some(restriction)
    }

    fn write(self, writer: &mut BitWriter) {
        writer.flag(true);
        writer.flag(self.motion_vectors_over_pic_boundaries);
        writer.ue(self.max_bytes_per_pic_denom);
        writer.ue(self.max_bits_per_mb_denom);
        writer.ue(self.log2_max_mv_length_horizontal);
        writer.ue(self.log2_max_mv_length_vertical);
        writer.ue(self.max_num_reorder_frames);
        writer.ue(self.max_dec_frame_buffering);
    }
}

/// Returns the sequence parameter set of this NAL unit with another `max_num_reorder_frames`, and a
/// `max_dec_frame_buffering` that is sufficient for it and the references. All other fields are
/// unchanged. Returns `None` if the unit cannot be parsed.
pub fn with_reorder_frames(unit: &[u8], max_num_reorder_frames: u32) -> Option<Vec<u8>> {
    let rbsp = nal::rbsp(unit);
    let vui = Vui::locate(unit, &rbsp)?;
    let frames = max_num_reorder_frames.min(MAX_FRAMES);
    let buffering = frames.max(vui.max_num_ref_frames);
    let mut restriction = BitstreamRestriction::inferred(frames, buffering);
    let mut writer = BitWriter::default();
    let mut reader = BitReader::new(&rbsp);
    let kept = vui.restriction_at.unwrap_or(vui.at);
    for _ in 0..kept {
        writer.flag(reader.flag()?);
    }
    if vui.restriction_at.is_none() {
        writer.flag(true); // vui_parameters_present_flag
        // All parts are absent, from aspect_ratio_info_present_flag to
        // vcl_hrd_parameters_present_flag, and so is pic_struct.
        writer.bits(0, 8);
    } else if let Some(present) = BitstreamRestriction::read(&mut reader) {
        restriction = BitstreamRestriction {
            max_num_reorder_frames: frames,
            max_dec_frame_buffering: buffering,
            ..present
        };
    }
    restriction.write(&mut writer);
    Some(nal::unit_of(*unit.first()?, &writer.finish_rbsp()))
}

/// The positions of the parts of a sequence parameter set, in bits from the start of its payload.
struct Vui {
    /// `vui_parameters_present_flag`.
    at: usize,
    /// `bitstream_restriction_flag`, if there is a VUI.
    restriction_at: Option<usize>,
    max_num_ref_frames: u32,
}

impl Vui {
    fn locate(unit: &[u8], rbsp: &[u8]) -> Option<Self> {
        let sps = Sps::parse(unit).ok()?;
        let mut reader = reader_at(rbsp, sps.vui_at)?;
        let restriction_at = if reader.flag()? {
            skip_to_restriction(&mut reader)?;
            Some(reader.position())
        } else {
            None
        };
        Some(Self {
            at: sps.vui_at,
            restriction_at,
            max_num_ref_frames: sps.max_num_ref_frames,
        })
    }
}

fn reader_at(rbsp: &[u8], position: usize) -> Option<BitReader<'_>> {
    let mut reader = BitReader::new(rbsp);
    reader.skip(position)?;
    Some(reader)
}

/// Skips everything between the two flags.
fn skip_to_restriction(reader: &mut BitReader<'_>) -> Option<()> {
    const EXTENDED_SAR: u32 = 255;
    // aspect_ratio_info_present_flag, aspect_ratio_idc
    if reader.flag()? && reader.bits(8)? == EXTENDED_SAR {
        reader.skip(32)?;
    }
    // overscan_info_present_flag
    if reader.flag()? {
        reader.skip(1)?;
    }
    // video_signal_type_present_flag
    if reader.flag()? {
        reader.skip(4)?;
        // colour_description_present_flag
        if reader.flag()? {
            reader.skip(24)?;
        }
    }
    // chroma_loc_info_present_flag
    if reader.flag()? {
        reader.ue()?;
        reader.ue()?;
    }
    // timing_info_present_flag
    if reader.flag()? {
        reader.skip(65)?;
    }
    // nal_hrd_parameters_present_flag, vcl_hrd_parameters_present_flag
    let mut has_hrd = false;
    for _ in 0..2 {
        if reader.flag()? {
            has_hrd = true;
            skip_hrd(reader)?;
        }
    }
    if has_hrd {
        reader.skip(1)?; // low_delay_hrd_flag
    }
    reader.skip(1) // pic_struct_present_flag
}

/// `hrd_parameters()` (section E.1.2).
fn skip_hrd(reader: &mut BitReader<'_>) -> Option<()> {
    const MAX_CPB_COUNT: u32 = 32;
    let count = 1 + reader.ue()?;
    if count > MAX_CPB_COUNT {
        return None;
    }
    reader.skip(8)?;
    for _ in 0..count {
        reader.ue()?;
        reader.ue()?;
        reader.skip(1)?;
    }
    reader.skip(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;
    use proptest::prelude::*;

    /// As x264 writes them: without B-frames; with them; with a constant bitrate and its buffer
    /// description; and one of a camera, without any of this.
    const BASELINE: &str = "6742c01ed900a02ff970110000030001000003003c0f162e48";
    const HIGH: &str = "67640028acd940780227e5c044000003000400000300f03c60c658";
    const BARE: &str = "6742c01ed900a02ff900";

    fn reordering(unit: &[u8]) -> Numbers {
        BitstreamRestriction::of_sps(unit).map(|restriction| {
            (
                restriction.max_num_reorder_frames,
                restriction.max_dec_frame_buffering,
            )
        })
    }

    #[test]
    fn numbers_of_frames_are_parsed() {
        assert_eq!(reordering(&hex(BASELINE)), Some((0, 3)));
        assert_eq!(reordering(&hex(HIGH)), Some((2, 4)));
        assert_eq!(reordering(&hex(BARE)), None);
        assert_eq!(reordering(&[]), None);
    }

    #[test]
    fn only_the_two_numbers_change() {
        let high = hex(HIGH);
        let same = with_reorder_frames(&high, 2).unwrap();
        assert_eq!(same, high, "bit for bit");
        let none = with_reorder_frames(&high, 0).unwrap();
        assert_eq!(reordering(&none), Some((0, 4)));
        assert_eq!(
            BitstreamRestriction {
                max_num_reorder_frames: 2,
                ..BitstreamRestriction::of_sps(&none).unwrap()
            },
            BitstreamRestriction::of_sps(&high).unwrap()
        );
        assert_eq!(with_reorder_frames(&none, 2).unwrap(), high);
    }

    type Numbers = Option<(u32, u32)>;

    /// Parameter sets of encoders with many optional fields, with their `max_num_reorder_frames`
    /// and `max_dec_frame_buffering`, if present, and their `max_num_ref_frames`.
    const OF_ENCODERS: [(&str, Numbers, u32, &str); 9] = [
        (
            "x264, High, full range",
            Some((2, 4)),
            4,
            "6764001facd9405005bb016c80000003008000001e078c18cb",
        ),
        (
            "x264, High, cropped, 60 per second",
            Some((2, 4)),
            4,
            "6764002aacd940780227e5c044000003000400000301e03c60c658",
        ),
        (
            "x264, Baseline, cropped, 15 per second",
            Some((0, 3)),
            3,
            "6742c00cd90171be7930110000030001000003001e0f142a48",
        ),
        (
            "x264, High, constant bitrate with NAL HRD",
            Some((0, 3)),
            3,
            "67640028acb200f0044fcb8088000003000800000301e3230007a12000f427161803c60c92",
        ),
        (
            "x264, Main, interlaced, NAL HRD, extended aspect ratio, overscan and colors",
            Some((1, 3)),
            3,
            "674d4028f200b4089fbc06d4040405000003000100000300326260002dc6c001e84a0c300f8b1689",
        ),
        (
            "x264, Main, zerolatency",
            Some((0, 3)),
            3,
            "674d401ed900a03db0110000030001000003003c8f162e48",
        ),
        (
            "OpenH264",
            Some((0, 1)),
            1,
            "6742c01e8c8d405017fcb00f08846a",
        ),
        ("Baseline, 352x288, no VUI", None, 3, BARE),
        ("x264, Constrained Baseline", Some((0, 3)), 3, BASELINE),
    ];

    /// Returns the bits of a parameter set up to its restriction, or to where that would be.
    fn bits_before_restriction(unit: &[u8]) -> Vec<bool> {
        let rbsp = nal::rbsp(unit);
        let vui = Vui::locate(unit, &rbsp).unwrap();
        let mut reader = BitReader::new(&rbsp);
        let count = vui.restriction_at.unwrap_or(vui.at);
        (0..count).map(|_| reader.flag().unwrap()).collect()
    }

    #[test]
    fn other_fields_of_real_parameter_sets_are_unchanged() {
        for (name, numbers, references, unit) in OF_ENCODERS {
            let unit = hex(unit);
            assert_eq!(reordering(&unit), numbers, "{name}");
            for frames in 0..=2 {
                let rewritten = with_reorder_frames(&unit, frames).unwrap();
                let expected = (frames, references.max(frames));
                assert_eq!(reordering(&rewritten), Some(expected), "{name}");
                let (before, after) = (Sps::parse(&unit), Sps::parse(&rewritten));
                assert_eq!(before.unwrap(), after.unwrap(), "{name}");
                let kept = bits_before_restriction(&unit);
                assert_eq!(
                    bits_before_restriction(&rewritten)[..kept.len()],
                    kept,
                    "{name}"
                );
                let restriction = BitstreamRestriction {
                    max_num_reorder_frames: frames,
                    max_dec_frame_buffering: expected.1,
                    ..BitstreamRestriction::of_sps(&unit)
                        .unwrap_or(BitstreamRestriction::inferred(0, 0))
                };
                let found = BitstreamRestriction::of_sps(&rewritten);
                assert_eq!(found, Some(restriction), "{name}");
                // Once present, it is restored bit for bit.
                let other = with_reorder_frames(&rewritten, 3).unwrap();
                assert_eq!(
                    with_reorder_frames(&other, frames).unwrap(),
                    rewritten,
                    "{name}"
                );
                if numbers == Some(expected) {
                    assert_eq!(rewritten, unit, "{name}");
                }
            }
        }
    }

    #[test]
    fn missing_fields_are_added() {
        let bare = hex(BARE);
        let with = with_reorder_frames(&bare, 2).unwrap();
        assert_eq!(reordering(&with), Some((2, 3)));
        let (before, after) = (Sps::parse(&bare).unwrap(), Sps::parse(&with).unwrap());
        assert_eq!(before, after);
    }

    #[test]
    fn all_other_parts_are_skipped() {
        // Extended aspect ratio, overscan, colors, chroma location, timing, both HRDs with two
        // buffers.
        let sps = Sps::parse(&hex(BARE)).unwrap();
        let rbsp = nal::rbsp(&hex(BARE)).into_owned();
        let mut reader = BitReader::new(&rbsp);
        let mut writer = BitWriter::default();
        for _ in 0..sps.vui_at {
            writer.flag(reader.flag().unwrap());
        }
        writer.bits(0b11, 2);
        writer.bits(255, 8);
        writer.bits(0x0004_0003, 32);
        writer.bits(0b11, 2);
        writer.bits(0b11_0111, 6);
        writer.bits(0x01_0101, 24);
        writer.flag(true);
        writer.ue(1);
        writer.ue(2);
        writer.flag(true);
        writer.bits(0, 64);
        writer.flag(false);
        for _ in 0..2 {
            writer.flag(true);
            writer.ue(1);
            writer.bits(0x12, 8);
            for _ in 0..2 {
                writer.ue(1000);
                writer.ue(2000);
                writer.flag(false);
            }
            writer.bits(0, 20);
        }
        writer.bits(0b01, 2);
        BitstreamRestriction::inferred(3, 4).write(&mut writer);
        let unit = nal::unit_of(0x67, &writer.finish_rbsp());
        assert_eq!(reordering(&unit), Some((3, 4)));
        let other = with_reorder_frames(&unit, 1).unwrap();
        assert_eq!(reordering(&other), Some((1, 3)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(unit in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(other) = with_reorder_frames(&unit, 2) {
                prop_assert_eq!(reordering(&other).map(|(frames, _)| frames), Some(2));
            }
        }

        #[test]
        fn emulation_prevention_is_reversible(rbsp in proptest::collection::vec(0u8..5, 0..100)) {
            let unit = nal::unit_of(0x67, &rbsp);
            prop_assert!(!unit.windows(3).any(|window| matches!(window, [0, 0, 0..=2])));
            // A payload never ends in zeros, and the end of a unit never looks like emulation
            // prevention.
            if rbsp.last().is_some_and(|last| *last != 0) {
                let back = nal::rbsp(&unit);
                prop_assert_eq!(&back[..], &rbsp[..]);
            }
        }
    }
}
