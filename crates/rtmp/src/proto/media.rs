//! The media of a stream, in either direction: video, audio and data.

use bytes::Bytes;
use distributary_media::MediaTime;

use crate::proto::amf::{AmfError, Value};
use crate::proto::message::Message;
use crate::proto::timestamp::TimestampUnroller;

/// A message of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaMessage {
    /// An FLV video tag body.
    Video {
        /// Its time, unrolled.
        timestamp: MediaTime,
        /// The body.
        body: Bytes,
    },
    /// An FLV audio tag body.
    Audio {
        /// Its time, unrolled.
        timestamp: MediaTime,
        /// The body.
        body: Bytes,
    },
    /// A data message, without `@setDataFrame`.
    Data {
        /// Its time, unrolled.
        timestamp: MediaTime,
        /// Its name, `onMetaData` for metadata.
        name: String,
        /// Its values.
        values: Vec<Value>,
    },
    /// A data message could not be decoded and was dropped.
    DataIgnored {
        /// The error.
        error: AmfError,
    },
}

/// Reads the messages of one stream. All its tracks share one clock.
#[derive(Debug, Default)]
pub(crate) struct MediaReader {
    timestamps: TimestampUnroller,
}

impl MediaReader {
    /// Returns the media of a message; `None` for other messages and for data without a name.
    pub(crate) fn read(&mut self, message: Message, timestamp: u32) -> Option<MediaMessage> {
        match message {
            Message::Video(body) => Some(MediaMessage::Video {
                timestamp: self.timestamps.unroll(timestamp),
                body,
            }),
            Message::Audio(body) => Some(MediaMessage::Audio {
                timestamp: self.timestamps.unroll(timestamp),
                body,
            }),
            Message::Data(values) => self.data(timestamp, values),
            _ => None,
        }
    }

    /// Reads a data message: `onMetaData`, `onTextData`, `onCuePoint` and the like.
    fn data(&mut self, timestamp: u32, values: Vec<Value>) -> Option<MediaMessage> {
        let mut values = values.into_iter().peekable();
        // Publishers prefix data that the server should keep for new players with @setDataFrame.
        values.next_if(|first| first.as_str() == Some("@setDataFrame"));
        let Some(Value::String(name)) = values.next() else {
            return None;
        };
        Some(MediaMessage::Data {
            timestamp: self.timestamps.unroll(timestamp),
            name,
            values: values.collect(),
        })
    }
}
