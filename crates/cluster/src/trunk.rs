//! A stream of another node in the hub of this one, as its further strands see it.

use std::sync::Arc;

use distributary_hub::Stream;
use distributary_media::{MediaTime, nanos_between};

use crate::anchor::Anchor;
use crate::config::Label;
use crate::strand::Further;

/// A stream of another node in the hub of this one, as its further strands see it.
#[derive(Clone, Debug)]
pub(crate) struct Trunk {
    pub(crate) stream: Arc<Stream>,
    pub(crate) owner: Label,
    pub(crate) epoch: u64,
    /// The number of the owner's timeline.
    pub(crate) timeline: u64,
    /// The time of the stream when that of the owner is zero, in nanoseconds.
    shift: i64,
    /// The strands that can be requested of the owner.
    pub(crate) further: Further,
}

impl Trunk {
    /// Returns that of a stream whose frames begin at `origin` on the owner's timeline.
    pub(crate) fn new(
        stream: Arc<Stream>,
        owner: Label,
        epoch: u64,
        timeline: u64,
        origin: Anchor,
        further: Further,
    ) -> Self {
        let begins = nanos_between(stream.epoch(), origin.at);
        Self {
            shift: begins.saturating_sub(origin.time.as_nanos()),
            stream,
            owner,
            epoch,
            timeline,
            further,
        }
    }

    /// Returns the time of the stream at a time of its owner.
    pub(crate) fn time_here(&self, there: MediaTime) -> MediaTime {
        there.shifted(self.shift)
    }

    /// Returns the time of the owner at a time of the stream.
    pub(crate) fn time_there(&self, here: MediaTime) -> MediaTime {
        MediaTime::from_nanos(here.as_nanos().saturating_sub(self.shift))
    }

    /// Returns whether another one has the same owner, in the same epoch.
    pub(crate) fn has_owner_of(&self, other: &Self) -> bool {
        self.owner == other.owner && self.epoch == other.epoch
    }

    /// Returns whether it is the same in all respects.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let facts = |one: &Self| {
            let Self {
                epoch, timeline, ..
            } = *one;
            (epoch, timeline, one.shift, one.further)
        };
        Arc::ptr_eq(&self.stream, &other.stream)
            && self.owner == other.owner
            && facts(self) == facts(other)
    }
}
