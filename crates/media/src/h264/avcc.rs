//! `AVCDecoderConfigurationRecord`: the H.264 sequence header of FLV and MP4
//! (ISO/IEC 14496-15 section 5.3.3.1).

use bytes::{BufMut, Bytes, BytesMut};

use super::error::H264Error;
use super::nal::{self, AnnexB, NalType};
use super::parameter_sets::ParameterSets;

/// Maximum size of a record, in bytes.
const MAX_LEN: usize = 64 << 10;

const STRUCTURE: &str = "AVCDecoderConfigurationRecord";

/// The framing of access units, and the first parameter sets.
///
/// ```text
/// +---------+---------+-------+-------+------------+---------+-----------------+---------+-------
/// | version | profile | flags | level | 111111 len | 111 num | (length, SPS) * | num PPS | ...
/// |    1    |   idc   |       |  idc  | size - 1   |   SPS   |   16 bits       |         |
/// +---------+---------+-------+-------+------------+---------+-----------------+---------+-------
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcDecoderConfigurationRecord {
    /// `AVCProfileIndication`, `profile_compatibility` and `AVCLevelIndication`.
    pub profile_level_id: [u8; 3],
    /// Bytes in the length before each NAL unit: 1, 2 or 4, and against the standard 3.
    pub length_size: u8,
    /// Sequence parameter sets. There may be none: then access units carry them.
    pub sps: Vec<Bytes>,
    /// Picture parameter sets.
    pub pps: Vec<Bytes>,
}

impl AvcDecoderConfigurationRecord {
    /// Parses a record. The fields that High profiles append are skipped, since the parameter sets
    /// repeat them. Bare parameter sets after start codes are accepted too, since some encoders
    /// send them.
    ///
    /// # Errors
    /// When it ends early, is too large, or has another version.
    pub fn parse(data: &Bytes) -> Result<Self, H264Error> {
        let len = data.len();
        if len > MAX_LEN {
            let (structure, limit) = (STRUCTURE, MAX_LEN);
            return Err(H264Error::TooLarge {
                structure,
                len,
                limit,
            });
        }
        if nal::begins_with_start_code(data) {
            return Ok(Self::of_annex_b(data));
        }
        let mut rest = data.clone();
        Self::read(&mut rest)?.ok_or(H264Error::Truncated {
            structure: STRUCTURE,
            len,
        })
    }

    /// Returns the record of the parameter sets in these NAL units (ITU-T H.264 annex B).
    fn of_annex_b(data: &Bytes) -> Self {
        let of_type = |kind: NalType| {
            let units = AnnexB::new(data);
            units
                .filter(move |unit| NalType::of(unit) == kind)
                .collect()
        };
        let sps: Vec<Bytes> = of_type(NalType::SPS);
        let profile_level_id = sps
            .first()
            .and_then(|sps| sps.get(1..4)?.try_into().ok())
            .unwrap_or_default();
        Self {
            profile_level_id,
            length_size: 4,
            sps,
            pps: of_type(NalType::PPS),
        }
    }

    fn read(rest: &mut Bytes) -> Result<Option<Self>, H264Error> {
        let Some(head) = take(rest, 6) else {
            return Ok(None);
        };
        if head[0] != 1 {
            return Err(out_of_range("configurationVersion", head[0]));
        }
        let length_size = (head[4] & 3) + 1;
        let Some(sps) = take_sets(rest, head[5] & 0x1f) else {
            return Ok(None);
        };
        let Some(count) = take(rest, 1) else {
            return Ok(None);
        };
        let Some(pps) = take_sets(rest, count[0]) else {
            return Ok(None);
        };
        Ok(Some(Self {
            profile_level_id: [head[1], head[2], head[3]],
            length_size,
            sps,
            pps,
        }))
    }

    /// Writes the record of a stream with these parameter sets and lengths of four bytes.
    ///
    /// High profiles append their chroma format and bit depths, as the specification demands.
    pub fn write(sets: &ParameterSets) -> Bytes {
        let mut record = BytesMut::new();
        let Some((first, _)) = sets.active_sps(None) else {
            return Bytes::new();
        };
        record.put_u8(1);
        record.put_slice(&first.profile_level_id());
        record.put_u8(0xff);
        // The field has five bits.
        let sps_count = sets.sps_units().count().min(31);
        record.put_u8(0xe0 | sps_count as u8);
        put_sets(&mut record, sets.sps_units().take(sps_count));
        let pps_count = sets.pps_units().count().min(255);
        record.put_u8(pps_count as u8);
        put_sets(&mut record, sets.pps_units().take(pps_count));
        if matches!(first.profile_idc, 100 | 110 | 122 | 144) {
            record.put_u8(0xfc | first.chroma_format_idc);
            record.put_u8(0xf8 | (first.bit_depth_luma - 8));
            record.put_u8(0xf8 | (first.bit_depth_chroma - 8));
            record.put_u8(0);
        }
        record.freeze()
    }
}

fn take(rest: &mut Bytes, len: usize) -> Option<Bytes> {
    (rest.len() >= len).then(|| rest.split_to(len))
}

fn take_sets(rest: &mut Bytes, count: u8) -> Option<Vec<Bytes>> {
    let mut sets = Vec::new();
    for _ in 0..count {
        let len = take(rest, 2)?;
        let set = take(rest, usize::from(u16::from_be_bytes([len[0], len[1]])))?;
        if !set.is_empty() {
            sets.push(set);
        }
    }
    Some(sets)
}

fn put_sets<'a>(record: &mut BytesMut, sets: impl Iterator<Item = &'a Bytes>) {
    for set in sets {
        // Stored parameter sets are far shorter than the maximum of the field.
        record.put_u16(set.len() as u16);
        record.put_slice(set);
    }
}

fn out_of_range(field: &'static str, value: u8) -> H264Error {
    H264Error::OutOfRange {
        structure: STRUCTURE,
        field,
        value: u64::from(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;

    /// As ffmpeg writes it for a High stream: four bytes follow the parameter sets.
    const HIGH: &str = "01640028 ffe1 001b 67640028acd940780227e5c044000003000400000300f03c60c658
        01 0006 68ebe3cb22c0 fdf8f800";

    #[test]
    fn record_of_ffmpeg_is_parsed() {
        let record = AvcDecoderConfigurationRecord::parse(&hex(HIGH).into()).unwrap();
        assert_eq!(record.profile_level_id, [0x64, 0, 0x28]);
        assert_eq!(record.length_size, 4);
        assert_eq!(record.sps[0].len(), 27);
        assert_eq!(record.pps, [hex("68ebe3cb22c0")]);
    }

    #[test]
    fn record_survives_parsing_and_writing() {
        let original = Bytes::from(hex(HIGH));
        let record = AvcDecoderConfigurationRecord::parse(&original).unwrap();
        let mut sets = ParameterSets::default();
        sets.update_sps(&record.sps[0]).unwrap();
        sets.update_pps(&record.pps[0], false).unwrap();
        assert_eq!(AvcDecoderConfigurationRecord::write(&sets), original);
    }

    #[test]
    fn truncated_record_is_an_error_at_every_length() {
        let whole = Bytes::from(hex(HIGH));
        for len in 0..whole.len() - 4 {
            let cut = AvcDecoderConfigurationRecord::parse(&whole.slice(..len));
            assert!(
                matches!(cut, Err(H264Error::Truncated { .. })),
                "{len} bytes: {cut:?}"
            );
        }
    }

    #[test]
    fn length_size_of_three_is_read() {
        let mut data = hex(HIGH);
        data[4] = 0xfe;
        let record = AvcDecoderConfigurationRecord::parse(&data.into()).unwrap();
        assert_eq!(record.length_size, 3);
    }

    #[test]
    fn wrong_version_and_huge_record_are_refused() {
        let mut data = hex(HIGH);
        data[0] = 2;
        let error = AvcDecoderConfigurationRecord::parse(&data.into()).unwrap_err();
        assert!(matches!(error, H264Error::OutOfRange { .. }), "{error}");
        let mut data = hex(HIGH);
        data.resize(MAX_LEN + 1, 0);
        let error = AvcDecoderConfigurationRecord::parse(&data.into()).unwrap_err();
        assert!(matches!(error, H264Error::TooLarge { .. }), "{error}");
    }
}
