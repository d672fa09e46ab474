//! What receivers over WebRTC need of each access unit.

use bytes::Bytes;

use super::H264Error;
use super::avcc::AvcDecoderConfigurationRecord;
use super::nal::NalType;
use super::parameter_sets::ParameterSets;
use super::sei;
use super::slice::SliceHead;
use super::sps::Sps;

/// Most NAL units in an access unit: slices of one packet each in a very large picture.
const MAX_NAL_UNITS: usize = 2048;

/// Turns access units as publishers send them into ones that stand for themselves.
///
/// - An IDR picture begins with all parameter sets in force: a viewer may join at any of them, and
///   publishers send the sets once, in the sequence header.
/// - Parameter sets inside the stream replace the stored ones. What comes apart from any picture is
///   taken along by the next one.
/// - Access unit delimiters, end markers, filler data and the timing of buffers are left out: RTP marks
///   the access units itself, and of an encoder that pads to a constant bitrate nearly everything may
///   be filler.
#[derive(Clone, Debug, Default)]
pub struct AccessUnitFilter {
    sets: ParameterSets,
    /// The sequence parameter set of the pictures so far.
    active: Option<Bytes>,
}

/// An access unit that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// NAL units in decoding order, none of them empty.
    pub units: Vec<Bytes>,
    /// Whether it is an IDR picture.
    pub keyframe: bool,
    /// The sequence parameter set, when it is another than that of the pictures before.
    pub new_sps: Option<Sps>,
}

impl AccessUnitFilter {
    /// Takes the parameter sets of a sequence header in place of all that came before. Returns the
    /// sequence parameter set that pictures are expected to use, if the record has one.
    ///
    /// # Errors
    /// When a parameter set cannot be read; the former ones then stay in force.
    pub fn configure(
        &mut self,
        record: &AvcDecoderConfigurationRecord,
    ) -> Result<Option<Sps>, H264Error> {
        let mut sets = ParameterSets::default();
        for unit in &record.sps {
            sets.update_sps(unit)?;
        }
        for unit in &record.pps {
            sets.update_pps(unit, false)?;
        }
        self.sets = sets;
        let active = self.sets.active_sps(None);
        self.active = active.map(|(_, unit)| unit.clone());
        Ok(active.map(|(sps, _)| sps.clone()))
    }

    /// The parameter sets in force.
    pub fn parameter_sets(&self) -> &ParameterSets {
        &self.sets
    }

    /// Filters one access unit. `None` when no frame is left of it. Of one that is cut short the complete
    /// units are used.
    ///
    /// # Errors
    /// When a parameter set is broken or no slice is complete, or it is an IDR picture without parameter
    /// sets. The filter can go on with the next access unit.
    pub fn filter(
        &mut self,
        units: impl Iterator<Item = Result<Bytes, H264Error>>,
    ) -> Result<Option<AccessUnit>, H264Error> {
        let mut kept = Vec::new();
        let mut broken = None;
        for unit in units {
            let unit = match unit {
                Ok(unit) => unit,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            };
            let kind = NalType::of(&unit);
            if kind.is_framing() || kind == NalType::SEI && sei::is_only_timing(&unit) {
                continue;
            }
            if kept.len() == MAX_NAL_UNITS {
                let limit = MAX_NAL_UNITS;
                return Err(H264Error::TooManyNalUnits { limit });
            }
            kept.push(unit);
        }
        let first_idr = kept
            .iter()
            .find(|unit| NalType::of(unit) == NalType::IDR)
            .cloned();
        let has_picture = kept.iter().any(|unit| NalType::of(unit).is_slice());
        for unit in &kept {
            match NalType::of(unit) {
                NalType::SPS => self.sets.update_sps(unit)?,
                NalType::PPS => self.sets.update_pps(unit, !has_picture)?,
                _ => {}
            }
        }
        if !has_picture {
            return broken.map_or(Ok(None), Err);
        }
        let Some(slice) = first_idr else {
            kept.splice(0..0, self.sets.take_pending());
            return Ok(Some(AccessUnit {
                units: kept,
                keyframe: false,
                new_sps: None,
            }));
        };
        self.put_parameter_sets_first(&mut kept)?;
        Ok(Some(AccessUnit {
            units: kept,
            keyframe: true,
            new_sps: self.activate(&slice),
        }))
    }

    fn put_parameter_sets_first(&mut self, units: &mut Vec<Bytes>) -> Result<(), H264Error> {
        if self.sets.sps_units().next().is_none() {
            let missing = "sequence parameter set";
            return Err(H264Error::NoParameterSet { missing });
        }
        if self.sets.pps_units().next().is_none() {
            let missing = "picture parameter set";
            return Err(H264Error::NoParameterSet { missing });
        }
        self.sets.take_pending().for_each(drop);
        units.retain(|unit| !matches!(NalType::of(unit), NalType::SPS | NalType::PPS));
        units.splice(
            0..0,
            self.sets.sps_units().chain(self.sets.pps_units()).cloned(),
        );
        Ok(())
    }

    /// Notes the sequence parameter set of an IDR slice; returns it if it is another one.
    fn activate(&mut self, slice: &Bytes) -> Option<Sps> {
        let pps_id = SliceHead::parse(slice).map(|head| head.pps_id);
        let (sps, unit) = self.sets.active_sps(pps_id)?;
        if self.active.as_ref() == Some(unit) {
            return None;
        }
        self.active = Some(unit.clone());
        Some(sps.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;

    const SPS_360P: &str = "6742c01ed900a02ff970110000030001000003003c0f162e48";
    const SPS_1080P: &str = "67640028acd940780227e5c044000003000400000300f03c60c658";
    const PPS: &str = "68cb83cb20";
    const OTHER_PPS: &str = "68ebe3cb22c0";
    const IDR: &str = "658880aabb";
    const SLICE: &str = "419a01";
    const SEI: &str = "060501ff80";
    const AUD: &str = "09f0";
    const TIMING_SEI: &str = "0601011280";
    const FILLER: &str = "0cffffff80";

    fn filter() -> AccessUnitFilter {
        let mut filter = AccessUnitFilter::default();
        let record = AvcDecoderConfigurationRecord {
            profile_level_id: [0x42, 0xc0, 0x1e],
            length_size: 4,
            sps: vec![hex(SPS_360P).into()],
            pps: vec![hex(PPS).into()],
        };
        assert_eq!(filter.configure(&record).unwrap().unwrap().width, 640);
        filter
    }

    fn feed(
        filter: &mut AccessUnitFilter,
        units: &[&str],
    ) -> Result<Option<AccessUnit>, H264Error> {
        filter.filter(units.iter().map(|unit| Ok(hex(unit).into())))
    }

    fn assert_units(unit: Option<AccessUnit>, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|unit| hex(unit)).collect();
        assert_eq!(unit.expect("a picture").units, expected);
    }

    #[test]
    fn an_idr_picture_gets_the_parameter_sets_of_the_sequence_header() {
        let mut filter = filter();
        let unit = feed(&mut filter, &[SEI, IDR]).unwrap();
        assert!(unit.as_ref().unwrap().keyframe);
        assert_eq!(unit.as_ref().unwrap().new_sps, None);
        assert_units(unit, &[SPS_360P, PPS, SEI, IDR]);
        let unit = feed(&mut filter, &[SLICE]).unwrap();
        assert!(!unit.as_ref().unwrap().keyframe);
        assert_units(unit, &[SLICE]);
    }

    #[test]
    fn parameter_sets_the_picture_brings_are_not_doubled_and_stay_in_force() {
        let mut filter = filter();
        let unit = feed(&mut filter, &[AUD, SPS_360P, OTHER_PPS, SEI, IDR]).unwrap();
        assert_units(unit, &[SPS_360P, OTHER_PPS, SEI, IDR]);
        let unit = feed(&mut filter, &[IDR]).unwrap();
        assert_units(unit, &[SPS_360P, OTHER_PPS, IDR]);
    }

    #[test]
    fn a_new_sps_is_reported_with_the_first_picture_that_uses_it() {
        let mut filter = filter();
        let unit = feed(&mut filter, &[SPS_1080P, PPS, IDR]).unwrap().unwrap();
        assert_eq!(
            unit.new_sps.map(|sps| (sps.width, sps.height)),
            Some((1920, 1080))
        );
        let unit = feed(&mut filter, &[SPS_1080P, PPS, IDR]).unwrap().unwrap();
        assert_eq!(unit.new_sps, None);
    }

    #[test]
    fn delimiters_end_markers_and_filler_are_left_out() {
        let mut filter = filter();
        let unit = feed(&mut filter, &[AUD, SLICE, FILLER, "0a", "0b"]).unwrap();
        assert_units(unit, &[SLICE]);
        let unit = feed(&mut filter, &[TIMING_SEI, SLICE, FILLER]).unwrap();
        assert_units(unit, &[SLICE]);
        assert_eq!(feed(&mut filter, &[AUD, FILLER]).unwrap(), None);
        assert_eq!(feed(&mut filter, &[SEI]).unwrap(), None, "no picture");
        assert_eq!(feed(&mut filter, &[]).unwrap(), None);
    }

    #[test]
    fn parameter_sets_that_come_alone_go_along_with_the_next_picture() {
        let mut filter = filter();
        assert_eq!(feed(&mut filter, &[OTHER_PPS]).unwrap(), None);
        assert_units(feed(&mut filter, &[SLICE]).unwrap(), &[OTHER_PPS, SLICE]);
        assert_units(feed(&mut filter, &[SLICE]).unwrap(), &[SLICE]);

        assert_eq!(feed(&mut filter, &[SPS_1080P, PPS]).unwrap(), None);
        let unit = feed(&mut filter, &[IDR]).unwrap();
        assert!(unit.as_ref().unwrap().new_sps.is_some());
        assert_units(unit, &[SPS_1080P, PPS, IDR]);
    }

    #[test]
    fn an_idr_picture_without_parameter_sets_is_an_error() {
        let mut filter = AccessUnitFilter::default();
        let error = feed(&mut filter, &[IDR]).unwrap_err();
        assert!(matches!(error, H264Error::NoParameterSet { .. }), "{error}");
        let error = feed(&mut filter, &[SPS_360P, IDR]).unwrap_err();
        assert!(matches!(error, H264Error::NoParameterSet { .. }), "{error}");
        assert!(
            feed(&mut filter, &[PPS, IDR]).unwrap().is_some(),
            "it goes on"
        );
    }

    #[test]
    fn of_an_access_unit_that_is_cut_short_the_complete_units_are_used() {
        let mut filter = filter();
        let cut = || Err(H264Error::NalUnitTooLong { needed: 9, left: 2 });
        let units = [Ok(hex(IDR).into()), cut()];
        assert_units(
            filter.filter(units.into_iter()).unwrap(),
            &[SPS_360P, PPS, IDR],
        );
        let units = [Ok(hex(OTHER_PPS).into()), cut()];
        assert!(filter.filter(units.into_iter()).is_err(), "no slice");
        assert_units(feed(&mut filter, &[SLICE]).unwrap(), &[OTHER_PPS, SLICE]);
    }

    #[test]
    fn the_number_of_nal_units_is_bounded() {
        let mut filter = filter();
        let many = vec![SLICE; MAX_NAL_UNITS];
        assert_eq!(
            feed(&mut filter, &many).unwrap().unwrap().units.len(),
            MAX_NAL_UNITS
        );
        let error = feed(&mut filter, &[many, vec![SLICE]].concat()).unwrap_err();
        assert!(
            matches!(error, H264Error::TooManyNalUnits { .. }),
            "{error}"
        );
    }
}
