//! Counters of the transcoder processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters of the transcoder processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TranscoderStats {
    /// Processes that run now.
    pub running: usize,
    /// Processes started.
    pub started: u64,
    /// Failures: a process could not be started, exited by itself, or produced no usable output; or
    /// the limit of processes was reached.
    pub failed: u64,
}

/// The counters. A clone shares them.
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

/// Counts one running transcoder process until it is dropped.
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
    fn transcoder_is_counted_while_it_runs() {
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
