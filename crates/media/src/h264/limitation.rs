//! Properties of a stream that some viewers do not support.

use std::fmt;

use super::avcc::AvcDecoderConfigurationRecord;
use super::sps::Sps;
use crate::track::{VideoCodec, VideoTrack};

/// A property of video that software decoders of browsers support, but most others do not: those of
/// phones, and of browsers that use the system's decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limitation {
    /// Color sampling other than 4:2:0; the value is `chroma_format_idc`.
    Chroma(u8),
    /// Samples have more than 8 bits.
    BitDepth(u8),
    /// Frames may be interlaced, and viewers do not deinterlace: moving edges look like combs.
    Interlaced,
}

impl Limitation {
    /// Returns the limitation of video with this parameter set, if there is one.
    pub fn of(sps: &Sps) -> Option<Self> {
        let depth = sps.bit_depth_luma.max(sps.bit_depth_chroma);
        match sps.chroma_format_idc {
            chroma @ 2.. => Some(Self::Chroma(chroma)),
            _ if depth > 8 => Some(Self::BitDepth(depth)),
            _ => (!sps.frame_mbs_only).then_some(Self::Interlaced),
        }
    }

    /// Returns the limitation of this track, if there is one.
    pub fn of_track(track: &VideoTrack) -> Option<Self> {
        if track.codec != VideoCodec::H264 {
            return None;
        }
        let record = AvcDecoderConfigurationRecord::parse(&track.config).ok()?;
        Self::of(&Sps::parse(record.sps.first()?).ok()?)
    }
}

impl fmt::Display for Limitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chroma(2) => f.write_str("the colors are 4:2:2"),
            Self::Chroma(_) => f.write_str("the colors are 4:4:4"),
            Self::BitDepth(bits) => write!(f, "the samples have {bits} bits"),
            Self::Interlaced => {
                return f.write_str(
                    "the video is interlaced, and moving edges look like combs: set the \
                     encoder to progressive",
                );
            }
        }?;
        f.write_str(
            ", which many phones and browsers cannot show: set the encoder to 4:2:0 with 8 bits \
             (NV12 or yuv420p)",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h264::parameter_sets::ParameterSets;
    use crate::test_util::hex;

    #[test]
    fn limited_formats_are_distinguished_from_common_ones() {
        for (sps, expected) in [
            ("6742c01ed900a02ff970110000030001000003003c0f162e48", None),
            (
                "67640028acd94078044fde0220000003002000000783e2c5b2c0",
                Some(Limitation::Interlaced),
            ),
            (
                "67f4000d919b282a33c211980880000003008000001e078a14cb",
                Some(Limitation::Chroma(3)),
            ),
            (
                "677a000db6cd941519e222f0110000030001000003003c0f142996",
                Some(Limitation::Chroma(2)),
            ),
        ] {
            let unit = hex(sps);
            assert_eq!(Limitation::of(&Sps::parse(&unit).unwrap()), expected);
            let mut sets = ParameterSets::default();
            sets.update_sps(&unit).unwrap();
            let track = VideoTrack {
                codec: VideoCodec::H264,
                width: 0,
                height: 0,
                profile_level_id: [unit[1], unit[2], unit[3]],
                config: AvcDecoderConfigurationRecord::write(&sets),
            };
            assert_eq!(Limitation::of_track(&track), expected);
        }
        assert!(Limitation::BitDepth(10).to_string().contains("10 bits"));
    }
}
