//! The results of a run.

use super::course::Course;
use super::trend::Trend;

/// The results.
pub(super) struct Soak {
    pub(super) course: Course,
    /// The trend of each value over the last two thirds of the time that counts.
    pub(super) trends: Vec<Trend>,
    /// What is worth to know and no finding.
    pub(super) notes: Vec<String>,
    pub(super) findings: Vec<String>,
}
