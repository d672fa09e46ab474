//! The content of a message.

use bytes::Bytes;
use distributary_media::{AudioFrame, Frame, MediaTime, TimedData, VideoFrame};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::{self, Header, Kind, MessageError};
use crate::tracks::TrackSet;

/// Maximum bytes of timed data.
const MAX_DATA: usize = 256 << 10;

/// Maximum memory of timed data, by [`memory`].
const MAX_DATA_MEMORY: usize = 1 << 20;

/// Members of a JSON object for which memory is allocated at once, when they are few: half of a
/// full node of its tree.
const MEMBERS_PER_NODE: usize = 6;

/// The memory of a node of an object's tree, with room for eleven names and values.
const NODE: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 64;

/// The content of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A frame.
    Frame(Frame),
    /// Timed data.
    Data(TimedData),
    /// The tracks.
    Tracks(TrackSet),
    /// A sign of life.
    Tick,
    /// The end of the stream.
    End(EndReason),
    /// The end of the answer to a request to join, with the number of the next live part.
    Joined {
        /// The number of the next part of the live stream.
        next: u64,
    },
}

/// The reason why an owner sends no more of a stream, or refuses a request to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its publisher has ended the stream.
    Finished,
    /// The connection of its publisher was lost.
    Lost,
    /// Another node owns the stream, or this one owns it in another epoch.
    Moved,
    /// The node has too many requests to join.
    Busy,
}

impl EndReason {
    const ALL: [Self; 4] = [Self::Finished, Self::Lost, Self::Moved, Self::Busy];

    pub(crate) fn to_body(self) -> [u8; 1] {
        [self as u8]
    }

    fn from_body(body: &[u8]) -> Result<Self, MessageError> {
        let byte = body.first().ok_or(MessageError::Short)?;
        let reason = Self::ALL.get(usize::from(*byte)).copied();
        reason.ok_or(MessageError::Undefined("reason of the end"))
    }
}

impl Content {
    /// Reads the content of a message from its header and its body.
    ///
    /// # Errors
    /// Returns [`MessageError`] if it is malformed.
    pub fn read(header: &Header, body: Bytes) -> Result<Self, MessageError> {
        match header.kind {
            Kind::Video => Ok(Self::Frame(Frame::Video(VideoFrame {
                codec: message::video_codec(header.codec)?,
                pts: header.pts,
                dts: header.dts,
                keyframe: header.keyframe,
                info: header.info,
                units: message::units(&body)?,
            }))),
            Kind::Audio => Ok(Self::Frame(Frame::Audio(AudioFrame {
                codec: message::audio_codec(header.codec)?,
                pts: header.dts,
                data: body,
            }))),
            Kind::Data => data(&body, header.dts).map(Self::Data),
            Kind::Tracks => {
                let tracks = TrackSet::from_json(&body).ok_or(MessageError::Undefined("track"))?;
                Ok(Self::Tracks(tracks))
            }
            Kind::Tick => Ok(Self::Tick),
            Kind::End => EndReason::from_body(&body).map(Self::End),
            Kind::Joined => {
                let next = body.first_chunk().ok_or(MessageError::Short)?;
                let next = u64::from_be_bytes(*next);
                Ok(Self::Joined { next })
            }
        }
    }
}

/// Timed data as JSON.
#[derive(Serialize, Deserialize)]
struct DataBody {
    name: String,
    values: Vec<Value>,
}

/// Returns the body of a message with timed data; `None` if it is too large to be sent.
pub(crate) fn data_body(data: &TimedData) -> Option<Vec<u8>> {
    let body = DataBody {
        name: data.name.clone(),
        values: data.values.clone(),
    };
    let json = serde_json::to_vec(&body).ok()?;
    is_acceptable(&json).then_some(json)
}

/// Returns whether nodes accept timed data with this JSON.
fn is_acceptable(json: &[u8]) -> bool {
    json.len() <= MAX_DATA && memory(json) <= MAX_DATA_MEMORY
}

/// Estimates the memory of a JSON text once it is read, from above, without reading it: a short text
/// can have many values, and each object takes a node of a tree.
fn memory(json: &[u8]) -> usize {
    let (mut values, mut objects, mut members, mut texts) = (1, 0, 0_usize, 0);
    let (mut in_text, mut is_escaped) = (false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => {
                in_text = !in_text;
                texts += usize::from(in_text);
            }
            _ if in_text => {}
            b'{' => objects += 1,
            b':' => members += 1,
            b'[' | b',' => values += 1,
            _ => {}
        }
    }
    // A list grows by doubling, and an allocation takes at least two words more than its content.
    let nodes = objects + members.div_ceil(MEMBERS_PER_NODE);
    json.len() + 2 * values * size_of::<Value>() + nodes * NODE + texts * 2 * size_of::<usize>()
}

fn data(body: &[u8], time: MediaTime) -> Result<TimedData, MessageError> {
    if !is_acceptable(body) {
        return Err(MessageError::Large);
    }
    let DataBody { name, values } =
        serde_json::from_slice(body).map_err(|_| MessageError::Undefined("timed data"))?;
    Ok(TimedData { time, name, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_with_large_memory_is_refused() {
        let header = Header::new(Kind::Data, 1);
        let read = |values: &str| {
            let body = format!(r#"{{"name":"onCuePoint","values":[{values}]}}"#);
            assert!(body.len() <= MAX_DATA);
            Content::read(&header, body.into_bytes().into()).map(drop)
        };
        let text = format!(r#""{}""#, "a,[{:".repeat(50_000));
        assert_eq!(read(&text), Ok(()), "one long text");
        let objects = vec![r#"{"a":0}"#; 30_000].join(",");
        assert_eq!(read(&objects), Err(MessageError::Large));
        let lists = vec!["[]"; 80_000].join(",");
        assert_eq!(read(&lists), Err(MessageError::Large));
        // It is not sent either.
        let data = TimedData {
            time: MediaTime::ZERO,
            name: "onCuePoint".to_owned(),
            values: vec![serde_json::json!({"a": 0}); 30_000],
        };
        assert_eq!(data_body(&data), None);
    }

    #[test]
    fn data_and_reasons_come_out_as_they_went_in() {
        let given = TimedData {
            time: MediaTime::from_millis(7),
            name: "onCuePoint".to_owned(),
            values: vec![1.into(), "a".into()],
        };
        let mut header = Header::new(Kind::Data, 1);
        header.dts = given.time;
        let body = data_body(&given).unwrap();
        let read =
            |header: &Header, body: &[u8]| Content::read(header, Bytes::copy_from_slice(body));
        assert_eq!(read(&header, &body), Ok(Content::Data(given)));
        for reason in EndReason::ALL {
            let end = Header::new(Kind::End, 1);
            assert_eq!(read(&end, &reason.to_body()), Ok(Content::End(reason)));
        }
        assert!(read(&Header::new(Kind::End, 1), &[9]).is_err());
        assert!(read(&Header::new(Kind::Joined, 1), &[9]).is_err());
    }
}
