//! The access units of further video tracks that wait for their next slice.

use std::collections::BTreeMap;
use std::time::Instant;

/// The further tracks of which the demuxer holds an access unit, and when it last grew.
#[derive(Debug, Default)]
pub(super) struct HeldFurther(BTreeMap<u8, Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    /// Tags that have begun or extended held access units of the track.
    tags: u64,
    at: Instant,
}

impl HeldFurther {
    /// Records what is held at `now`: numbers of tracks with their numbers of tags.
    pub(super) fn update(&mut self, holding: impl Iterator<Item = (u8, u64)>, now: Instant) {
        let before = std::mem::take(&mut self.0);
        let held = holding.map(|(number, tags)| {
            let same = before.get(&number).filter(|held| held.tags == tags);
            let at = same.map_or(now, |held| held.at);
            (number, Held { tags, at })
        });
        self.0 = held.collect();
    }

    /// Returns when the access unit that has waited longest last grew.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.0.values().map(|held| held.at).min()
    }

    /// Returns the tracks whose access units last grew at `time` or before, and when they did.
    pub(super) fn until(&self, time: Instant) -> Vec<(u8, Instant)> {
        let held = self.0.iter().filter(|(_, held)| held.at <= time);
        held.map(|(number, held)| (*number, held.at)).collect()
    }
}
