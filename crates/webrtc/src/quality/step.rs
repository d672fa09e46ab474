//! The next step of a viewer.

use std::fmt;

/// The reason for a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The path is slower than the rendition.
    Congestion,
    /// The path carries a better one.
    Bandwidth,
    /// The viewer asks for it, or its player shows it at another size.
    Viewer,
    /// The rendition does not exist any longer.
    Gone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Congestion => "congestion",
            Self::Bandwidth => "bandwidth",
            Self::Viewer => "viewer",
            Self::Gone => "gone",
        })
    }
}

/// The next step of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Move to the rendition at this place.
    Move {
        /// Its place among the renditions.
        to: usize,
        /// Why.
        reason: Reason,
    },
    /// Have the rendition at this place made, if that takes time: the viewer may need it soon.
    Prepare {
        /// Its place among the renditions.
        to: usize,
    },
    /// Send a cluster at this rate, in bits per second.
    Probe {
        /// The rate.
        rate: u64,
    },
}
