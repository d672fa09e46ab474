//! Control messages between nodes, in JSON.
//!
//! Fields that a node does not know are ignored, so that nodes of two releases can work together. A
//! message whose meaning has changed has another number in `v`; a node refuses those that it does not
//! read.

use bytes::Bytes;
use distributary_names::StreamName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Label;
use crate::epoch::is_provisional;
use crate::strand::Strand;
use crate::versions::MessageVersions;

/// Maximum bytes of a control message.
const MAX_LEN: usize = 64 << 10;

/// Maximum streams in one [`Keep`] or [`Roster`].
pub(crate) const MAX_KEPT: usize = 128;

/// A control message.
pub(crate) trait Control: Serialize + DeserializeOwned {
    /// The versions of the message that this node reads; it writes the newest.
    const VERSIONS: MessageVersions = MessageVersions::THIS;

    /// Returns the message as JSON.
    fn to_json(&self) -> Bytes {
        let message = Versioned {
            v: Self::VERSIONS.newest,
            content: self,
        };
        // Numbers and texts can always be written.
        serde_json::to_vec(&message).unwrap_or_default().into()
    }

    /// Reads a message; `None` if it is malformed, too long or of a version that this node does not
    /// read.
    fn from_json(json: &[u8]) -> Option<Self> {
        if json.len() > MAX_LEN {
            return None;
        }
        let message: Versioned<Self> = serde_json::from_slice(json).ok()?;
        Self::VERSIONS.reads(message.v).then_some(message.content)
    }
}

/// Returns the version of a control message if this node does not read it; `None` if it does, or the
/// message is malformed.
pub(crate) fn other_version(json: &[u8]) -> Option<u8> {
    #[derive(Deserialize)]
    struct Version {
        v: u8,
    }
    if json.len() > MAX_LEN {
        return None;
    }
    let Version { v } = serde_json::from_slice(json).ok()?;
    (!MessageVersions::THIS.reads(v)).then_some(v)
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u8,
    #[serde(flatten)]
    content: T,
}

/// A question for the owner of the stream in whose subject it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The node that asks.
    pub(crate) node: Label,
    /// The process that asks.
    pub(crate) instance: u64,
    /// Its publishers that stand by for the stream, if they wait for the name.
    #[serde(default)]
    pub(crate) waiting: Option<Waiting>,
}

/// Publishers of one node that stand by for a stream of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Their number.
    pub(crate) standbys: u8,
    /// One of them sends what viewers can begin with.
    pub(crate) ready: bool,
    /// The same with video.
    pub(crate) video: bool,
}

/// The answer to [`Ask`]: the node owns the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holds {
    pub(crate) node: Label,
    pub(crate) epoch: u64,
    /// True if the arbiter has not confirmed it yet. The epoch says the same.
    #[serde(default)]
    pub(crate) provisional: bool,
    /// True if the node is about to end, so that another one may have the name.
    #[serde(default)]
    pub(crate) draining: bool,
    /// True if the node that asks may have the name for a publisher that stands by.
    #[serde(default)]
    pub(crate) gives_way: bool,
}

/// A request to join a stream. The answer goes to the reply subject, as media messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) node: Label,
    #[serde(with = "stream_name")]
    pub(crate) stream: StreamName,
    pub(crate) epoch: u64,
    #[serde(flatten)]
    pub(crate) strand: Strand,
}

/// The streams of the receiver that the sender watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Keep {
    pub(crate) node: Label,
    pub(crate) streams: Vec<Kept>,
}

/// A stream that another node watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(with = "stream_name")]
    pub(crate) stream: StreamName,
    pub(crate) epoch: u64,
    #[serde(flatten)]
    pub(crate) strand: Strand,
    /// Loss of audio packets on the way to its viewers, in percent.
    #[serde(default)]
    pub(crate) loss: u8,
    /// A keyframe of the rendition is needed as soon as possible that is later than this time on the
    /// owner's timeline, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keyframe_after: Option<i64>,
}

/// The announcement that a node owns a stream from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Announced {
    pub(crate) node: Label,
    #[serde(with = "stream_name")]
    pub(crate) stream: StreamName,
    pub(crate) epoch: u64,
}

/// The value of a stream's entry in the arbiter's bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) node: Label,
    pub(crate) instance: u64,
}

/// The description of a node, twice a second. Nodes of all versions read it: its version is the first one
/// for ever, and its fields are only added to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beacon {
    pub(crate) node: Label,
    pub(crate) instance: u64,
    pub(crate) zone: Label,
    /// The version of the program.
    pub(crate) version: String,
    /// The versions of messages that it reads.
    #[serde(default)]
    pub(crate) messages: MessageVersions,
    /// URL of the node's HTTP listener, as players reach it; empty if it has none.
    #[serde(default)]
    pub(crate) url: String,
    /// Viewers of the node.
    pub(crate) viewers: u64,
    /// Streams that it owns.
    pub(crate) streams: u64,
    #[serde(default)]
    pub(crate) draining: bool,
    /// CPU time of its program, in percent of what it may use.
    #[serde(default)]
    pub(crate) cpu: Option<u8>,
    /// Its load in percent: the CPU time, or its share of the maximum number of viewers if that is
    /// more.
    #[serde(default)]
    pub(crate) load: u8,
}

/// Streams that the sender has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Roster {
    pub(crate) node: Label,
    pub(crate) streams: Vec<ListedStream>,
}

/// A stream that a node has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ListedStream {
    #[serde(with = "stream_name")]
    pub(crate) stream: StreamName,
    /// Its publisher uses it; otherwise its viewers watch it.
    pub(crate) owner: bool,
}

impl Holds {
    /// Reads an answer; `None` if it is malformed, or contradicts itself.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        Self::from_json(json).filter(|holds| holds.provisional == is_provisional(holds.epoch))
    }
}

impl Control for Ask {}
impl Control for Holds {}
impl Control for Join {}
impl Control for Keep {}
impl Control for Announced {}
impl Control for Entry {}
impl Control for Beacon {
    const VERSIONS: MessageVersions = MessageVersions::FIRST;
}
impl Control for Roster {}

mod stream_name {
    use super::{Deserialize, Deserializer, Serializer, StreamName};

    pub(super) fn serialize<S: Serializer>(name: &StreamName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StreamName, D::Error> {
        let text = String::deserialize(from)?;
        StreamName::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Reads a control message of each kind, for fuzzing: whatever is accepted reads back as itself.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    fn check<T: Control + PartialEq + std::fmt::Debug>(data: &[u8]) {
        if let Some(read) = T::from_json(data) {
            assert_eq!(T::from_json(&read.to_json()), Some(read));
        }
    }
    check::<Ask>(data);
    check::<Holds>(data);
    check::<Join>(data);
    check::<Keep>(data);
    check::<Announced>(data);
    check::<Entry>(data);
    check::<Beacon>(data);
    check::<Roster>(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let keep = Keep {
            node: "b".parse().unwrap(),
            streams: vec![Kept {
                stream: StreamName::parse("live/test").unwrap(),
                epoch: 7,
                strand: Strand::Main,
                loss: 3,
                keyframe_after: None,
            }],
        };
        let json = keep.to_json();
        assert_eq!(
            json,
            r#"{"v":1,"node":"b","streams":[{"stream":"live/test","epoch":7,"form":"opus","loss":3}]}"#
        );
        assert_eq!(Keep::from_json(&json), Some(keep));
    }

    #[test]
    fn unknown_fields_are_ignored_and_other_versions_refused() {
        let later = br#"{"v":1,"node":"a","epoch":3,"mood":"good"}"#;
        let holds = Holds::from_json(later).unwrap();
        assert_eq!((holds.epoch, holds.provisional), (3, false));
        assert_eq!(Holds::from_json(br#"{"v":2,"node":"a","epoch":3}"#), None);
        assert_eq!(Holds::from_json(br#"{"node":"a","epoch":3}"#), None);
        assert_eq!(other_version(br#"{"v":2,"node":"a","epoch":3}"#), Some(2));
        assert_eq!(other_version(br#"{"v":1,"node":"a"}"#), None);
        assert_eq!(other_version(b"{}"), None);
    }

    #[test]
    fn beacons_of_earlier_and_later_releases_are_read() {
        let earlier = br#"{"v":1,"node":"b","instance":5,"zone":"z","version":"0.1.0","viewers":0,"streams":0}"#;
        let beacon = Beacon::from_json(earlier).unwrap();
        assert_eq!(beacon.messages, MessageVersions::FIRST);
        let later = br#"{"v":1,"node":"b","instance":5,"zone":"z","version":"9.0.0","viewers":0,"streams":0,
            "messages":{"oldest":7,"newest":9,"mood":"good"},"weather":{"sun":true}}"#;
        let beacon = Beacon::from_json(later).unwrap();
        assert_eq!(beacon.messages.common(MessageVersions::THIS), None);
        let sent = beacon.to_json();
        assert!(sent.starts_with(br#"{"v":1,"#), "in every version");
    }

    #[test]
    fn answer_that_contradicts_itself_is_refused() {
        let answer = |epoch, provisional| {
            let holds = Holds {
                node: "a".parse().unwrap(),
                epoch,
                provisional,
                draining: false,
                gives_way: false,
            };
            Holds::read(&holds.to_json())
        };
        let unconfirmed = 1 << 63 | 5;
        assert!(answer(5, false).is_some());
        assert!(answer(unconfirmed, true).is_some());
        assert_eq!(answer(0, true), None, "it would be the earliest claim");
        assert_eq!(answer(unconfirmed, false), None);
    }

    #[test]
    fn names_that_could_reach_other_subjects_are_refused() {
        for json in [
            r#"{"v":1,"node":"a.>","epoch":3}"#,
            r#"{"v":1,"node":"","epoch":3}"#,
        ] {
            assert_eq!(Holds::from_json(json.as_bytes()), None, "{json}");
        }
        let join = br#"{"v":1,"node":"a","stream":"../x","epoch":1,"form":"opus"}"#;
        assert_eq!(Join::from_json(join), None);
    }

    #[test]
    fn the_longest_list_of_streams_can_be_read() {
        let long = format!("live/{}", "ä".repeat(125));
        let kept = Kept {
            stream: StreamName::parse(&long).unwrap(),
            epoch: u64::MAX,
            strand: Strand::Rendition("abcdefghijklmnopqrstuvw".parse().unwrap()),
            loss: 100,
            keyframe_after: Some(i64::MIN),
        };
        let keep = Keep {
            node: "n".repeat(63).parse().unwrap(),
            streams: vec![kept; MAX_KEPT],
        };
        assert_eq!(Keep::from_json(&keep.to_json()), Some(keep));
    }
}
