//! Picture parameter sets (ITU-T H.264 section 7.3.2.2).

use super::error::H264Error;
use super::nal;
use crate::bits::BitReader;

/// Number of bytes of a NAL unit that contain the fields parsed here.
const HEAD: usize = 32;

/// The identity of a picture parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PpsIds {
    /// `pic_parameter_set_id`, 0 to 255.
    pub id: u8,
    /// `seq_parameter_set_id` of the sequence parameter set that it uses, 0 to 31.
    pub sps_id: u8,
}

impl PpsIds {
    /// Reads the ids from a picture parameter set's NAL unit, header included.
    ///
    /// # Errors
    /// When it ends early or an id is out of range.
    pub fn parse(unit: &[u8]) -> Result<Self, H264Error> {
        let structure = "picture parameter set";
        let len = unit.len();
        let truncated = H264Error::Truncated { structure, len };
        let rbsp = nal::rbsp(head(unit));
        let mut reader = BitReader::new(&rbsp);
        let (Some(id), Some(sps_id)) = (reader.ue(), reader.ue()) else {
            return Err(truncated);
        };
        let out_of_range = |field, value| H264Error::OutOfRange {
            structure,
            field,
            value: u64::from(value),
        };
        Ok(Self {
            id: u8::try_from(id).map_err(|_| out_of_range("pic_parameter_set_id", id))?,
            sps_id: u8::try_from(sps_id)
                .ok()
                .filter(|sps_id| *sps_id < 32)
                .ok_or_else(|| out_of_range("seq_parameter_set_id", sps_id))?,
        })
    }
}

fn head(unit: &[u8]) -> &[u8] {
    unit.get(..HEAD).unwrap_or(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read() {
        // x264 writes both ids as 0.
        let ids = PpsIds::parse(&[0x68, 0xeb, 0xe3, 0xcb]).unwrap();
        assert_eq!(ids, PpsIds { id: 0, sps_id: 0 });
        // 00101 (4), 010 (1).
        let ids = PpsIds::parse(&[0x68, 0b0010_1010]).unwrap();
        assert_eq!(ids, PpsIds { id: 4, sps_id: 1 });
    }

    #[test]
    fn ids_out_of_range_and_empty_units_are_errors() {
        // 000001 00001 (32) as seq_parameter_set_id.
        let error = PpsIds::parse(&[0x68, 0b1000_0010, 0b0001_0000]).unwrap_err();
        assert!(
            matches!(error, H264Error::OutOfRange { value: 32, .. }),
            "{error}"
        );
        assert!(matches!(
            PpsIds::parse(&[0x68]),
            Err(H264Error::Truncated { len: 1, .. })
        ));
        assert!(PpsIds::parse(&[]).is_err());
    }
}
