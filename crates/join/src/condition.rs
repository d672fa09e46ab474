//! The circumstances under which joins are measured.

use crate::path::PathSettings;
use crate::stream::Stream;

/// The circumstances of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Condition {
    /// The stream.
    pub(crate) stream: Stream,
    /// The path.
    pub(crate) path: PathSettings,
}
