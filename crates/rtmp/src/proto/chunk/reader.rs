//! Reads chunks, and returns complete messages.

mod header;

use std::collections::BTreeMap;

use bytes::{Buf, BytesMut};

use super::error::ChunkError;
use super::format::{DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, RawMessage};
use super::limits::ChunkLimits;
use header::{ChunkHeader, MAX_HEADER_LEN, MessageHeader, chunk_stream_id, parse_message_header};

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

    /// Reads bytes from the front of `input` until a message is complete or nothing is left.
    ///
    /// Changes by a message (the chunk size, an abort) have to be applied before the next call.
    ///
    /// # Errors
    /// Returns [`ChunkError`] if the peer breaks the format or a limit.
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

    /// Returns the bytes of all incomplete messages, by the lengths that they declare.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Applies the peer's Set Chunk Size (RTMP 1.0 section 5.4.1).
    ///
    /// # Errors
    /// Returns [`ChunkError::BadChunkSize`] if the size is 0 or has its first bit set.
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
    /// The specification repeats it (RTMP 1.0 section 5.3.1.3), as do ffmpeg and librtmp; other
    /// encoders omit it. Only its value shows which it is, so four bytes are needed. If the peer is
    /// known to omit it and the message has fewer bytes left, they are not awaited, since another
    /// message may not follow soon.
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
            // Some senders repeat the time of the message although the header had a delta.
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
                // A type 3 header after this one uses the timestamp as its delta (RTMP 1.0
                // section 5.3.1.2.4). An extended timestamp, four hours and more, is never meant as
                // a delta: it is the repeated timestamp.
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

#[cfg(test)]
mod tests;
