//! Prepares access units for WebRTC receivers.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::H265Error;
use super::hvcc::HevcDecoderConfigurationRecord;
use super::nal::NalType;
use super::sps::Sps;
use crate::access_unit::{self, NalUnits, TooManyUnits};
use crate::bits::BitReader;
use crate::h264::H264Error;
use crate::h264::nal::rbsp;

/// Maximum NAL units in an access unit: more than the slice segments of the highest level.
const MAX_NAL_UNITS: usize = 1024;

/// Maximum size of a parameter set; real ones have some hundred bytes.
const MAX_SET_BYTES: usize = 4096;

/// Highest id of each kind (ITU-T H.265 section 7.4.3).
const MAX_VPS_ID: u32 = 15;
const MAX_SPS_ID: u32 = 15;
const MAX_PPS_ID: u32 = 63;

/// Makes access units of publishers self-contained.
///
/// - A frame at which decoding can start begins with all active parameter sets.
/// - Parameter sets inside the stream replace the stored ones. Sets that arrive without a slice are
///   sent with the next access unit.
/// - Access unit delimiters, end markers and filler data are dropped.
#[derive(Clone, Debug, Default)]
pub struct AccessUnitFilter {
    /// By kind and id, so that a set follows those that it references.
    sets: BTreeMap<(NalType, u32), Bytes>,
    /// True if parameter sets arrived without a slice.
    is_pending: bool,
    /// The current sequence parameter set.
    active: Option<Sps>,
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
        record: &HevcDecoderConfigurationRecord,
    ) -> Result<Option<Sps>, H265Error> {
        let mut fresh = Self::default();
        for unit in &record.units {
            fresh.update(unit)?;
        }
        fresh.active = fresh.sps();
        *self = fresh;
        Ok(self.active)
    }

    /// Filters one access unit. Returns `None` if no slice remains. The complete units of a
    /// truncated one are used.
    ///
    /// # Errors
    /// When a parameter set is broken or no slice is complete, or decoding could start with it and
    /// a parameter set is missing. The filter can continue with the next access unit.
    pub fn filter(
        &mut self,
        units: impl Iterator<Item = Result<Bytes, H264Error>>,
    ) -> Result<Option<AccessUnit>, H265Error> {
        let limit = MAX_NAL_UNITS;
        let collected = NalUnits::collect(units, limit, |unit| NalType::of(unit).is_framing());
        let NalUnits {
            units: mut kept,
            broken,
        } = collected.map_err(|TooManyUnits| H265Error::TooManyNalUnits { limit })?;
        for unit in &kept {
            self.is_pending |= self.update(unit)?;
        }
        let mut slices = kept.iter().map(|unit| NalType::of(unit));
        let Some(slice) = slices.find(|kind| kind.is_slice()) else {
            return broken.map_or(Ok(None), |error| Err(error.into()));
        };
        let keyframe = slice.is_irap();
        let mut new_sps = None;
        if keyframe {
            self.require_all()?;
            let sps = self.sps();
            if self.active != sps {
                self.active = sps;
                new_sps = sps;
            }
        }
        if keyframe || self.is_pending {
            self.is_pending = false;
            kept.retain(|unit| !NalType::of(unit).is_parameter_set());
            kept.splice(0..0, self.sets.values().cloned());
        }
        Ok(Some(AccessUnit {
            units: kept,
            keyframe,
            new_sps,
        }))
    }

    /// Stores a parameter set. Returns whether it is one.
    fn update(&mut self, unit: &Bytes) -> Result<bool, H265Error> {
        let kind = NalType::of(unit);
        let (structure, most) = match kind {
            NalType::VPS => ("a video parameter set", MAX_VPS_ID),
            NalType::SPS => ("a sequence parameter set", MAX_SPS_ID),
            NalType::PPS => ("a picture parameter set", MAX_PPS_ID),
            _ => return Ok(false),
        };
        let len = unit.len();
        if len > MAX_SET_BYTES {
            let limit = MAX_SET_BYTES;
            return Err(H265Error::TooLarge {
                structure,
                len,
                limit,
            });
        }
        let id = set_id(kind, unit)?.filter(|id| *id <= most);
        let id = id.ok_or(H265Error::Unreadable { structure, len })?;
        let stored = self.sets.get(&(kind, id));
        if stored != Some(unit) {
            // A copy: a slice would keep the access unit that it arrived with in memory.
            self.sets.insert((kind, id), Bytes::copy_from_slice(unit));
        }
        Ok(true)
    }

    /// Returns the first sequence parameter set, which is that of the base layer.
    fn sps(&self) -> Option<Sps> {
        let mut sets = self.sets.iter();
        let (_, unit) = sets.find(|((kind, _), _)| *kind == NalType::SPS)?;
        Sps::parse(unit).ok()
    }

    fn require_all(&self) -> Result<(), H265Error> {
        for (kind, missing) in [
            (NalType::VPS, "video parameter set"),
            (NalType::SPS, "sequence parameter set"),
            (NalType::PPS, "picture parameter set"),
        ] {
            if self.sets.keys().all(|(other, _)| *other != kind) {
                return Err(H265Error::NoParameterSet { missing });
            }
        }
        Ok(())
    }
}

/// Returns the id of a parameter set: `vps_video_parameter_set_id`, `sps_seq_parameter_set_id` or
/// `pps_pic_parameter_set_id`.
fn set_id(kind: NalType, unit: &[u8]) -> Result<Option<u32>, H265Error> {
    if kind == NalType::SPS {
        return Ok(Some(Sps::parse(unit)?.id));
    }
    let rbsp = rbsp(unit.get(1..).unwrap_or_default());
    let mut reader = BitReader::new(&rbsp);
    Ok(match kind {
        NalType::VPS => reader.bits(4),
        _ => reader.ue(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h265::hvcc::tests::RECORD;
    use crate::test_util::hex;

    const VPS: &str = "40010c01ffff01600000030090000003000003003cba0240";
    const SPS: &str =
        "42010101600000030090000003000003003ca00a080f165ba4a4c2f0168080000003008000000784";
    const SPS_360P: &str =
        "42010101600000030090000003000003005aa00502016962dd29cb3c05a020000003002000000301e1";
    const PPS: &str = "4401c073c189";
    const IDR: &str = "2801ac6440";
    const SLICE: &str = "0201d00978";
    const SEI: &str = "4e01051aff";
    const AUD: &str = "460150";
    const FILLER: &str = "4c01ffff80";

    fn configured() -> AccessUnitFilter {
        let mut filter = AccessUnitFilter::default();
        let record = HevcDecoderConfigurationRecord::parse(&hex(RECORD).into()).unwrap();
        let sps = filter.configure(&record).unwrap().unwrap();
        assert_eq!((sps.width, sps.height), (320, 240));
        filter
    }

    fn feed(
        filter: &mut AccessUnitFilter,
        units: &[&str],
    ) -> Result<Option<AccessUnit>, H265Error> {
        filter.filter(units.iter().map(|unit| Ok(hex(unit).into())))
    }

    fn assert_units(unit: Result<Option<AccessUnit>, H265Error>, expected: &[&str]) -> AccessUnit {
        let unit = unit.unwrap().expect("an access unit");
        let expected: Vec<Vec<u8>> = expected.iter().map(|unit| hex(unit)).collect();
        assert_eq!(unit.units, expected);
        unit
    }

    #[test]
    fn keyframe_starts_with_the_parameter_sets() {
        let mut filter = configured();
        let unit = feed(&mut filter, &[AUD, IDR, FILLER]);
        let unit = assert_units(unit, &[VPS, SPS, PPS, IDR]);
        assert!(unit.keyframe && unit.new_sps.is_none());
        // Its own sets are not duplicated; BLA and CRA are keyframes, too.
        for kind in ["20", "2a"] {
            let keyframe = IDR.replacen("28", kind, 1);
            let unit = feed(&mut filter, &[VPS, SPS, PPS, SEI, &keyframe]);
            assert!(assert_units(unit, &[VPS, SPS, PPS, SEI, &keyframe]).keyframe);
        }
        let unit = assert_units(feed(&mut filter, &[SEI, SLICE]), &[SEI, SLICE]);
        assert!(!unit.keyframe);
    }

    #[test]
    fn parameter_set_in_the_stream_replaces_the_first() {
        let mut filter = configured();
        let unit = assert_units(
            feed(&mut filter, &[SPS_360P, IDR]),
            &[VPS, SPS_360P, PPS, IDR],
        );
        let sps = unit.new_sps.unwrap();
        assert_eq!((sps.width, sps.height), (640, 360));
        let unit = assert_units(feed(&mut filter, &[IDR]), &[VPS, SPS_360P, PPS, IDR]);
        assert_eq!(unit.new_sps, None);
    }

    #[test]
    fn separate_parameter_sets_are_sent_with_the_next_access_unit() {
        let mut filter = configured();
        assert_eq!(feed(&mut filter, &[PPS]).unwrap(), None);
        assert_units(feed(&mut filter, &[SLICE]), &[VPS, SPS, PPS, SLICE]);
        assert_units(feed(&mut filter, &[SLICE]), &[SLICE]);
    }

    #[test]
    fn keyframe_without_parameter_sets_and_broken_sets_are_errors() {
        let mut filter = AccessUnitFilter::default();
        let error = feed(&mut filter, &[SPS, PPS, IDR]).unwrap_err();
        let missing = "video parameter set";
        assert_eq!(error, H265Error::NoParameterSet { missing });
        assert!(feed(&mut filter, &["4201ff", IDR]).is_err());
        let large = SPS.to_owned() + &"00".repeat(MAX_SET_BYTES);
        let error = feed(&mut filter, &[&large]).unwrap_err();
        assert!(matches!(error, H265Error::TooLarge { .. }), "{error}");
        assert!(
            feed(&mut filter, &[VPS, IDR]).unwrap().is_some(),
            "the filter continues"
        );
    }

    #[test]
    fn number_of_nal_units_is_limited() {
        let mut filter = configured();
        let many = vec![SLICE; MAX_NAL_UNITS + 1];
        let limit = MAX_NAL_UNITS;
        let error = feed(&mut filter, &many).unwrap_err();
        assert_eq!(error, H265Error::TooManyNalUnits { limit });
        assert!(feed(&mut filter, &many[1..]).unwrap().is_some());
    }
}
