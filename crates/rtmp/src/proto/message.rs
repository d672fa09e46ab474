//! What the messages of a connection say (RTMP 1.0 sections 5.4, 6.2 and 7.1).

use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::proto::amf::amf0;
use crate::proto::amf::values::ValueDecoder;
use crate::proto::amf::{AmfError, Value};
use crate::proto::chunk::RawMessage;
use crate::proto::swf::{PROOF_LEN, PROOF_VERSION};

/// Longest data message, in bytes: metadata and captions need little, and each goes to all who
/// watch.
const MAX_DATA_SIZE: usize = 64 << 10;

/// Message type ids.
pub(crate) mod type_id {
    pub(crate) const SET_CHUNK_SIZE: u8 = 1;
    pub(crate) const ABORT: u8 = 2;
    pub(crate) const ACKNOWLEDGEMENT: u8 = 3;
    pub(crate) const USER_CONTROL: u8 = 4;
    pub(crate) const WINDOW_ACK_SIZE: u8 = 5;
    pub(crate) const SET_PEER_BANDWIDTH: u8 = 6;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    pub(crate) const DATA_AMF3: u8 = 15;
    pub(crate) const COMMAND_AMF3: u8 = 17;
    pub(crate) const DATA_AMF0: u8 = 18;
    pub(crate) const COMMAND_AMF0: u8 = 20;
    pub(crate) const AGGREGATE: u8 = 22;
}

/// User control event types (RTMP 1.0 section 7.1.7).
mod event_type {
    pub(super) const STREAM_BEGIN: u16 = 0;
    pub(super) const STREAM_EOF: u16 = 1;
    pub(super) const SET_BUFFER_LENGTH: u16 = 3;
    pub(super) const PING_REQUEST: u16 = 6;
    pub(super) const PING_RESPONSE: u16 = 7;
    // Those of Flash servers, which are not in the specification.
    pub(super) const SWF_REQUEST: u16 = 26;
    pub(super) const SWF_RESPONSE: u16 = 27;
}

/// A message, its payload interpreted.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The sender's chunks are this large from now on (section 5.4.1).
    SetChunkSize(u32),
    /// The message under way on this chunk stream is given up (section 5.4.2).
    Abort {
        /// The chunk stream.
        chunk_stream: u32,
    },
    /// Bytes received so far, modulo 2^32 (section 5.4.3).
    Acknowledgement(u32),
    /// An acknowledgement is wanted each time this many bytes were received (section 5.4.4).
    WindowAckSize(u32),
    /// The receiver is asked to bound what it sends without acknowledgement (section 5.4.5).
    SetPeerBandwidth {
        /// The window, in bytes.
        window: u32,
        /// 0 hard, 1 soft, 2 dynamic.
        limit_type: u8,
    },
    /// A user control event (section 6.2).
    UserControl(UserControl),
    /// An FLV audio tag body.
    Audio(Bytes),
    /// An FLV video tag body.
    Video(Bytes),
    /// A data message: a name and what it is about, usually metadata (section 7.1.2).
    Data(Vec<Value>),
    /// A command or the answer to one (section 7.1.1).
    Command(Command),
    /// A message of a type that says nothing here: shared objects, and aggregate messages, which
    /// are taken apart before.
    Other {
        /// Its type.
        type_id: u8,
    },
}

/// A user control event (RTMP 1.0 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The message stream can be used from now on.
    StreamBegin(u32),
    /// The message stream has ended.
    StreamEof(u32),
    /// A player has a buffer of this length.
    SetBufferLength {
        /// The message stream.
        stream_id: u32,
        /// The length, in milliseconds.
        millis: u32,
    },
    /// Asks for a [`Self::PingResponse`] with the same timestamp.
    PingRequest(u32),
    /// The answer to a ping.
    PingResponse(u32),
    /// Asks a client to prove which Flash program it plays.
    SwfRequest,
    /// The proof.
    SwfResponse([u8; PROOF_LEN]),
    /// Any other event. None of them needs an answer.
    Other(u16),
}

/// A command message.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The name of the command; `_result`, `_error` and `onStatus` are responses.
    pub name: String,
    /// Names the answer; 0 when none is wanted.
    pub transaction_id: f64,
    /// The command object and the arguments.
    pub arguments: Vec<Value>,
}

impl Command {
    /// Returns a command with its command object first in `arguments`.
    pub fn new(name: &str, transaction_id: f64, arguments: impl Into<Vec<Value>>) -> Self {
        Self {
            name: name.to_owned(),
            transaction_id,
            arguments: arguments.into(),
        }
    }

    /// Returns the command object.
    pub fn object(&self) -> &Value {
        self.argument_at(0)
    }

    /// Returns the argument after the command object at `index`; `Undefined` when there is none.
    pub fn argument(&self, index: usize) -> &Value {
        self.argument_at(index.saturating_add(1))
    }

    fn argument_at(&self, index: usize) -> &Value {
        self.arguments.get(index).unwrap_or(&Value::Undefined)
    }
}

/// The error of an invalid message. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload is shorter than its type needs.
    #[error("a message of type {type_id} is truncated")]
    Truncated {
        /// The type.
        type_id: u8,
    },
    /// More commands than are decoded for one connection.
    #[error("commands: {0}")]
    TooManyCommands(#[source] AmfError),
    /// A data message is not the AMF it should be.
    #[error("a data message: {0}")]
    BadData(#[source] AmfError),
    /// A command does not begin with its name.
    #[error("a command without name")]
    NamelessCommand,
}

impl MessageError {
    /// Returns whether the connection cannot go on: where the next chunk begins is unknown without
    /// the chunk size, and too many commands are a flood. Any other message that cannot be
    /// understood does no harm.
    pub(crate) fn is_fatal(&self) -> bool {
        let type_id = type_id::SET_CHUNK_SIZE;
        matches!(self, Self::TooManyCommands(_)) || *self == Self::Truncated { type_id }
    }
}

impl RawMessage {
    /// Returns whether it is media of a stream.
    pub(crate) fn is_media(&self) -> bool {
        matches!(self.type_id, type_id::AUDIO | type_id::VIDEO) || self.is_data()
    }

    /// Returns whether it is a data message.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self.type_id, type_id::DATA_AMF0 | type_id::DATA_AMF3)
    }
}

impl Message {
    /// Interprets a payload that came at `now`. Of a command, what follows a value that cannot be
    /// decoded is not there; encoders send stray bytes behind the arguments.
    ///
    /// # Errors
    /// When it is not what its type says, or costs too much to decode.
    pub(crate) fn decode(
        raw: &RawMessage,
        values: &mut ValueDecoder,
        now: Instant,
    ) -> Result<Self, MessageError> {
        let type_id = raw.type_id;
        let truncated = |_| MessageError::Truncated { type_id };
        let mut payload = &raw.payload[..];
        Ok(match type_id {
            type_id::SET_CHUNK_SIZE => {
                Self::SetChunkSize(payload.try_get_u32().map_err(truncated)?)
            }
            type_id::ABORT => Self::Abort {
                chunk_stream: payload.try_get_u32().map_err(truncated)?,
            },
            type_id::ACKNOWLEDGEMENT => {
                Self::Acknowledgement(payload.try_get_u32().map_err(truncated)?)
            }
            type_id::WINDOW_ACK_SIZE => {
                Self::WindowAckSize(payload.try_get_u32().map_err(truncated)?)
            }
            type_id::SET_PEER_BANDWIDTH => Self::SetPeerBandwidth {
                window: payload.try_get_u32().map_err(truncated)?,
                limit_type: payload.try_get_u8().map_err(truncated)?,
            },
            type_id::USER_CONTROL => {
                Self::UserControl(UserControl::decode(payload).map_err(truncated)?)
            }
            type_id::AUDIO => Self::Audio(raw.payload.clone()),
            type_id::VIDEO => Self::Video(raw.payload.clone()),
            type_id::DATA_AMF0 | type_id::DATA_AMF3 => {
                if payload.len() > MAX_DATA_SIZE {
                    let limit = MAX_DATA_SIZE;
                    return Err(MessageError::BadData(AmfError::TooMuchText { limit }));
                }
                let decoded = values.decode(amf0_part(type_id, payload), now);
                let decoded = decoded.map_err(MessageError::BadData)?;
                match decoded.error {
                    // What the message is about has been read: the rest is of no use.
                    Some(error) if decoded.values.last().and_then(Value::members).is_none() => {
                        return Err(MessageError::BadData(error));
                    }
                    _ => Self::Data(decoded.values),
                }
            }
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => {
                let decoded = values.decode(amf0_part(type_id, payload), now);
                let decoded = decoded.map_err(MessageError::TooManyCommands)?;
                Self::Command(command(decoded.values)?)
            }
            type_id => Self::Other { type_id },
        })
    }

    /// Returns the message as it is sent on message stream `stream_id`; `None` for [`Self::Other`],
    /// which kept no payload. Commands and data are sent as AMF0.
    pub fn encode(&self, timestamp: u32, stream_id: u32) -> Option<RawMessage> {
        let mut payload = BytesMut::new();
        let type_id = match self {
            Self::SetChunkSize(size) => {
                payload.put_u32(*size);
                type_id::SET_CHUNK_SIZE
            }
            Self::Abort { chunk_stream } => {
                payload.put_u32(*chunk_stream);
                type_id::ABORT
            }
            Self::Acknowledgement(sequence) => {
                payload.put_u32(*sequence);
                type_id::ACKNOWLEDGEMENT
            }
            Self::WindowAckSize(window) => {
                payload.put_u32(*window);
                type_id::WINDOW_ACK_SIZE
            }
            Self::SetPeerBandwidth { window, limit_type } => {
                payload.put_u32(*window);
                payload.put_u8(*limit_type);
                type_id::SET_PEER_BANDWIDTH
            }
            Self::UserControl(event) => {
                event.encode(&mut payload)?;
                type_id::USER_CONTROL
            }
            Self::Audio(body) | Self::Video(body) => {
                let is_audio = matches!(self, Self::Audio(_));
                return Some(RawMessage {
                    timestamp,
                    type_id: if is_audio {
                        type_id::AUDIO
                    } else {
                        type_id::VIDEO
                    },
                    stream_id,
                    payload: body.clone(),
                });
            }
            Self::Data(values) => {
                encode_values(values, &mut payload);
                type_id::DATA_AMF0
            }
            Self::Command(command) => {
                amf0::encode(&command.name.as_str().into(), &mut payload);
                amf0::encode(&command.transaction_id.into(), &mut payload);
                encode_values(&command.arguments, &mut payload);
                type_id::COMMAND_AMF0
            }
            Self::Other { .. } => return None,
        };
        Some(RawMessage {
            timestamp,
            type_id,
            stream_id,
            payload: payload.freeze(),
        })
    }
}

impl UserControl {
    fn decode(mut payload: &[u8]) -> Result<Self, bytes::TryGetError> {
        Ok(match payload.try_get_u16()? {
            event_type::STREAM_BEGIN => Self::StreamBegin(payload.try_get_u32()?),
            event_type::STREAM_EOF => Self::StreamEof(payload.try_get_u32()?),
            event_type::SET_BUFFER_LENGTH => Self::SetBufferLength {
                stream_id: payload.try_get_u32()?,
                millis: payload.try_get_u32()?,
            },
            event_type::PING_REQUEST => Self::PingRequest(payload.try_get_u32()?),
            event_type::PING_RESPONSE => Self::PingResponse(payload.try_get_u32()?),
            // Later versions, which nobody can answer, have theirs here.
            event_type::SWF_REQUEST if payload.first().is_none_or(|v| *v <= PROOF_VERSION) => {
                Self::SwfRequest
            }
            event_type::SWF_RESPONSE => {
                let mut proof = [0; PROOF_LEN];
                payload.try_copy_to_slice(&mut proof)?;
                Self::SwfResponse(proof)
            }
            other => Self::Other(other),
        })
    }

    fn encode(self, payload: &mut BytesMut) -> Option<()> {
        let (event, value, more) = match self {
            Self::StreamBegin(stream) => (event_type::STREAM_BEGIN, stream, None),
            Self::StreamEof(stream) => (event_type::STREAM_EOF, stream, None),
            Self::SetBufferLength { stream_id, millis } => {
                (event_type::SET_BUFFER_LENGTH, stream_id, Some(millis))
            }
            Self::PingRequest(timestamp) => (event_type::PING_REQUEST, timestamp, None),
            Self::PingResponse(timestamp) => (event_type::PING_RESPONSE, timestamp, None),
            Self::SwfRequest => {
                payload.put_u16(event_type::SWF_REQUEST);
                return Some(());
            }
            Self::SwfResponse(proof) => {
                payload.put_u16(event_type::SWF_RESPONSE);
                payload.put_slice(&proof);
                return Some(());
            }
            Self::Other(_) => return None,
        };
        payload.put_u16(event);
        payload.put_u32(value);
        if let Some(more) = more {
            payload.put_u32(more);
        }
        Some(())
    }
}

fn encode_values(values: &[Value], payload: &mut BytesMut) {
    for value in values {
        amf0::encode(value, payload);
    }
}

/// Returns the AMF0 part of a payload. The messages of AMF3 clients begin with a zero, then have
/// AMF0 as well, in which single values switch to AMF3.
fn amf0_part(type_id: u8, payload: &[u8]) -> &[u8] {
    match payload {
        [0, rest @ ..] if matches!(type_id, type_id::COMMAND_AMF3 | type_id::DATA_AMF3) => rest,
        payload => payload,
    }
}

/// Sorts the values of a command message. A missing transaction id is one that wants no answer.
fn command(values: Vec<Value>) -> Result<Command, MessageError> {
    let mut values = values.into_iter();
    let Some(Value::String(name)) = values.next() else {
        return Err(MessageError::NamelessCommand);
    };
    let transaction_id = values.next().and_then(|id| id.as_number()).unwrap_or(0.0);
    Ok(Command {
        name,
        transaction_id,
        arguments: values.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::amf::{AmfLimits, object};

    #[allow(
        clippy::disallowed_methods,
        reason = "an origin for the simulated clock"
    )]
    fn decode(type_id: u8, payload: &'static [u8]) -> Result<Message, MessageError> {
        let raw = RawMessage {
            timestamp: 0,
            type_id,
            stream_id: 0,
            payload: Bytes::from_static(payload),
        };
        let mut values = ValueDecoder::commands(AmfLimits::default());
        Message::decode(&raw, &mut values, Instant::now())
    }

    #[test]
    fn control_messages_survive_writing_and_parsing() {
        let buffer = UserControl::SetBufferLength {
            stream_id: 1,
            millis: 3000,
        };
        let proof = {
            let mut payload = [7; 2 + PROOF_LEN];
            payload[..2].copy_from_slice(&[0, 27]);
            &*Vec::leak(payload.to_vec())
        };
        let cases: [(u8, &'static [u8], Message); 12] = [
            (4, &[0, 26], Message::UserControl(UserControl::SwfRequest)),
            (
                4,
                proof,
                Message::UserControl(UserControl::SwfResponse([7; PROOF_LEN])),
            ),
            (
                4,
                &[0, 3, 0, 0, 0, 1, 0, 0, 11, 184],
                Message::UserControl(buffer),
            ),
            (1, &[0, 0, 16, 0], Message::SetChunkSize(4096)),
            (2, &[0, 0, 0, 6], Message::Abort { chunk_stream: 6 }),
            (3, &[0xFF; 4], Message::Acknowledgement(u32::MAX)),
            (5, &[0, 0x26, 0x25, 0xA0], Message::WindowAckSize(2_500_000)),
            (
                6,
                &[0, 0x26, 0x25, 0xA0, 2],
                Message::SetPeerBandwidth {
                    window: 2_500_000,
                    limit_type: 2,
                },
            ),
            (
                4,
                &[0, 0, 0, 0, 0, 1],
                Message::UserControl(UserControl::StreamBegin(1)),
            ),
            (
                4,
                &[0, 1, 0, 0, 0, 1],
                Message::UserControl(UserControl::StreamEof(1)),
            ),
            (
                4,
                &[0, 6, 0, 0, 0, 9],
                Message::UserControl(UserControl::PingRequest(9)),
            ),
            (
                4,
                &[0, 7, 0, 0, 0, 9],
                Message::UserControl(UserControl::PingResponse(9)),
            ),
        ];
        for (type_id, payload, message) in cases {
            assert_eq!(decode(type_id, payload).as_ref(), Ok(&message));
            let raw = message.encode(0, 0).unwrap();
            assert_eq!((raw.type_id, &raw.payload[..]), (type_id, payload));
        }
    }

    #[test]
    fn unused_events_are_accepted() {
        // Among them a later version of SWF verification.
        for payload in [&[0, 26, 2][..], &[0, 31], &[0, 32]] {
            let payload: &'static [u8] = Vec::leak(payload.to_vec());
            assert!(matches!(
                decode(4, payload),
                Ok(Message::UserControl(UserControl::Other(_)))
            ));
        }
        assert_eq!(decode(19, &[1]), Ok(Message::Other { type_id: 19 }));
    }

    #[test]
    fn short_control_messages_are_errors() {
        for type_id in [1, 2, 3, 4, 5, 6] {
            assert_eq!(
                decode(type_id, &[0]),
                Err(MessageError::Truncated { type_id })
            );
        }
    }

    #[test]
    fn an_amf3_command_may_mix_both_versions_or_not() {
        // connect, 1, {app: "live"} as Flash sends it with objectEncoding 3, then with the object
        // in AMF3.
        let expected = Command::new("connect", 1.0, [object([("app", "live".into())])]);
        let head = b"\x00\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00";
        for object in [
            &b"\x03\x00\x03app\x02\x00\x04live\x00\x00\x09"[..],
            b"\x11\x0a\x0b\x01\x07app\x06\x09live\x01",
        ] {
            let payload: &'static [u8] = Vec::leak([&head[..], object].concat());
            assert_eq!(decode(17, payload), Ok(Message::Command(expected.clone())));
        }
        assert_eq!(
            decode(15, b"\x00\x02\x00\x01a"),
            Ok(Message::Data(vec!["a".into()]))
        );
    }

    #[test]
    fn a_command_has_a_name_an_id_and_arguments() {
        let expected = Command::new("publish", 5.0, [Value::Null, "test".into(), "live".into()]);
        let bytes = b"\x02\x00\x07publish\x00\x40\x14\x00\x00\x00\x00\x00\x00\x05\x02\x00\x04test\x02\x00\x04live";
        assert_eq!(decode(20, bytes), Ok(Message::Command(expected.clone())));
        assert_eq!(expected.argument(0).as_str(), Some("test"));
        assert_eq!(expected.argument(7), &Value::Undefined);
        let raw = Message::Command(expected).encode(0, 1).unwrap();
        assert_eq!(raw.payload[..], bytes[..]);
        assert_eq!(decode(20, &[5]), Err(MessageError::NamelessCommand));
    }

    #[test]
    fn what_cannot_be_decoded_behind_the_arguments_is_not_there() {
        let expected = Command::new("publish", 5.0, [Value::Null, "test".into()]);
        let bytes =
            b"\x02\x00\x07publish\x00\x40\x14\x00\x00\x00\x00\x00\x00\x05\x02\x00\x04test\x00\x00";
        assert_eq!(decode(20, bytes), Ok(Message::Command(expected)));
        // The same behind the object of a data message, but not in it.
        let data = b"\x02\x00\x01a\x03\x00\x01b\x05\x00\x00\x09\x00\x00";
        let expected = Message::Data(vec!["a".into(), object([("b", Value::Null)])]);
        assert_eq!(decode(18, data), Ok(expected));
        assert_eq!(
            decode(18, &data[..7]),
            Err(MessageError::BadData(AmfError::Truncated))
        );
    }
}
