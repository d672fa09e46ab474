//! Messages on a data channel: JSON text.

use distributary_media::{MediaTime, TimedData};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest `id` of a ping that is repeated.
const MAX_ID_BYTES: usize = 64;

/// A notice to viewers: data of the publisher.
///
/// ```json
/// {"type":"metadata","time":12345,"data":{"title":"..."}}
/// ```
///
/// `type` is `metadata` for `onMetaData`, `cue` for `onCuePoint`, `text` for `onTextData` and
/// `data` for the publisher's own names, with the name in `name`. `time` is the media time that the
/// data belongs to, in milliseconds since the start of the stream. `data` is the value, or an array
/// of several values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    time: i64,
    data: Said<'a>,
}

/// One value, or all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Said<'a> {
    One(&'a Value),
    Several(&'a [Value]),
}

impl<'a> Notice<'a> {
    /// Returns the notice of the publisher's data.
    #[must_use]
    pub fn of(data: &'a TimedData) -> Self {
        let (kind, name) = match data.name.as_str() {
            TimedData::METADATA => ("metadata", None),
            "onCuePoint" => ("cue", None),
            "onTextData" => ("text", None),
            name => ("data", Some(name)),
        };
        let said = match data.values.as_slice() {
            [one] => Said::One(one),
            several => Said::Several(several),
        };
        Self {
            kind,
            name,
            time: data.time.as_millis(),
            data: said,
        }
    }

    /// Returns the text of the message.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("JSON of names and values can be written")
    }
}

/// A request of a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `{"type":"ping","id":...}`: asks for a `pong` with the same `id`, a string or a number.
    Ping {
        /// The `id` as it is repeated: JSON.
        id: Option<String>,
    },
}

/// A message of a viewer, as far as it is read.
#[derive(Deserialize)]
struct Incoming {
    #[serde(rename = "type")]
    kind: String,
    id: Option<Value>,
}

#[derive(Serialize)]
struct Pong<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    time: i64,
}

impl Request {
    /// Parses a message; `None` if it is not a known request.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let incoming: Incoming = serde_json::from_str(text).ok()?;
        if incoming.kind != "ping" {
            return None;
        }
        let id = match incoming.id {
            None | Some(Value::Null) => None,
            Some(id @ (Value::String(_) | Value::Number(_))) => Some(id.to_string()),
            Some(_) => return None,
        };
        if id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES) {
            return None;
        }
        Some(Self::Ping { id })
    }

    /// Returns the answer, at media time `now` of the live edge. With its arrival time the viewer
    /// can compute the round trip, and with the media time it shows its latency.
    #[must_use]
    pub fn answer(&self, now: MediaTime) -> String {
        let Self::Ping { id } = self;
        let pong = Pong {
            kind: "pong",
            id: id.as_deref().and_then(|id| serde_json::from_str(id).ok()),
            time: now.as_millis(),
        };
        serde_json::to_string(&pong).expect("JSON of names and values can be written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(name: &str, values: Vec<Value>) -> String {
        let data = TimedData {
            time: MediaTime::from_millis(12_345),
            name: name.to_owned(),
            values,
        };
        Notice::of(&data).to_text()
    }

    #[test]
    fn notice_is_json_with_the_media_time() {
        let metadata = json!({"title": "a \"show\""});
        assert_eq!(
            text("onMetaData", vec![metadata]),
            r#"{"type":"metadata","time":12345,"data":{"title":"a \"show\""}}"#
        );
        assert_eq!(
            text("onCuePoint", vec![json!({"name": "ad"})]),
            r#"{"type":"cue","time":12345,"data":{"name":"ad"}}"#
        );
        assert_eq!(
            text("onTextData", vec![json!("hello")]),
            r#"{"type":"text","time":12345,"data":"hello"}"#
        );
        assert_eq!(
            text("score", vec![json!(1), json!(2)]),
            r#"{"type":"data","name":"score","time":12345,"data":[1,2]}"#
        );
        assert_eq!(
            text("tick", Vec::new()),
            r#"{"type":"data","name":"tick","time":12345,"data":[]}"#
        );
    }

    #[test]
    fn ping_is_answered_with_its_id_and_the_media_time() {
        let now = MediaTime::from_millis(7);
        for (ping, pong) in [
            (
                r#"{"type":"ping","id":3}"#,
                r#"{"type":"pong","id":3,"time":7}"#,
            ),
            (
                r#"{"id":"a","type":"ping","sent":1.5}"#,
                r#"{"type":"pong","id":"a","time":7}"#,
            ),
            (r#"{"type":"ping"}"#, r#"{"type":"pong","time":7}"#),
            (
                r#"{"type":"ping","id":null}"#,
                r#"{"type":"pong","time":7}"#,
            ),
        ] {
            assert_eq!(Request::parse(ping).unwrap().answer(now), pong);
        }
    }

    #[test]
    fn messages_other_than_pings_are_ignored() {
        let long = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(65));
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "ping",
            "{}",
            r#"{"type":"pong"}"#,
            r#"{"type":1}"#,
            r#"{"type":"ping","id":{"a":1}}"#,
            &long,
            &deep,
        ] {
            let shown = &text[..text.len().min(40)];
            assert_eq!(Request::parse(text), None, "{shown}");
        }
    }
}
