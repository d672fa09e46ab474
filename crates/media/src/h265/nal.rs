//! NAL unit types (ITU-T H.265 table 7-1).

/// `nal_unit_type`: six bits of a NAL unit's first byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NalType(u8);

impl NalType {
    /// Video parameter set.
    pub const VPS: Self = Self(32);
    /// Sequence parameter set.
    pub const SPS: Self = Self(33);
    /// Picture parameter set.
    pub const PPS: Self = Self(34);
    /// Access unit delimiter.
    pub const AUD: Self = Self(35);
    /// End of sequence.
    pub const END_OF_SEQUENCE: Self = Self(36);
    /// End of bitstream.
    pub const END_OF_BITSTREAM: Self = Self(37);
    /// Filler data.
    pub const FILLER: Self = Self(38);

    /// Returns the type of a NAL unit; 0 for an empty one.
    pub fn of(unit: &[u8]) -> Self {
        Self(unit.first().map_or(0, |header| header >> 1 & 0x3f))
    }

    /// Returns its number, 0 to 63.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Returns whether it is a slice segment.
    pub fn is_slice(self) -> bool {
        self.0 < 32
    }

    /// Returns whether it belongs to a picture at which decoding can start (IRAP): BLA, IDR or CRA.
    pub fn is_irap(self) -> bool {
        matches!(self.0, 16..=23)
    }

    /// Returns whether it precedes the slice segments of an access unit: a parameter set, a prefix
    /// SEI, or a type that is reserved for that (ITU-T H.265 section 7.4.2.4.4).
    pub fn is_prefix(self) -> bool {
        self.is_parameter_set() || matches!(self.0, 39 | 41..=44 | 48..=55)
    }

    /// Returns whether it is a parameter set.
    pub fn is_parameter_set(self) -> bool {
        matches!(self, Self::VPS | Self::SPS | Self::PPS)
    }

    /// Returns whether an RTP receiver does not need it, since packets mark the access units and
    /// need no padding, or it cannot be sent: the payload format uses the unspecified types for its
    /// own packets (RFC 7798 section 4.4).
    pub fn is_framing(self) -> bool {
        matches!(
            self,
            Self::AUD | Self::END_OF_SEQUENCE | Self::END_OF_BITSTREAM | Self::FILLER
        ) || self.0 >= 48
    }
}

/// Returns whether a slice segment is the first of its picture: `first_slice_segment_in_pic_flag`,
/// the first bit after the header of two bytes (ITU-T H.265 section 7.3.6.1).
pub fn starts_picture(unit: &[u8]) -> bool {
    unit.get(2).is_none_or(|byte| byte & 0x80 != 0)
}
