//! User control events (RTMP 1.0 sections 6.2 and 7.1.7).

use bytes::{Buf, BufMut, BytesMut};

use crate::proto::swf::{PROOF_LEN, PROOF_VERSION};

/// User control event types (RTMP 1.0 section 7.1.7).
mod event_type {
    pub(super) const STREAM_BEGIN: u16 = 0;
    pub(super) const STREAM_EOF: u16 = 1;
    pub(super) const SET_BUFFER_LENGTH: u16 = 3;
    pub(super) const PING_REQUEST: u16 = 6;
    pub(super) const PING_RESPONSE: u16 = 7;
    // Events of Flash servers, which the specification does not have.
    pub(super) const SWF_REQUEST: u16 = 26;
    pub(super) const SWF_RESPONSE: u16 = 27;
}

/// A user control event (RTMP 1.0 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// The message stream can be used.
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
    /// The response to a ping.
    PingResponse(u32),
    /// Asks a client to prove which Flash program it plays.
    SwfRequest,
    /// The proof.
    SwfResponse([u8; PROOF_LEN]),
    /// Any other event. None of them needs a response.
    Other(u16),
}

impl UserControl {
    pub(super) fn decode(mut payload: &[u8]) -> Result<Self, bytes::TryGetError> {
        Ok(match payload.try_get_u16()? {
            event_type::STREAM_BEGIN => Self::StreamBegin(payload.try_get_u32()?),
            event_type::STREAM_EOF => Self::StreamEof(payload.try_get_u32()?),
            event_type::SET_BUFFER_LENGTH => Self::SetBufferLength {
                stream_id: payload.try_get_u32()?,
                millis: payload.try_get_u32()?,
            },
            event_type::PING_REQUEST => Self::PingRequest(payload.try_get_u32()?),
            event_type::PING_RESPONSE => Self::PingResponse(payload.try_get_u32()?),
            // Later versions of SWF verification, which nobody can answer, have their version here.
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

    /// Appends the event; returns `None` for [`Self::Other`], whose payload is not kept.
    pub(super) fn encode(self, payload: &mut BytesMut) -> Option<()> {
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
