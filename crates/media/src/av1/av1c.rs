//! `AV1CodecConfigurationRecord`: the AV1 sequence header of FLV and MP4
//! (AV1 Codec ISO Media File Format Binding, section 2.3).

use bytes::Bytes;

use super::error::Av1Error;

/// Bytes before the OBUs.
const HEAD_LEN: usize = 4;

/// The configuration of a stream before its first frame.
///
/// ```text
/// +---+---------+-------------+-----------+------+-----------------+-----------------------+--------
/// | 1 | version | seq_profile | seq_level | tier | color, 7 bits   | display delay, 8 bits | OBUs ...
/// +---+---------+-------------+-----------+------+-----------------+-----------------------+--------
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Av1CodecConfigurationRecord {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_tier_0`.
    pub tier: u8,
    /// `seq_level_idx_0`.
    pub level_idx: u8,
    /// `configOBUs`: a sequence header and perhaps metadata, or nothing.
    pub obus: Bytes,
}

impl Av1CodecConfigurationRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// When it ends early.
    pub fn parse(data: &Bytes) -> Result<Self, Av1Error> {
        let &[_version, profile_and_level, tier_and_color, _delay, ..] = &data[..] else {
            return Err(Av1Error::Truncated {
                structure: "AV1CodecConfigurationRecord",
                len: data.len(),
            });
        };
        Ok(Self {
            profile: profile_and_level >> 5,
            tier: tier_and_color >> 7,
            level_idx: profile_and_level & 0x1f,
            obus: data.slice(HEAD_LEN..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_tier_and_level_are_parsed() {
        let record = Bytes::from_static(&[0x81, 0x2d, 0x8c, 0, 0x0a, 1, 7]);
        let record = Av1CodecConfigurationRecord::parse(&record).unwrap();
        assert_eq!((record.profile, record.tier, record.level_idx), (1, 1, 13));
        assert_eq!(record.obus, [0x0a, 1, 7][..]);
        assert!(Av1CodecConfigurationRecord::parse(&Bytes::from_static(&[0x81, 0, 0])).is_err());
    }
}
