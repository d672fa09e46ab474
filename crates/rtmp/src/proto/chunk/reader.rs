//! Reads chunks, and returns complete messages.

use std::collections::BTreeMap;

use bytes::{Buf, BytesMut};

use super::{DEFAULT_CHUNK_SIZE, EXTENDED_TIMESTAMP, MAX_CHUNK_SIZE, RawMessage};

/// Maximum chunk header: a 3-byte basic header, an 11-byte message header, the extended timestamp.
const MAX_HEADER_LEN: usize = 3 + 11 + 4;

/// Limits of the memory that a peer can make the reader hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Maximum chunk streams of one connection. Real publishers use at most six.
    pub max_chunk_streams: usize,
    /// Maximum length of a message, in bytes.
    pub max_message_size: usize,
    /// Maximum bytes of incomplete messages on all chunk streams together, counted by the length
    /// that their headers declare.
    pub max_reassembly: usize,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self {
            max_chunk_streams: 64,
            max_message_size: 16 << 20,
            max_reassembly: 24 << 20,
        }
    }
}

/// The error of a refused chunk. The peer is at fault, and the connection cannot continue: the
/// start of the next chunk is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A chunk depends on a header that never arrived.
    #[error("chunk stream {chunk_stream} begins with a header of type {header_type}")]
    NoPrecedingHeader {
        /// The chunk stream.
        chunk_stream: u32,
        /// The type of the header, 2 or 3.
        header_type: u8,
    },
    /// A new message starts on a chunk stream with an incomplete message.
    #[error("chunk stream {chunk_stream}: a new message starts after {received} of {length} bytes")]
    UnfinishedMessage {
        /// The chunk stream.
        chunk_stream: u32,
        /// Received bytes of the old message.
        received: usize,
        /// Its length.
        length: usize,
    },
    /// A message is longer than allowed.
    #[error("a message of {length} bytes; {limit} is the limit")]
    MessageTooLong {
        /// The declared length.
        length: usize,
        /// The current limit.
        limit: usize,
    },
    /// Incomplete messages exceed the limit.
    #[error("incomplete messages have {bytes} bytes; {limit} is the limit")]
    TooMuchUnderWay {
        /// The declared bytes of all of them.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More chunk streams than allowed.
    #[error("more than {limit} chunk streams")]
    TooManyChunkStreams {
        /// The limit.
        limit: usize,
    },
    /// Set Chunk Size with a value outside 1 to 0x7FFFFFFF.
    #[error("chunk size {0:#x} is outside 1 to 0x7fffffff")]
    BadChunkSize(u32),
}

/// Assembles messages from the chunks of one direction of a connection.
///
/// Bytes may come in pieces of any size: a header is held until it is complete, chunk data is
/// written into the message's own buffer at once and frozen there, so that it is not copied again.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ChunkLimits,
    chunk_size: usize,
    streams: BTreeMap<u32, ChunkStream>,
    /// Declared bytes of all incomplete messages.
    under_way: usize,
    /// The received part of an incomplete header.
    held: Vec<u8>,
    /// The chunk that the next data belongs to.
    chunk: Option<OpenChunk>,
    /// True if a continuation omitted the extended timestamp: this peer does not repeat it.
    omits_extended: bool,
}

/// The state of one chunk stream that compressed headers refer to.
#[derive(Debug, Default)]
struct ChunkStream {
    timestamp: u32,
    /// The timestamp delta of a type 3 header that starts a message.
    delta: u32,
    length: usize,
    type_id: u8,
    stream_id: u32,
    /// The value of the extended timestamp field of the last type 0, 1 or 2 header that had one.
    extended: Option<u32>,
    /// The incomplete message.
    partial: Option<BytesMut>,
}

/// A chunk with a parsed header.
#[derive(Clone, Copy, Debug)]
struct OpenChunk {
    chunk_stream: u32,
    remaining: usize,
}

/// A chunk header as it stands on the wire.
#[derive(Debug)]
struct ChunkHeader {
    chunk_stream: u32,
    fields: MessageHeader,
}

/// The four header types (RTMP 1.0 section 5.3.1.2); times with the extended timestamp resolved.
#[derive(Debug)]
enum MessageHeader {
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

impl ChunkReader {
    /// Returns a reader with the default chunk size.
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE as usize,
            streams: BTreeMap::new(),
            under_way: 0,
            held: Vec::with_capacity(MAX_HEADER_LEN),
            chunk: None,
            omits_extended: false,
        }
    }

    /// Takes bytes from the front of `input` until a message is complete or nothing is left.
    ///
    /// Changes by a message (the chunk size, an abort) have to be applied before the next call.
    ///
    /// # Errors
    /// When the peer breaks the format or a limit.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<RawMessage>, ChunkError> {
        loop {
            if let Some(chunk) = self.chunk {
                self.read_data(chunk, input);
                if self.chunk.is_some() {
                    return Ok(None);
                }
                if let Some(message) = self.take_message(chunk.chunk_stream) {
                    return Ok(Some(message));
                }
            }
            let Some(header) = self.read_header(input) else {
                return Ok(None);
            };
            self.open_chunk(header)?;
        }
    }

    /// Applies the peer's Set Chunk Size (RTMP 1.0 section 5.4.1).
    ///
    /// # Errors
    /// When the size is 0 or has its first bit set.
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if size == 0 || size > 0x7FFF_FFFF {
            return Err(ChunkError::BadChunkSize(size));
        }
        self.chunk_size = size.min(MAX_CHUNK_SIZE) as usize;
        Ok(())
    }

    /// Drops the incomplete message of a chunk stream (RTMP 1.0 section 5.4.2).
    pub fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.get_mut(&chunk_stream)
            && stream.partial.take().is_some()
        {
            self.under_way = self.under_way.saturating_sub(stream.length);
        }
    }

    /// Changes the maximum length of a message, and the maximum bytes of incomplete messages, for
    /// messages that start from now on.
    pub fn bound_messages(&mut self, max_message_size: usize, max_reassembly: usize) {
        self.limits.max_message_size = max_message_size;
        self.limits.max_reassembly = max_reassembly;
    }

    /// Copies chunk data into the message, first what is held and then from the input.
    fn read_data(&mut self, mut chunk: OpenChunk, input: &mut &[u8]) {
        let stream = self.streams.entry(chunk.chunk_stream).or_default();
        let partial = stream.partial.get_or_insert_default();

        let held = self.held.len().min(chunk.remaining);
        partial.extend(self.held.drain(..held));
        chunk.remaining -= held;

        let taken = input.len().min(chunk.remaining);
        let (data, rest) = input.split_at(taken);
        partial.extend_from_slice(data);
        *input = rest;
        chunk.remaining -= taken;

        self.chunk = (chunk.remaining > 0).then_some(chunk);
    }

    fn take_message(&mut self, chunk_stream: u32) -> Option<RawMessage> {
        let stream = self.streams.get_mut(&chunk_stream)?;
        let payload = stream
            .partial
            .take_if(|partial| partial.len() >= stream.length)?;
        self.under_way = self.under_way.saturating_sub(stream.length);
        Some(RawMessage {
            timestamp: stream.timestamp,
            type_id: stream.type_id,
            stream_id: stream.stream_id,
            payload: payload.freeze(),
        })
    }

    /// Moves bytes from the input until `len` are held. Returns whether they are.
    fn hold(&mut self, len: usize, input: &mut &[u8]) -> bool {
        let wanted = len.saturating_sub(self.held.len()).min(input.len());
        let (taken, rest) = input.split_at(wanted);
        self.held.extend_from_slice(taken);
        *input = rest;
        self.held.len() >= len
    }

    /// Reads one header, or stores its received part.
    fn read_header(&mut self, input: &mut &[u8]) -> Option<ChunkHeader> {
        if !self.hold(1, input) {
            return None;
        }
        let first = *self.held.first()?;
        let basic_len = match first & 0x3F {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        let message_len = match first >> 6 {
            0 => 11,
            1 => 7,
            2 => 3,
            _ => 0,
        };
        let mut len = basic_len + message_len;
        if !self.hold(len, input) {
            return None;
        }
        let chunk_stream = chunk_stream_id(&self.held)?;
        let has_extended = match self.held.get(basic_len..).unwrap_or_default() {
            [a, b, c, ..] if message_len > 0 => [*a, *b, *c] == [0xFF; 3],
            _ => self.continues_extended(chunk_stream),
        };
        if has_extended {
            if !self.hold(len + 4, input) {
                return None;
            }
            if message_len > 0 || self.repeats_extended(chunk_stream, len) {
                len += 4;
            }
        }
        let fields = parse_message_header(first >> 6, self.held.get(basic_len..len)?)?;
        // What is held beyond the header (a timestamp that turned out to be data) stays held.
        self.held.drain(..len);
        Some(ChunkHeader {
            chunk_stream,
            fields,
        })
    }

    /// Returns whether a type 3 header of this chunk stream may be followed by an extended
    /// timestamp.
    ///
    /// The specification repeats it (RTMP 1.0 section 5.3.1.3) and so do ffmpeg and librtmp; other
    /// encoders leave it out. Only its value tells, so four bytes have to be looked at; of a peer
    /// known to leave it out they are not awaited where fewer are left in the message, which could
    /// be the last one for long.
    fn continues_extended(&self, chunk_stream: u32) -> bool {
        let Some(stream) = self.streams.get(&chunk_stream) else {
            return false;
        };
        let received = stream.partial.as_ref().map_or(0, BytesMut::len);
        let left = stream.length.saturating_sub(received);
        stream.extended.is_some() && !(self.omits_extended && left < 4)
    }

    /// Returns whether the four bytes at `at` repeat the extended timestamp of the chunk stream.
    fn repeats_extended(&mut self, chunk_stream: u32, at: usize) -> bool {
        let found = self
            .held
            .get(at..)
            .and_then(|mut bytes| bytes.try_get_u32().ok());
        let repeated = self.streams.get(&chunk_stream).is_some_and(|stream| {
            // Some senders repeat the message's time where the header had a delta.
            found == stream.extended
                || (stream.partial.is_some() && found == Some(stream.timestamp))
        });
        self.omits_extended |= !repeated;
        repeated
    }

    /// Applies a header to its chunk stream, and starts or continues a message.
    fn open_chunk(&mut self, header: ChunkHeader) -> Result<(), ChunkError> {
        let ChunkHeader {
            chunk_stream,
            fields,
        } = header;
        let limit = self.limits.max_chunk_streams;
        if !self.streams.contains_key(&chunk_stream) {
            fields.check_first(chunk_stream)?;
            if self.streams.len() >= limit {
                return Err(ChunkError::TooManyChunkStreams { limit });
            }
        }
        let stream = self.streams.entry(chunk_stream).or_default();
        match (&stream.partial, &fields) {
            (Some(_), MessageHeader::Type3 | MessageHeader::Type2 { .. }) => {}
            // Some encoders repeat more of the header than necessary.
            (
                Some(_),
                MessageHeader::Type1 {
                    length, type_id, ..
                },
            ) if (*length, *type_id) == (stream.length, stream.type_id) => {}
            (Some(partial), _) => {
                return Err(ChunkError::UnfinishedMessage {
                    chunk_stream,
                    received: partial.len(),
                    length: stream.length,
                });
            }
            (None, _) => {
                stream.apply(&fields);
                stream.begin_message(&self.limits, &mut self.under_way)?;
            }
        }
        let received = stream.partial.as_ref().map_or(0, BytesMut::len);
        let remaining = stream.length.saturating_sub(received).min(self.chunk_size);
        self.chunk = Some(OpenChunk {
            chunk_stream,
            remaining,
        });
        Ok(())
    }
}

impl ChunkStream {
    /// Applies the header of a new message.
    fn apply(&mut self, fields: &MessageHeader) {
        match *fields {
            MessageHeader::Type0 {
                timestamp,
                extended,
                length,
                type_id,
                stream_id,
            } => {
                self.timestamp = timestamp;
                // A type 3 header after this one takes the timestamp for its delta (RTMP 1.0
                // section 5.3.1.2.4). With an extended timestamp, four hours and more, that is
                // never meant: the field is then repeated for what it is.
                self.delta = if extended { 0 } else { timestamp };
                self.extended = extended.then_some(timestamp);
                self.length = length;
                self.type_id = type_id;
                self.stream_id = stream_id;
            }
            MessageHeader::Type1 {
                delta,
                extended,
                length,
                type_id,
            } => {
                self.length = length;
                self.type_id = type_id;
                self.advance(delta, extended);
            }
            MessageHeader::Type2 { delta, extended } => self.advance(delta, extended),
            MessageHeader::Type3 => self.timestamp = self.timestamp.wrapping_add(self.delta),
        }
    }

    fn advance(&mut self, delta: u32, extended: bool) {
        self.delta = delta;
        self.extended = extended.then_some(delta);
        self.timestamp = self.timestamp.wrapping_add(delta);
    }

    fn begin_message(
        &mut self,
        limits: &ChunkLimits,
        under_way: &mut usize,
    ) -> Result<(), ChunkError> {
        let length = self.length;
        if length > limits.max_message_size {
            return Err(ChunkError::MessageTooLong {
                length,
                limit: limits.max_message_size,
            });
        }
        let bytes = under_way.saturating_add(length);
        if bytes > limits.max_reassembly {
            return Err(ChunkError::TooMuchUnderWay {
                bytes,
                limit: limits.max_reassembly,
            });
        }
        *under_way = bytes;
        self.partial = Some(BytesMut::with_capacity(length));
        Ok(())
    }
}

impl MessageHeader {
    /// Refuses a first header that omits fields of an earlier one.
    ///
    /// Type 1 omits only the message stream; librtmp starts with it for pings, on stream 0.
    fn check_first(&self, chunk_stream: u32) -> Result<(), ChunkError> {
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
fn chunk_stream_id(basic: &[u8]) -> Option<u32> {
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
fn parse_message_header(header_type: u8, mut bytes: &[u8]) -> Option<MessageHeader> {
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

#[cfg(test)]
mod tests;
