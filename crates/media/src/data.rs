//! Timed data of a stream.

use serde_json::Value;

use crate::time::MediaTime;

/// Data of a publisher at a time of its stream: metadata, a caption, a cue point.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedData {
    /// The time.
    pub time: MediaTime,
    /// The kind: `onMetaData`, `onTextData`, `onCuePoint`, or a custom name.
    pub name: String,
    /// The values, in order.
    pub values: Vec<Value>,
}

impl TimedData {
    /// The name of a publisher's metadata of the whole stream (FLV 10.1, annex E.5).
    pub const METADATA: &str = "onMetaData";
}
