//! The memory of the gateway: what media holds of it, and what gives way when it runs short.
//!
//! * [`Memory`]: the counters, and the current [`Pressure`], for all who have to give way.
//! * `held`: the memory of one stream's frames, counted until their last slice is gone.
//! * `pressure`: which step of the order of refusal is in force.

mod held;
mod pressure;

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pressure::Control;

pub(crate) use held::StreamMemory;
pub use pressure::Pressure;

/// Change from which the memory of an ingest is counted anew: smaller messages come and go all the
/// time, and shared counters must not change with each.
const INGEST_STEP: usize = 256 << 10;

/// Counters of memory, and the state of the budget. All parts of the gateway share one.
#[derive(Debug)]
pub struct Memory {
    /// Bytes of all frames in memory.
    media: AtomicUsize,
    /// Bytes of incomplete messages of publishers.
    ingest: AtomicUsize,
    control: Mutex<Control>,
    /// The step that `control` is at.
    pressure: AtomicU8,
    /// Maximum size of a GOP cache that `control` allows.
    gop_limit: AtomicUsize,
    /// The budget of the process; `usize::MAX` is no limit.
    budget: AtomicUsize,
}

/// The memory that one connection of a publisher holds for incomplete messages.
#[derive(Debug)]
pub struct IngestMemory {
    memory: Arc<Memory>,
    counted: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            media: AtomicUsize::new(0),
            ingest: AtomicUsize::new(0),
            control: Mutex::default(),
            pressure: AtomicU8::new(Pressure::None as u8),
            gop_limit: AtomicUsize::new(usize::MAX),
            budget: AtomicUsize::new(usize::MAX),
        }
    }
}

impl Memory {
    /// Returns the bytes of all frames in memory, wherever they are: in GOP caches, queues, the logs
    /// of shards, and the backlogs of RTMP players. A frame counts once, until its last slice is
    /// gone.
    pub fn media(&self) -> usize {
        self.media.load(Ordering::Relaxed)
    }

    /// Returns the bytes of incomplete messages of publishers, by the lengths that they declare, to
    /// within 256 KiB for each connection.
    pub fn ingest(&self) -> usize {
        self.ingest.load(Ordering::Relaxed)
    }

    /// Returns the step that is in force.
    pub fn pressure(&self) -> Pressure {
        Pressure::from_u8(self.pressure.load(Ordering::Relaxed))
    }

    /// Returns the maximum size of a GOP cache while memory is short; `usize::MAX` otherwise.
    pub fn gop_limit(&self) -> usize {
        self.gop_limit.load(Ordering::Relaxed)
    }

    /// Returns the memory that the process may use, in bytes; `None` if there is no limit.
    pub fn budget(&self) -> Option<usize> {
        let budget = self.budget.load(Ordering::Relaxed);
        (budget < usize::MAX).then_some(budget)
    }

    /// Notes that the process uses `used` bytes of its `budget` at `now`; `None` is no limit. Call it
    /// about every half second. Returns the steps before and after, if the step has changed.
    pub fn update(
        &self,
        used: usize,
        budget: Option<usize>,
        now: Instant,
    ) -> Option<(Pressure, Pressure)> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let before = control.pressure();
        let limit = budget.unwrap_or(usize::MAX);
        self.budget.store(limit, Ordering::Relaxed);
        control.update(used, budget, now);
        let after = control.pressure();
        self.pressure.store(after as u8, Ordering::Relaxed);
        self.gop_limit.store(control.gop_limit(), Ordering::Relaxed);
        (before != after).then_some((before, after))
    }

    /// Starts to count the incomplete messages of a connection.
    pub fn count_ingest(self: &Arc<Self>) -> IngestMemory {
        IngestMemory {
            memory: Arc::clone(self),
            counted: 0,
        }
    }
}

impl IngestMemory {
    /// Sets the bytes that the connection holds now.
    pub fn set(&mut self, bytes: usize) {
        if bytes.abs_diff(self.counted) >= INGEST_STEP {
            self.count(bytes);
        }
    }

    fn count(&mut self, bytes: usize) {
        let all = &self.memory.ingest;
        all.fetch_add(bytes, Ordering::Relaxed);
        all.fetch_sub(self.counted, Ordering::Relaxed);
        self.counted = bytes;
    }
}

impl Drop for IngestMemory {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ingest_is_counted_in_steps_and_given_back() {
        let memory = Arc::<Memory>::default();
        let (mut one, mut other) = (memory.count_ingest(), memory.count_ingest());
        one.set(INGEST_STEP - 1);
        assert_eq!(memory.ingest(), 0);
        one.set(3 * INGEST_STEP);
        other.set(INGEST_STEP);
        assert_eq!(memory.ingest(), 4 * INGEST_STEP);
        one.set(0);
        assert_eq!(memory.ingest(), INGEST_STEP);
        drop((one, other));
        assert_eq!(memory.ingest(), 0);
    }
}
