//! The content of a message.

use bytes::Bytes;
use distributary_media::{AudioFrame, Frame, MediaTime, TimedData, VideoFrame};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::{self, Header, Kind, MessageError};
use crate::tracks::TrackSet;

/// Maximum bytes of timed data.
const MAX_DATA: usize = 256 << 10;

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
    (json.len() <= MAX_DATA).then_some(json)
}

fn data(body: &[u8], time: MediaTime) -> Result<TimedData, MessageError> {
    if body.len() > MAX_DATA {
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
