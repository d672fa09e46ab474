//! The active parameter sets, by their ids.

use bytes::Bytes;

use super::error::H264Error;
use super::pps::PpsIds;
use super::sps::Sps;

/// Maximum size of a stored parameter set, in bytes: complete scaling lists take about 600.
const MAX_LEN: usize = 4096;

/// The newest sequence and picture parameter sets of a stream.
///
/// The ranges of the ids limit it to 32 and 256 sets. Sets are copied, since a slice would keep the
/// whole message that it arrived in alive as long as the stream.
#[derive(Clone, Debug, Default)]
pub struct ParameterSets {
    sps: Vec<(Sps, Bytes)>,
    pps: Vec<StoredPps>,
}

#[derive(Clone, Debug)]
struct StoredPps {
    ids: PpsIds,
    unit: Bytes,
    /// True if it arrived without a slice and was not sent yet.
    pending: bool,
}

impl ParameterSets {
    /// Stores a sequence parameter set, and replaces the one with its id.
    ///
    /// # Errors
    /// When it cannot be read or is too large.
    pub fn update_sps(&mut self, unit: &[u8]) -> Result<(), H264Error> {
        if self.sps.iter().any(|(_, kept)| kept == unit) {
            return Ok(());
        }
        check_len(unit, "sequence parameter set")?;
        let sps = Sps::parse(unit)?;
        let unit = Bytes::copy_from_slice(unit);
        match self.sps.binary_search_by_key(&sps.id, |(kept, _)| kept.id) {
            Ok(at) => self.sps[at] = (sps, unit),
            Err(at) => self.sps.insert(at, (sps, unit)),
        }
        Ok(())
    }

    /// Stores a picture parameter set, and replaces the one with its id. A `pending` one arrived
    /// without a slice, so it must be sent with the next access unit.
    ///
    /// # Errors
    /// When it cannot be read or is too large.
    pub fn update_pps(&mut self, unit: &[u8], pending: bool) -> Result<(), H264Error> {
        if self.pps.iter().any(|kept| kept.unit == unit) {
            return Ok(());
        }
        check_len(unit, "picture parameter set")?;
        let ids = PpsIds::parse(unit)?;
        let stored = StoredPps {
            ids,
            unit: Bytes::copy_from_slice(unit),
            pending,
        };
        match self.pps.binary_search_by_key(&ids.id, |kept| kept.ids.id) {
            Ok(at) => self.pps[at] = stored,
            Err(at) => self.pps.insert(at, stored),
        }
        Ok(())
    }

    /// Returns the NAL units of all sequence parameter sets, by id.
    pub fn sps_units(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.iter().map(|(_, unit)| unit)
    }

    /// Returns the NAL units of all picture parameter sets, by id.
    pub fn pps_units(&self) -> impl Iterator<Item = &Bytes> {
        self.pps.iter().map(|stored| &stored.unit)
    }

    /// Returns the pending picture parameter sets, and marks them as sent.
    pub fn take_pending(&mut self) -> impl Iterator<Item = Bytes> {
        self.pps
            .iter_mut()
            .filter_map(|stored| std::mem::take(&mut stored.pending).then(|| stored.unit.clone()))
    }

    /// Returns the sequence parameter set that this picture parameter set uses, or the first one if
    /// it is unknown.
    pub fn active_sps(&self, pps_id: Option<u8>) -> Option<(&Sps, &Bytes)> {
        let sps_id = self
            .pps
            .iter()
            .find(|stored| Some(stored.ids.id) == pps_id)
            .map(|stored| stored.ids.sps_id);
        self.sps
            .iter()
            .find(|(sps, _)| Some(sps.id) == sps_id)
            .or_else(|| self.sps.first())
            .map(|(sps, unit)| (sps, unit))
    }
}

fn check_len(unit: &[u8], structure: &'static str) -> Result<(), H264Error> {
    let len = unit.len();
    if len > MAX_LEN {
        let limit = MAX_LEN;
        return Err(H264Error::TooLarge {
            structure,
            len,
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::hex;

    #[test]
    fn set_replaces_the_one_with_its_id() {
        let mut sets = ParameterSets::default();
        sets.update_pps(&[0x68, 0b1110_0000], false).unwrap();
        sets.update_pps(&[0x68, 0b0101_0000], false).unwrap();
        sets.update_pps(&[0x68, 0b1111_1111], false).unwrap();
        let units: Vec<_> = sets.pps_units().map(|unit| unit[1]).collect();
        assert_eq!(units, [0b1111_1111, 0b0101_0000], "the new id 0, then id 1");
    }

    #[test]
    fn pending_sets_are_returned_once() {
        let mut sets = ParameterSets::default();
        sets.update_pps(&[0x68, 0b1110_0000], true).unwrap();
        sets.update_pps(&[0x68, 0b1110_0000], true).unwrap();
        assert_eq!(sets.take_pending().count(), 1);
        assert_eq!(sets.take_pending().count(), 0);
    }

    #[test]
    fn oversized_sets_are_refused() {
        let mut sets = ParameterSets::default();
        let mut unit = hex("6742c01ed900a02ff970");
        unit.resize(MAX_LEN + 1, 0xff);
        assert!(matches!(
            sets.update_sps(&unit),
            Err(H264Error::TooLarge { .. })
        ));
        unit[0] = 0x68;
        assert!(matches!(
            sets.update_pps(&unit, false),
            Err(H264Error::TooLarge { .. })
        ));
        assert_eq!(sets.sps_units().count() + sets.pps_units().count(), 0);
    }

    #[test]
    fn active_set_is_found_through_the_slice() {
        let mut sets = ParameterSets::default();
        sets.update_sps(&hex("6742c01ed900a02ff970")).unwrap();
        assert_eq!(
            sets.active_sps(Some(3)).unwrap().0.id,
            0,
            "unknown: the first"
        );
        assert!(ParameterSets::default().active_sps(Some(0)).is_none());
    }
}
