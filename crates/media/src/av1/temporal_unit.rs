//! Prepares temporal units for WebRTC receivers.

use bytes::Bytes;

use super::av1c::Av1CodecConfigurationRecord;
use super::error::Av1Error;
use super::obu::{Obu, ObuType, Obus};
use super::sequence_header::SequenceHeader;

/// Maximum OBUs in a temporal unit: the tiles of a very large frame, each in a separate OBU.
const MAX_OBUS: usize = 1024;

/// Makes temporal units of publishers self-contained: a keyframe starts with its sequence header,
/// since a viewer may join at any keyframe, and publishers may send the header only once, in the
/// configuration.
#[derive(Clone, Debug, Default)]
pub struct TemporalUnitFilter {
    /// The OBUs of the configuration, for keyframes without a sequence header.
    configuration: Bytes,
    active: Option<SequenceHeader>,
}

/// A temporal unit that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporalUnit {
    /// OBUs in the low-overhead form, in one piece or two.
    pub units: Vec<Bytes>,
    /// True if decoding can start with it.
    pub keyframe: bool,
    /// The sequence header, if it differs from the previous one.
    pub new_header: Option<SequenceHeader>,
}

impl TemporalUnitFilter {
    /// Replaces the configuration. Returns the sequence header in it, if there is one.
    pub fn configure(&mut self, record: &Av1CodecConfigurationRecord) -> Option<SequenceHeader> {
        // A copy: a slice would keep the buffer it was read into for as long as the track lasts.
        self.configuration = Bytes::copy_from_slice(&record.obus);
        let mut units = Obus::new(self.configuration.clone()).map_while(Result::ok);
        self.active = units.find_map(|unit| {
            let is_header = unit.kind() == ObuType::SEQUENCE_HEADER;
            SequenceHeader::parse(&unit.payload)
                .ok()
                .filter(|_| is_header)
        });
        self.active
    }

    /// Filters one temporal unit. Returns `None` if it has no frame.
    ///
    /// # Errors
    /// When its framing or its sequence header is broken, or it is a keyframe without one. The
    /// filter can continue with the next unit.
    pub fn filter(&mut self, data: &Bytes) -> Result<Option<TemporalUnit>, Av1Error> {
        let (mut header, mut keyframe) = (None, None);
        let mut obus = Obus::new(data.clone());
        let (mut units, mut begin, mut count) = (Vec::new(), 0, 0);
        loop {
            let at = data.len() - obus.remaining();
            let Some(unit) = obus.next().transpose()? else {
                break;
            };
            if count == MAX_OBUS {
                return Err(Av1Error::TooManyObus { limit: MAX_OBUS });
            }
            count += 1;
            if is_useless(&unit) {
                units.push(data.slice(begin..at));
                begin = data.len() - obus.remaining();
            } else if unit.kind() == ObuType::SEQUENCE_HEADER && header.is_none() {
                header = Some(SequenceHeader::parse(&unit.payload)?);
            } else if unit.begins_frame() && keyframe.is_none() {
                keyframe = Some(unit.begins_keyframe());
            }
        }
        let Some(keyframe) = keyframe else {
            return Ok(None);
        };
        units.push(data.slice(begin..));
        units.retain(|unit| !unit.is_empty());
        let mut new_header = None;
        if keyframe {
            if header.is_none() {
                if self.active.is_none() {
                    return Err(Av1Error::NoSequenceHeader);
                }
                units.insert(0, self.configuration.clone());
            } else if self.active != header {
                self.active = header;
                new_header = header;
            }
        }
        Ok(Some(TemporalUnit {
            units,
            keyframe,
            new_header,
        }))
    }
}

/// Returns whether an RTP receiver does not need it. The delimiter of two bytes stays: other
/// receivers expect it.
fn is_useless(unit: &Obu) -> bool {
    let is_delimiter = unit.kind() == ObuType::TEMPORAL_DELIMITER && unit.payload.is_empty();
    unit.kind().is_framing() && !is_delimiter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;

    /// 320x240 as SVT-AV1 writes it, with its size before it.
    const HEADER: &str = "0a0b0200000521e7fde257c802";
    const KEYFRAME: &str = "3203 10aabb";
    const FRAME: &str = "3203 30aabb";
    const DELIMITER: &str = "1200";

    fn configured() -> TemporalUnitFilter {
        let mut filter = TemporalUnitFilter::default();
        let record = hex(&format!("81000c00 {HEADER}")).into();
        let record = Av1CodecConfigurationRecord::parse(&record).unwrap();
        assert!(filter.configure(&record).is_some());
        filter
    }

    fn filter(filter: &mut TemporalUnitFilter, units: &[&str]) -> Option<TemporalUnit> {
        filter.filter(&hex(&units.concat()).into()).unwrap()
    }

    #[test]
    fn keyframe_gets_the_missing_sequence_header() {
        let mut tu = configured();
        let unit = filter(&mut tu, &[DELIMITER, KEYFRAME]).unwrap();
        assert!(unit.keyframe);
        assert_eq!(unit.units[0], hex(HEADER));
        assert_eq!(unit.units[1], hex(&[DELIMITER, KEYFRAME].concat()));
        let unit = filter(&mut tu, &[HEADER, KEYFRAME]).unwrap();
        assert_eq!((unit.units.len(), unit.new_header), (1, None));
        let unit = filter(&mut tu, &[FRAME]).unwrap();
        assert_eq!((unit.units.len(), unit.keyframe), (1, false));
        assert_eq!(filter(&mut tu, &[DELIMITER]), None, "no frame");
    }

    #[test]
    fn padding_is_left_out() {
        const PADDING: &str = "7a03ffffff";
        let mut tu = configured();
        let parts = [
            PADDING, DELIMITER, HEADER, PADDING, PADDING, KEYFRAME, PADDING,
        ];
        let unit = filter(&mut tu, &parts).unwrap();
        assert_eq!(
            unit.units,
            [hex(&[DELIMITER, HEADER].concat()), hex(KEYFRAME)]
        );
    }

    #[test]
    fn changed_sequence_header_in_the_stream_is_returned() {
        let mut tu = configured();
        let other = HEADER.replace("0521e7", "0521e3");
        let unit = filter(&mut tu, &[&other, KEYFRAME]).unwrap();
        assert!(unit.new_header.is_some());
        let unit = filter(&mut tu, &[&other, KEYFRAME]).unwrap();
        assert_eq!(unit.new_header, None);
    }

    #[test]
    fn keyframe_without_sequence_header_and_broken_units_are_errors() {
        let mut tu = TemporalUnitFilter::default();
        let error = tu.filter(&hex(KEYFRAME).into()).unwrap_err();
        assert_eq!(error, Av1Error::NoSequenceHeader);
        assert!(tu.filter(&hex("3204 10").into()).is_err());
        let many = hex(&DELIMITER.repeat(MAX_OBUS + 1));
        let error = tu.filter(&many.into()).unwrap_err();
        assert_eq!(error, Av1Error::TooManyObus { limit: MAX_OBUS });
        assert!(filter(&mut tu, &[HEADER, KEYFRAME]).is_some(), "it goes on");
    }
}
