//! Prepares access units for WebRTC receivers.

use bytes::Bytes;

use super::avcc::AvcDecoderConfigurationRecord;
use super::error::H264Error;
use super::nal::NalType;
use super::parameter_sets::ParameterSets;
use super::sei;
use super::slice::SliceHead;
use super::sps::Sps;
use crate::access_unit::{self, NalUnits, TooManyUnits};

/// Maximum NAL units in an access unit: slices of one packet each in a very large frame.
const MAX_NAL_UNITS: usize = 2048;

/// Makes access units of publishers self-contained.
///
/// - An IDR picture starts with all active parameter sets: a viewer may join at any IDR picture,
///   and publishers send the sets only once, in the sequence header.
/// - Parameter sets inside the stream replace the stored ones. Sets that arrive without a slice are
///   sent with the next access unit.
/// - Access unit delimiters, end markers, filler data and buffering SEI are dropped: RTP marks the
///   access units itself, and padding to a constant bitrate may be most of a stream.
#[derive(Clone, Debug, Default)]
pub struct AccessUnitFilter {
    sets: ParameterSets,
    /// The current sequence parameter set.
    active: Option<Bytes>,
}

/// An access unit of this codec.
pub type AccessUnit = access_unit::AccessUnit<Sps>;

impl AccessUnitFilter {
    /// Replaces all parameter sets by those of a sequence header. Returns the sequence parameter
    /// set that frames are expected to use, if the record has one.
    ///
    /// # Errors
    /// When a parameter set cannot be read; the old ones then stay active.
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

    /// Returns the active parameter sets.
    pub fn parameter_sets(&self) -> &ParameterSets {
        &self.sets
    }

    /// Filters one access unit. Returns `None` if no slice remains. The complete units of a
    /// truncated one are used.
    ///
    /// # Errors
    /// When a parameter set is broken or no slice is complete, or it is an IDR picture without
    /// parameter sets. The filter can continue with the next access unit.
    pub fn filter(
        &mut self,
        units: impl Iterator<Item = Result<Bytes, H264Error>>,
    ) -> Result<Option<AccessUnit>, H264Error> {
        let is_dropped = |unit: &Bytes| {
            let kind = NalType::of(unit);
            kind.is_framing() || kind == NalType::SEI && sei::is_only_timing(unit)
        };
        let limit = MAX_NAL_UNITS;
        let collected = NalUnits::collect(units, limit, is_dropped);
        let NalUnits {
            units: mut kept,
            broken,
        } = collected.map_err(|TooManyUnits| H264Error::TooManyNalUnits { limit })?;
        let first_idr = kept
            .iter()
            .find(|unit| NalType::of(unit) == NalType::IDR)
            .cloned();
        let has_slice = kept.iter().any(|unit| NalType::of(unit).is_slice());
        for unit in &kept {
            match NalType::of(unit) {
                NalType::SPS => self.sets.update_sps(unit)?,
                NalType::PPS => self.sets.update_pps(unit, !has_slice)?,
                _ => {}
            }
        }
        if !has_slice {
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

    /// Stores the sequence parameter set of an IDR slice. Returns it if it has changed.
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
    use crate::h264::nal;
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
        assert_eq!(unit.expect("an access unit").units, expected);
    }

    #[test]
    fn idr_picture_gets_the_parameter_sets_of_the_sequence_header() {
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
    fn parameter_sets_in_an_access_unit_are_not_duplicated_and_stay_active() {
        let mut filter = filter();
        let unit = feed(&mut filter, &[AUD, SPS_360P, OTHER_PPS, SEI, IDR]).unwrap();
        assert_units(unit, &[SPS_360P, OTHER_PPS, SEI, IDR]);
        let unit = feed(&mut filter, &[IDR]).unwrap();
        assert_units(unit, &[SPS_360P, OTHER_PPS, IDR]);
    }

    #[test]
    fn new_sps_is_returned_with_the_first_access_unit_that_uses_it() {
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
    fn delimiters_end_markers_and_filler_are_dropped() {
        let mut filter = filter();
        let unit = feed(&mut filter, &[AUD, SLICE, FILLER, "0a", "0b"]).unwrap();
        assert_units(unit, &[SLICE]);
        let unit = feed(&mut filter, &[TIMING_SEI, SLICE, FILLER]).unwrap();
        assert_units(unit, &[SLICE]);
        assert_eq!(feed(&mut filter, &[AUD, FILLER]).unwrap(), None);
        assert_eq!(feed(&mut filter, &[SEI]).unwrap(), None, "no slice");
        assert_eq!(feed(&mut filter, &[]).unwrap(), None);
    }

    #[test]
    fn separate_parameter_sets_are_sent_with_the_next_access_unit() {
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
    fn idr_picture_without_parameter_sets_is_an_error() {
        let mut filter = AccessUnitFilter::default();
        let error = feed(&mut filter, &[IDR]).unwrap_err();
        assert!(matches!(error, H264Error::NoParameterSet { .. }), "{error}");
        let error = feed(&mut filter, &[SPS_360P, IDR]).unwrap_err();
        assert!(matches!(error, H264Error::NoParameterSet { .. }), "{error}");
        assert!(
            feed(&mut filter, &[PPS, IDR]).unwrap().is_some(),
            "the filter continues"
        );
    }

    #[test]
    fn complete_units_of_a_truncated_access_unit_are_used() {
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
    fn number_of_nal_units_is_limited() {
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

    #[test]
    fn dropped_nal_units_are_limited_too() {
        let fillers = b"\0\0\0\x01\x0c".repeat(2 * nal::MAX_PARTS);
        let data = [&[0, 0, 0, 2, 0x41, 0x9a][..], &fillers].concat();
        let error = filter().filter(nal::units(data.into(), 4)).unwrap_err();
        assert!(
            matches!(error, H264Error::TooManyNalUnits { .. }),
            "{error}"
        );
    }
}
