//! Headers of chunks (RTMP 1.0 section 5.3.1).

use bytes::Buf;

use crate::proto::chunk::error::ChunkError;
use crate::proto::chunk::format::EXTENDED_TIMESTAMP;

/// Maximum chunk header: a 3-byte basic header, an 11-byte message header, the extended timestamp.
pub(super) const MAX_HEADER_LEN: usize = 3 + 11 + 4;

/// A chunk header as it stands on the wire.
#[derive(Debug)]
pub(super) struct ChunkHeader {
    pub(super) chunk_stream: u32,
    pub(super) fields: MessageHeader,
}

/// The four header types (RTMP 1.0 section 5.3.1.2); times with the extended timestamp resolved.
#[derive(Debug)]
pub(super) enum MessageHeader {
    Type0 {
        timestamp: u32,
        extended: bool,
        length: usize,
        type_id: u8,
        stream_id: u32,
    },
    Type1 {
        delta: u32,
        extended: bool,
        length: usize,
        type_id: u8,
    },
    Type2 {
        delta: u32,
        extended: bool,
    },
    Type3,
}

impl MessageHeader {
    /// Refuses a first header that omits fields of an earlier one.
    ///
    /// Type 1 omits only the message stream; librtmp starts with it for pings, on stream 0.
    pub(super) fn check_first(&self, chunk_stream: u32) -> Result<(), ChunkError> {
        let header_type = match self {
            Self::Type0 { .. } | Self::Type1 { .. } => return Ok(()),
            Self::Type2 { .. } => 2,
            Self::Type3 => 3,
        };
        Err(ChunkError::NoPrecedingHeader {
            chunk_stream,
            header_type,
        })
    }
}

/// Reads the chunk stream id of a basic header (RTMP 1.0 section 5.3.1.1).
pub(super) fn chunk_stream_id(basic: &[u8]) -> Option<u32> {
    match *basic {
        [first, second, ..] if first & 0x3F == 0 => Some(64 + u32::from(second)),
        [first, second, third, ..] if first & 0x3F == 1 => {
            Some(64 + u32::from(second) + (u32::from(third) << 8))
        }
        [first, ..] => Some(u32::from(first & 0x3F)),
        [] => None,
    }
}

/// Parses a message header with its extended timestamp. Returns `None` if it is truncated.
pub(super) fn parse_message_header(header_type: u8, mut bytes: &[u8]) -> Option<MessageHeader> {
    if header_type >= 3 {
        return Some(MessageHeader::Type3);
    }
    let field = bytes.try_get_uint(3).ok()? as u32;
    let extended = field == EXTENDED_TIMESTAMP;
    let header = match header_type {
        0 | 1 => {
            let length = bytes.try_get_uint(3).ok()? as usize;
            let type_id = bytes.try_get_u8().ok()?;
            if header_type == 0 {
                let stream_id = bytes.try_get_u32_le().ok()?;
                MessageHeader::Type0 {
                    timestamp: resolve(field, bytes)?,
                    extended,
                    length,
                    type_id,
                    stream_id,
                }
            } else {
                MessageHeader::Type1 {
                    delta: resolve(field, bytes)?,
                    extended,
                    length,
                    type_id,
                }
            }
        }
        _ => MessageHeader::Type2 {
            delta: resolve(field, bytes)?,
            extended,
        },
    };
    Some(header)
}

/// Returns the value of a timestamp field, which may be in the extended timestamp.
fn resolve(field: u32, mut extended: &[u8]) -> Option<u32> {
    if field == EXTENDED_TIMESTAMP {
        extended.try_get_u32().ok()
    } else {
        Some(field)
    }
}
