//! What is said about a stream at a moment of it.

use serde_json::Value;

use crate::time::MediaTime;

/// Something a publisher says at a moment of its stream: metadata, a caption, a cue point.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedData {
    /// The moment.
    pub time: MediaTime,
    /// What it is: `onMetaData`, `onTextData`, `onCuePoint`, or a name of the publisher's own.
    pub name: String,
    /// What is said, in the order it was said.
    pub values: Vec<Value>,
}

impl TimedData {
    /// The name under which a publisher describes its stream as a whole (FLV 10.1, annex E.5).
    pub const METADATA: &str = "onMetaData";
}
