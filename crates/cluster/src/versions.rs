//! The versions of the messages between nodes. docs/cluster.md, "Upgrades", has the rule for changes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::message::VERSION;

/// The versions of messages that a node reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageVersions {
    /// The oldest one.
    pub oldest: u8,
    /// The newest one, in which it writes unless a receiver does not read it.
    pub newest: u8,
}

impl MessageVersions {
    /// The first version alone, which nodes read that do not say what they read.
    pub(crate) const FIRST: Self = Self {
        oldest: 1,
        newest: 1,
    };

    /// Those that this node reads.
    pub(crate) const THIS: Self = Self {
        oldest: 1,
        newest: VERSION,
    };

    /// Returns whether a version is among them.
    pub(crate) fn reads(self, version: u8) -> bool {
        (self.oldest..=self.newest).contains(&version)
    }

    /// Returns the newest version that two nodes read; `None` if they have none in common.
    pub(crate) fn common(self, other: Self) -> Option<u8> {
        let newest = self.newest.min(other.newest);
        (self.reads(newest) && other.reads(newest)).then_some(newest)
    }
}

impl Default for MessageVersions {
    fn default() -> Self {
        Self::FIRST
    }
}

/// The other versions of messages that were met. Each is logged once.
#[derive(Debug, Default)]
pub(crate) struct OtherVersions(Mutex<BTreeSet<u8>>);

impl OtherVersions {
    /// Notes a message of another version. Returns whether it is the first one.
    pub(crate) fn note(&self, version: u8, supported: u8) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.insert(version);
        drop(known);
        if is_new {
            warn!(
                version,
                supported,
                "a node of the cluster sends messages of another version, which are dropped: upgrade the \
                 older nodes (GET /api/cluster shows the version of each)"
            );
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_speak_the_newest_version_that_both_read() {
        let versions = |oldest, newest| MessageVersions { oldest, newest };
        for (one, other, common) in [
            (versions(1, 1), versions(1, 1), Some(1)),
            (versions(1, 1), versions(1, 2), Some(1)),
            (versions(2, 4), versions(1, 3), Some(3)),
            (versions(1, 1), versions(2, 3), None),
            // A node that says nonsense.
            (versions(1, 5), versions(3, 2), None),
            (versions(1, 5), versions(0, 255), Some(5)),
        ] {
            assert_eq!(one.common(other), common, "{one:?} and {other:?}");
            assert_eq!(other.common(one), common, "{other:?} and {one:?}");
        }
        assert!(
            MessageVersions::THIS
                .common(MessageVersions::FIRST)
                .is_some()
        );
    }

    #[test]
    fn each_other_version_is_logged_once() {
        let versions = OtherVersions::default();
        assert!(versions.note(2, 1));
        assert!(!versions.note(2, 1));
        assert!(versions.note(3, 1));
    }
}
