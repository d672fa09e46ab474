//! The trace of a simulation: its last events as text, and a hash over all of them.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::random::mix;

/// Events that are kept as text.
const KEPT: usize = 60;

/// The events of a simulation.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: u64,
    last: VecDeque<(Duration, String)>,
}

impl Trace {
    /// Records an event at this time since the start.
    pub fn note(&mut self, at: Duration, event: String) {
        self.count(at, event.as_bytes());
        self.last.push_back((at, event));
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
    }

    /// Records an event that is too frequent to be kept as text.
    pub fn count(&mut self, at: Duration, event: &[u8]) {
        self.hash = mix(self.hash ^ at.as_micros() as u64);
        for byte in event {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Returns the hash over all events.
    #[must_use]
    pub fn hash(&self) -> u64 {
        mix(self.hash)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in &self.last {
            writeln!(f, "  {:9.3} s  {event}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
