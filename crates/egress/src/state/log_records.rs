//! The memory of the shards' logs.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the logs of each shard take in addition to the payload. A shard writes its own about
/// once a second.
#[derive(Debug)]
pub(crate) struct LogRecords(Vec<AtomicUsize>);

impl LogRecords {
    /// Returns the count of this many shards.
    pub(crate) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Sets the bytes of a shard.
    pub(crate) fn set(&self, shard: usize, bytes: usize) {
        if let Some(of_shard) = self.0.get(shard) {
            of_shard.store(bytes, Ordering::Relaxed);
        }
    }

    /// Returns the bytes of all shards.
    pub(crate) fn total(&self) -> usize {
        let shards = self.0.iter();
        shards.map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }
}
