//! Writes messages as chunks.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::format::{
    DEFAULT_CHUNK_SIZE, EXTENDED_TIMESTAMP, MAX_CHUNK_SIZE, MessageHead, RawMessage,
};
use super::output::Output;

/// Splits the messages of one direction of a connection into chunks, each with the shortest
/// possible header.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: usize,
    streams: BTreeMap<u32, Previous>,
}

/// The state that the peer has of a chunk stream.
#[derive(Debug)]
struct Previous {
    timestamp: u32,
    /// The delta of the last header; `None` after a type 0 header.
    delta: Option<u32>,
    length: usize,
    type_id: u8,
    stream_id: u32,
}

impl ChunkWriter {
    /// Returns a writer with the default chunk size.
    pub fn new() -> Self {
        Self {
            chunk_size: DEFAULT_CHUNK_SIZE as usize,
            streams: BTreeMap::new(),
        }
    }

    /// Changes the size of the following chunks. The peer must have received a Set Chunk Size
    /// message just before.
    pub fn set_chunk_size(&mut self, size: u32) {
        self.chunk_size = size.clamp(1, MAX_CHUNK_SIZE) as usize;
    }

    /// Appends the message to `out` as chunks of the chunk stream `chunk_stream` (2 to 65599).
    pub fn write(&mut self, chunk_stream: u32, message: &RawMessage, out: &mut Output) {
        let payload = std::slice::from_ref(&message.payload);
        self.write_parts(chunk_stream, message.head(), payload, out);
    }

    /// Appends a message whose payload is the concatenation of the parts. Long parts are not
    /// copied.
    pub fn write_parts(
        &mut self,
        chunk_stream: u32,
        head: MessageHead,
        parts: &[Bytes],
        out: &mut Output,
    ) {
        let length = parts.iter().map(Bytes::len).sum();
        let extended = self.write_first_header(chunk_stream, head, length, out.tail());
        let mut room = self.chunk_size;
        for part in parts {
            let mut rest = part.clone();
            while !rest.is_empty() {
                if room == 0 {
                    put_basic_header(3, chunk_stream, out.tail());
                    if let Some(value) = extended {
                        out.tail().put_u32(value);
                    }
                    room = self.chunk_size;
                }
                let piece = rest.split_to(rest.len().min(room));
                room -= piece.len();
                out.put(piece);
            }
        }
    }

    /// Writes the header that starts a message. Returns its extended timestamp, which continuations
    /// repeat.
    fn write_first_header(
        &mut self,
        chunk_stream: u32,
        message: MessageHead,
        length: usize,
        out: &mut BytesMut,
    ) -> Option<u32> {
        // A delta is used only for a small step forward.
        let previous = self.streams.get(&chunk_stream).and_then(|previous| {
            let delta = message.timestamp.wrapping_sub(previous.timestamp);
            let usable = previous.stream_id == message.stream_id && delta < EXTENDED_TIMESTAMP;
            usable.then_some((previous, delta))
        });
        let mut extended = None;
        let delta = match previous {
            Some((previous, delta)) => {
                let same_shape = previous.length == length && previous.type_id == message.type_id;
                if same_shape && previous.delta == Some(delta) {
                    put_basic_header(3, chunk_stream, out);
                } else if same_shape {
                    put_basic_header(2, chunk_stream, out);
                    out.put_uint(delta.into(), 3);
                } else {
                    put_basic_header(1, chunk_stream, out);
                    out.put_uint(delta.into(), 3);
                    put_shape(length, message.type_id, out);
                }
                Some(delta)
            }
            None => {
                put_basic_header(0, chunk_stream, out);
                out.put_uint(message.timestamp.min(EXTENDED_TIMESTAMP).into(), 3);
                put_shape(length, message.type_id, out);
                out.put_u32_le(message.stream_id);
                if message.timestamp >= EXTENDED_TIMESTAMP {
                    out.put_u32(message.timestamp);
                    extended = Some(message.timestamp);
                }
                None
            }
        };
        self.streams.insert(
            chunk_stream,
            Previous {
                timestamp: message.timestamp,
                delta,
                length,
                type_id: message.type_id,
                stream_id: message.stream_id,
            },
        );
        extended
    }
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes the message length and type, which header types 0 and 1 share.
fn put_shape(length: usize, type_id: u8, out: &mut BytesMut) {
    out.put_uint(length as u64, 3);
    out.put_u8(type_id);
}

/// Writes a basic header in its shortest form (RTMP 1.0 section 5.3.1.1).
fn put_basic_header(header_type: u8, chunk_stream: u32, out: &mut BytesMut) {
    let first = header_type << 6;
    match chunk_stream {
        0..=63 => out.put_u8(first | chunk_stream as u8),
        64..=319 => out.put_slice(&[first, (chunk_stream - 64) as u8]),
        _ => {
            out.put_u8(first | 1);
            out.put_u16_le((chunk_stream - 64) as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::chunk::{ChunkLimits, ChunkReader};
    use proptest::prelude::*;

    /// Returns the output in one piece.
    fn whole(mut out: Output) -> Vec<u8> {
        let pieces: Vec<_> = std::iter::from_fn(|| out.pop()).collect();
        pieces.concat()
    }

    fn message(timestamp: u32, type_id: u8, len: usize) -> RawMessage {
        RawMessage {
            timestamp,
            type_id,
            stream_id: 1,
            payload: (0..len).map(|n| n as u8).collect(),
        }
    }

    #[test]
    fn audio_example_of_the_specification_has_one_byte_headers() {
        // RTMP 1.0 section 5.3.2.1: four audio messages of 32 bytes at 1000, 1020, 1040, 1060.
        let mut writer = ChunkWriter::new();
        let mut sizes = Vec::new();
        for timestamp in [1000, 1020, 1040, 1060] {
            let mut out = Output::default();
            let mut message = message(timestamp, 8, 32);
            message.stream_id = 12345;
            writer.write(3, &message, &mut out);
            sizes.push(whole(out).len());
        }
        assert_eq!(sizes, [44, 36, 33, 33]);
    }

    #[test]
    fn video_example_of_the_specification_is_split_at_the_chunk_size() {
        // RTMP 1.0 section 5.3.2.2: 307 bytes are cut into 128, 128 and 51.
        let mut writer = ChunkWriter::new();
        let mut out = Output::default();
        writer.write(4, &message(1000, 9, 307), &mut out);
        let out = whole(out);
        assert_eq!(out.len(), 140 + 129 + 52);
        assert_eq!(out[..12], [4, 0, 3, 0xE8, 0, 1, 0x33, 9, 1, 0, 0, 0]);
        assert_eq!((out[140], out[269]), (0xC4, 0xC4));
    }

    #[test]
    fn basic_headers_have_one_two_or_three_bytes() {
        let cases: [(u32, &[u8]); 6] = [
            (2, &[0xC2]),
            (63, &[0xFF]),
            (64, &[0xC0, 0]),
            (319, &[0xC0, 255]),
            (320, &[0xC1, 0, 1]),
            (65_599, &[0xC1, 255, 255]),
        ];
        for (chunk_stream, expected) in cases {
            let mut out = BytesMut::new();
            put_basic_header(3, chunk_stream, &mut out);
            assert_eq!(&out[..], expected, "chunk stream {chunk_stream}");
        }
    }

    #[test]
    fn long_parts_are_shared_and_others_are_merged() {
        let mut writer = ChunkWriter::new();
        writer.set_chunk_size(60_000);
        let long = Bytes::from(vec![1; 100_000]);
        let head = message(0, 9, 0).head();
        let parts = [
            Bytes::from_static(&[0x17, 1]),
            long.clone(),
            Bytes::from_static(&[2]),
        ];
        let mut out = Output::default();
        writer.write_parts(6, head, &parts, &mut out);
        let memory = long.as_ptr_range();
        let (shared, own): (Vec<_>, Vec<_>) =
            std::iter::from_fn(|| out.pop()).partition(|piece| memory.contains(&piece.as_ptr()));
        assert_eq!(
            shared.iter().map(Bytes::len).collect::<Vec<_>>(),
            [59_998, 40_002]
        );
        assert_eq!(own.concat().len(), 12 + 2 + 1 + 1);
    }

    proptest! {
        #[test]
        fn messages_survive_writing_and_reading_however_they_are_split(
            messages in prop::collection::vec(
                (prop::sample::select(vec![2u32, 4, 6, 63, 64, 319, 320, 65_599]), any::<u32>(),
                 8u8..=9, 0u32..3, prop::collection::vec(any::<u8>(), 0..700)), 1..12),
            chunk_size in 1u32..300,
            split in 1usize..50,
        ) {
            let mut writer = ChunkWriter::new();
            let mut reader = ChunkReader::new(ChunkLimits::default());
            writer.set_chunk_size(chunk_size);
            reader.set_chunk_size(chunk_size).unwrap();
            let mut out = Output::default();
            let mut expected = Vec::new();
            for (chunk_stream, timestamp, type_id, stream_id, payload) in messages {
                let payload = Bytes::from(payload);
                let message = RawMessage { timestamp, type_id, stream_id, payload };
                writer.write(chunk_stream, &message, &mut out);
                expected.push(message);
            }
            let mut found = Vec::new();
            for mut piece in whole(out).chunks(split) {
                while let Some(message) = reader.read(&mut piece).unwrap() {
                    found.push(message);
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
