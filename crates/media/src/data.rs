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

    /// Returns an estimate of the memory that it takes, in bytes.
    pub fn memory(&self) -> usize {
        let values = self.values.iter().map(memory).sum::<usize>();
        size_of::<Self>() + self.name.len() + values
    }
}

/// Memory of a member of an object besides its name and value: its share of a node of the map, which
/// is half empty on average.
const MEMBER: usize = 2 * (size_of::<String>() + size_of::<Value>());

fn memory(value: &Value) -> usize {
    let held = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(memory).sum(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| MEMBER + name.len() + memory(value))
                .sum()
        }
    };
    size_of::<Value>() + held
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn memory_counts_texts_and_every_value() {
        let data = |values| TimedData {
            time: MediaTime::ZERO,
            name: "onTextData".to_owned(),
            values,
        };
        let empty = data(Vec::new()).memory();
        assert!(data(vec![json!("x".repeat(1000))]).memory() >= empty + 1000);
        let list = json!([[null], {"a": 1, "b": [2, 3]}]);
        assert!(data(vec![list]).memory() >= empty + 8 * size_of::<Value>());
    }
}
