//! Converts AMF values to JSON, the form in which the hub has them, and back for RTMP players.

use serde_json::{Map, Number, Value as Json};

use crate::proto::amf::Value;

/// Members of a JSON object for which memory is allocated at once, when they are few: half of a
/// full node of its tree.
const MEMBERS_PER_NODE: usize = 6;

/// The memory of a node of an object's tree, with room for eleven names and values.
const NODE: usize = 11 * (size_of::<String>() + size_of::<Json>()) + 64;

/// Estimates the memory of the JSON of an AMF value, in bytes.
pub(crate) fn memory(value: &Value) -> usize {
    let own = size_of::<Json>();
    match value {
        Value::String(text) => own + text.len(),
        Value::Object(members) | Value::EcmaArray(members) => {
            let inner = members
                .iter()
                .map(|(name, value)| name.len() + memory(value));
            own + members.len().div_ceil(MEMBERS_PER_NODE) * NODE + inner.sum::<usize>()
        }
        Value::StrictArray(values) => own + values.iter().map(memory).sum::<usize>(),
        _ => own,
    }
}

/// Returns the JSON of an AMF value. Dates become milliseconds since 1970. Numbers that JSON does
/// not have, null and undefined become `null`. Of two members with one name the last counts.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Number(number) | Value::Date(number) => from_number(*number),
        Value::Boolean(truth) => Json::Bool(*truth),
        Value::String(text) => Json::String(text.clone()),
        Value::Object(members) | Value::EcmaArray(members) => Json::Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), to_json(value)))
                .collect(),
        ),
        Value::StrictArray(values) => Json::Array(values.iter().map(to_json).collect()),
        Value::Null | Value::Undefined => Json::Null,
    }
}

/// Returns a whole number without a decimal point, as a person would write it.
fn from_number(number: f64) -> Json {
    /// Whole numbers up to here are exact in an `f64`.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= MAX_EXACT {
        Json::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Json::Null, Json::Number)
    }
}

/// Returns the AMF of a JSON value. Objects become ECMA arrays, the form in which players expect
/// metadata.
pub(crate) fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Boolean(*truth),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or_default()),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(values) => Value::StrictArray(values.iter().map(from_json).collect()),
        Json::Object(members) => Value::EcmaArray(from_members(members)),
    }
}

fn from_members(members: &Map<String, Json>) -> Vec<(String, Value)> {
    members
        .iter()
        .map(|(name, value)| (name.clone(), from_json(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_json() {
        let value = Value::Object(vec![
            ("text".into(), "hello".into()),
            ("width".into(), 1280.0.into()),
            ("rate".into(), 29.97.into()),
            ("nan".into(), f64::NAN.into()),
            ("stereo".into(), true.into()),
            ("date".into(), Value::Date(1_000.0)),
            (
                "list".into(),
                Value::StrictArray(vec![Value::Null, Value::Undefined]),
            ),
        ]);
        let expected = json!({
            "text": "hello", "width": 1280, "rate": 29.97, "nan": null, "stereo": true,
            "date": 1000, "list": [null, null],
        });
        assert_eq!(to_json(&value), expected);
    }

    #[test]
    fn metadata_reaches_a_player_as_it_came() {
        let value = Value::EcmaArray(vec![
            ("encoder".into(), "test".into()),
            ("size".into(), Value::StrictArray(vec![1.5.into()])),
            ("stereo".into(), false.into()),
        ]);
        assert_eq!(from_json(&to_json(&value)), value);
    }

    #[test]
    fn memory_of_json_is_estimated_by_its_allocations() {
        let name = |n: usize| format!("{n}");
        let members = (0..100).map(|n| (name(n), Value::Null)).collect();
        // At least nine nodes of eleven members, and at most one for five of them.
        let estimate = memory(&Value::Object(members));
        assert!((9 * NODE..25 * NODE).contains(&estimate), "{estimate}");
        let nested = (0..10).fold(Value::Null, |inner, n| {
            Value::Object(vec![(name(n), inner)])
        });
        assert!(memory(&nested) >= 10 * NODE);
        assert!(memory(&Value::String("x".repeat(1000))) >= 1000);
        let list = Value::StrictArray(vec![Value::Null; 1000]);
        assert!(memory(&list) >= 1000 * size_of::<Json>());
    }
}
