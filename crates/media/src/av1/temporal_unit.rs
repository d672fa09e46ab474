//! What receivers over WebRTC need of each temporal unit.

use bytes::Bytes;

use super::obu::{Obu, ObuType, Obus};
use super::sequence_header::SequenceHeader;
use super::{Av1CodecConfigurationRecord, Av1Error};

/// Most OBUs in a temporal unit: the tiles of a very large picture, each in an OBU of its own.
const MAX_OBUS: usize = 1024;

/// Turns temporal units as publishers send them into ones that stand for themselves: a keyframe begins
/// with its sequence header, which publishers may send once, in the configuration, since a viewer may
/// join at any of them.
#[derive(Clone, Debug, Default)]
pub struct TemporalUnitFilter {
    /// The OBUs of the configuration, for keyframes that come without a sequence header.
    configuration: Bytes,
    active: Option<SequenceHeader>,
}

/// A temporal unit that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporalUnit {
    /// OBUs in the low-overhead form, in one piece or two.
    pub units: Vec<Bytes>,
    /// Whether decoding can start with it.
    pub keyframe: bool,
    /// The sequence header, when it says something else than the one before.
    pub new_header: Option<SequenceHeader>,
}

impl TemporalUnitFilter {
    /// Takes a configuration in place of all that came before. Returns the sequence header in it, if
    /// there is one.
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

    /// Filters one temporal unit. `None` when no frame is in it.
    ///
    /// # Errors
    /// When its framing or its sequence header is broken, or it is a keyframe without one. The filter
    /// can go on with the next unit.
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

/// Whether a receiver over RTP is not sent it. The delimiter of two bytes stays: other receivers expect it.
fn is_useless(unit: &Obu) -> bool {
    let is_delimiter = unit.kind() == ObuType::TEMPORAL_DELIMITER && unit.payload.is_empty();
    unit.kind().is_framing() && !is_delimiter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;

    /// 320x240 as SVT-AV1 writes it, with its size in front.
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
    fn a_keyframe_gets_the_sequence_header_that_it_lacks() {
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
    fn another_sequence_header_in_the_stream_is_told() {
        let mut tu = configured();
        let other = HEADER.replace("0521e7", "0521e3");
        let unit = filter(&mut tu, &[&other, KEYFRAME]).unwrap();
        assert!(unit.new_header.is_some());
        let unit = filter(&mut tu, &[&other, KEYFRAME]).unwrap();
        assert_eq!(unit.new_header, None);
    }

    #[test]
    fn a_keyframe_without_any_sequence_header_and_broken_units_are_errors() {
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
