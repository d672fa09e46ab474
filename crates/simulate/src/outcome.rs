//! The outcome of a simulation.

use std::fmt;
use std::time::Duration;

/// A summary of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Hash over all events: equal if two simulations went the same way.
    pub hash: u64,
    /// Video frames that viewers could decode.
    pub frames: u64,
    /// Audio frames that viewers got.
    pub audio_frames: u64,
    /// Sessions of viewers.
    pub sessions: u64,
    /// Simulated time.
    pub time: Duration,
}

/// A rule that was broken in a simulation.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The simulated time.
    pub at: Duration,
    /// The rule.
    pub reason: String,
    /// The last events.
    pub events: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            at,
            reason,
            events,
        } = self;
        writeln!(
            f,
            "seed {seed} failed at {:.3} s: {reason}",
            at.as_secs_f64()
        )?;
        write!(f, "{events}")
    }
}
