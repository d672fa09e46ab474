//! Messages of nodes that speak another version.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

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
                "a node of the cluster sends messages of another version, which are dropped: run the \
                 same version of the program on all nodes (GET /api/cluster shows the version of each)"
            );
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_other_version_is_logged_once() {
        let versions = OtherVersions::default();
        assert!(versions.note(2, 1));
        assert!(!versions.note(2, 1));
        assert!(versions.note(3, 1));
    }
}
