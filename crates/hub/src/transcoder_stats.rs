//! Counters of the transcoder processes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use distributary_names::StreamName;

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
    /// Keyframes made because a viewer needed one.
    pub requested_keyframes: u64,
}

/// The counters. A clone shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TranscoderCounters(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// The numbers of the running processes, the streams that they transcode, and their ids.
    running: Mutex<Vec<(u64, StreamName, Option<u32>)>>,
    started: AtomicU64,
    failed: AtomicU64,
    requested_keyframes: AtomicU64,
}

impl TranscoderCounters {
    pub(crate) fn start(&self, of: &StreamName, process: Option<u32>) -> RunningTranscoder {
        let number = self.0.started.fetch_add(1, Ordering::Relaxed);
        self.0.running().push((number, of.clone(), process));
        RunningTranscoder {
            counters: Arc::clone(&self.0),
            number,
        }
    }

    /// Returns the id of the newest process that transcodes the stream `of`.
    pub(crate) fn process(&self, of: &StreamName) -> Option<u32> {
        let running = self.0.running();
        let mut newest = running.iter().rev();
        newest.find(|(_, stream, _)| stream == of)?.2
    }

    /// Returns the ids of the running processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let running = self.0.running();
        running
            .iter()
            .filter_map(|(.., process)| *process)
            .collect()
    }

    pub(crate) fn note_failure(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_requested_keyframe(&self) {
        self.0.requested_keyframes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> TranscoderStats {
        TranscoderStats {
            running: self.0.running().len(),
            started: self.0.started.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            requested_keyframes: self.0.requested_keyframes.load(Ordering::Relaxed),
        }
    }
}

/// Counts one running transcoder process until it is dropped.
#[derive(Debug)]
pub struct RunningTranscoder {
    counters: Arc<Counters>,
    number: u64,
}

impl Drop for RunningTranscoder {
    fn drop(&mut self) {
        let mut running = self.counters.running();
        running.retain(|(number, ..)| *number != self.number);
    }
}

impl Counters {
    fn running(&self) -> MutexGuard<'_, Vec<(u64, StreamName, Option<u32>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcoder_is_counted_while_it_runs() {
        let counters = TranscoderCounters::default();
        let name = |name| StreamName::parse(name).unwrap();
        let first = counters.start(&name("live/a"), Some(7));
        let _second = counters.start(&name("live/b"), Some(8));
        assert_eq!(counters.process(&name("live/a")), Some(7));
        assert_eq!(counters.processes(), [7, 8]);
        drop(first);
        assert_eq!(counters.process(&name("live/a")), None);
        assert_eq!(counters.process(&name("live/b")), Some(8));
        counters.note_failure();
        counters.note_requested_keyframe();
        let expected = TranscoderStats {
            running: 1,
            started: 2,
            failed: 1,
            requested_keyframes: 1,
        };
        assert_eq!(counters.stats(), expected);
    }
}
