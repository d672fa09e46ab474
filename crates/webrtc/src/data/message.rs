//! What is said on a channel: JSON text.

use distributary_media::MediaTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest `id` of a ping that is repeated.
const MAX_ID_BYTES: usize = 64;

/// What a viewer is told.
///
/// ```json
/// {"type":"metadata","time":12345,"data":{"title":"..."}}
/// ```
///
/// `time` is the media time in milliseconds that the notice belongs to: that of the pictures and sounds
/// which the viewer shows at that moment, counted from the beginning of the stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice<'a> {
    /// What it is: `metadata`, `cue`, `text`, or another name.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Media time in milliseconds.
    pub time: i64,
    /// What the publisher has sent.
    pub data: &'a Value,
}

impl<'a> Notice<'a> {
    /// A notice for media time `at`.
    #[must_use]
    pub fn new(kind: &'a str, at: MediaTime, data: &'a Value) -> Self {
        Self {
            kind,
            time: at.as_millis(),
            data,
        }
    }

    /// The text of the message.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("JSON of names and values can be written")
    }
}

/// What a viewer may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `{"type":"ping","id":...}`: wants a `pong` with the same `id`, a string or a number.
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
    /// Reads a message; `None` for what nothing is done about.
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

    /// The answer, at media time `now` of the live edge: with the time that the viewer took for it, the
    /// round trip, and with the media time it shows, how far it is behind.
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

    #[test]
    fn a_notice_is_json_with_the_media_time() {
        let data = json!({"title": "a \"show\"", "width": 1280});
        let notice = Notice::new("metadata", MediaTime::from_millis(12_345), &data);
        let text = notice.to_text();
        assert!(
            text.starts_with(r#"{"type":"metadata","time":12345,"data":{"#),
            "{text}"
        );
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["data"], data);
    }

    #[test]
    fn a_ping_is_answered_with_its_id_and_the_media_time() {
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
    fn what_is_no_ping_is_passed_over() {
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
