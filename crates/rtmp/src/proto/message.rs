//! The messages of a connection (RTMP 1.0 sections 5.4, 6.2 and 7.1).
//!
//! * [`Message`]: all of them.
//! * `command`: [`Command`], and responses to commands.
//! * `user_control`: [`UserControl`], the events of the connection and its message streams.

mod command;
mod error;
pub(crate) mod type_id;
mod user_control;

use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::proto::amf::amf0;
use crate::proto::amf::values::ValueDecoder;
use crate::proto::amf::{AmfError, Value};
use crate::proto::chunk::RawMessage;

pub use command::Command;
pub use error::MessageError;
pub use user_control::UserControl;

/// Maximum size of a data message, in bytes: metadata and captions are short, and each is sent to
/// all viewers.
const MAX_DATA_SIZE: usize = 64 << 10;

/// A message with its decoded payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The size of the sender's following chunks, in bytes (section 5.4.1).
    SetChunkSize(u32),
    /// The sender aborts the incomplete message on this chunk stream (section 5.4.2).
    Abort {
        /// The chunk stream.
        chunk_stream: u32,
    },
    /// Bytes received so far, modulo 2^32 (section 5.4.3).
    Acknowledgement(u32),
    /// The number of bytes after which the sender expects an acknowledgement (section 5.4.4).
    WindowAckSize(u32),
    /// A limit of unacknowledged bytes for the receiver (section 5.4.5).
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
    /// A data message: a name and values, usually metadata (section 7.1.2).
    Data(Vec<Value>),
    /// A command or a response to one (section 7.1.1).
    Command(Command),
    /// A message of a type that is ignored: shared objects, and aggregate messages, which are split
    /// before.
    Other {
        /// Its type.
        type_id: u8,
    },
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
    /// Decodes a message that arrived at `now`. A command ends before the first value that cannot
    /// be decoded, because encoders send stray bytes after the arguments.
    ///
    /// # Errors
    /// Returns [`MessageError`] if the payload is not valid for its type, or decoding it would
    /// exceed the connection's budget.
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
                    // The values up to the metadata are decoded; the rest is not used.
                    Some(error) if decoded.values.last().and_then(Value::members).is_none() => {
                        return Err(MessageError::BadData(error));
                    }
                    _ => Self::Data(decoded.values),
                }
            }
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => {
                let decoded = values.decode(amf0_part(type_id, payload), now);
                let decoded = decoded.map_err(MessageError::TooManyCommands)?;
                Self::Command(Command::from_values(decoded.values)?)
            }
            type_id => Self::Other { type_id },
        })
    }

    /// Encodes the message for message stream `stream_id`; `None` for [`Self::Other`], whose
    /// payload is not kept. Commands and data are encoded as AMF0.
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

fn encode_values(values: &[Value], payload: &mut BytesMut) {
    for value in values {
        amf0::encode(value, payload);
    }
}

/// Returns the AMF0 part of a payload. Messages of AMF3 clients have a zero before it, and single
/// values in it switch to AMF3.
fn amf0_part(type_id: u8, payload: &[u8]) -> &[u8] {
    match payload {
        [0, rest @ ..] if matches!(type_id, type_id::COMMAND_AMF3 | type_id::DATA_AMF3) => rest,
        payload => payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::amf::{AmfLimits, object};
    use crate::proto::swf::PROOF_LEN;

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
    fn control_messages_survive_encoding_and_decoding() {
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
    fn amf3_command_may_mix_both_versions() {
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
    fn command_has_a_name_an_id_and_arguments() {
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
    fn stray_bytes_after_the_values_are_ignored() {
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
