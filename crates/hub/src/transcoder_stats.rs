//! The programs that encode streams anew, in figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What the programs did that encode streams anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TranscoderStats {
    /// Programs that run now.
    pub running: usize,
    /// How often one was started.
    pub started: u64,
    /// How often one failed: it could not be started, ended by itself, or made nothing of use; or there
    /// were as many as there may be.
    pub failed: u64,
}

/// Counts them. Cloning gives another handle to the same counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct TranscoderCounters(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    running: AtomicUsize,
    started: AtomicU64,
    failed: AtomicU64,
}

impl TranscoderCounters {
    pub(crate) fn start(&self) -> RunningTranscoder {
        self.0.started.fetch_add(1, Ordering::Relaxed);
        self.0.running.fetch_add(1, Ordering::Relaxed);
        RunningTranscoder(Arc::clone(&self.0))
    }

    pub(crate) fn note_failure(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> TranscoderStats {
        TranscoderStats {
            running: self.0.running.load(Ordering::Relaxed),
            started: self.0.started.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
        }
    }
}

/// A program that encodes. It is counted as long as this is kept.
#[derive(Debug)]
pub struct RunningTranscoder(Arc<Counters>);

impl Drop for RunningTranscoder {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_is_counted_while_it_runs() {
        let counters = TranscoderCounters::default();
        let first = counters.start();
        let _second = counters.start();
        drop(first);
        counters.note_failure();
        let expected = TranscoderStats {
            running: 1,
            started: 2,
            failed: 1,
        };
        assert_eq!(counters.stats(), expected);
    }
}
